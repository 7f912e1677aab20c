"""What recordings have to be before their equality means anything; all else is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import ComparisonRefusedError
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import Recording

#: An array of a recording: what it is called in a message, itself, and the shape that it needs.
_Item = tuple[str, npt.NDArray[Any], tuple[int, ...]]


def check_comparable(
    network: QuantizedNetwork, recordings: Sequence[Recording], before: int = 0
) -> None:
    """Refuse recordings that cannot be compared.

    Args:
        network: what they have to be of.
        recordings: any number.
        before: samples of the same runs that are in recordings of their own, before these.

    Raises:
        ComparisonRefusedError: fewer than two, one twice, of another network, of other inputs or
            labels, without samples, incomplete, not made of whole numbers, impossible, or
            contradicting itself.
    """
    if len(recordings) < 2:
        raise ComparisonRefusedError("a comparison needs at least two recordings")
    for one, other in combinations(recordings, 2):
        if one.output is other.output or one.backend == other.backend:
            raise ComparisonRefusedError(
                f"the recording of {one.backend} would be compared with "
                f"{'itself' if one.output is other.output else 'another of the same backend'}, "
                f"which proves nothing; record two different backends"
            )
    for recording in recordings:
        _check_subject(network, recording, recordings[0])
        _check_layers(network, recording)
        _check_whole(network, recording, len(recordings[0]))
        _check_possible(network, recording)
        _check_consistent(network, recording, before)


def _check_subject(network: QuantizedNetwork, recording: Recording, first: Recording) -> None:
    """Check what a recording is of."""
    name = f"the recording of {recording.backend}"
    if recording.network_digest != network.digest:
        raise ComparisonRefusedError(
            f"{name} is of another network (its weights, num_steps or options differ), so its "
            f"answer differs on purpose; record this one"
        )
    if recording.input_digest != first.input_digest:
        raise ComparisonRefusedError(
            f"{name} saw other inputs than that of {first.backend}; give both the same samples"
        )
    if not len(recording):
        raise ComparisonRefusedError(f"{name} holds no samples; record at least one")
    if (recording.label is None) != (first.label is None):
        bare, other = (recording, first) if recording.label is None else (first, recording)
        raise ComparisonRefusedError(
            f"the recording of {bare.backend} has no labels and that of {other.backend} has; give "
            f"both the same labels, or none"
        )
    if recording.label is not None and not np.array_equal(recording.label, _labels(first)):
        raise ComparisonRefusedError(
            f"{name} has other labels than that of {first.backend}, so their accuracies are of "
            f"different tasks; give both the same"
        )


def _labels(recording: Recording) -> npt.NDArray[np.int64]:
    assert recording.label is not None  # both have some
    return recording.label


def _check_whole(network: QuantizedNetwork, recording: Recording, samples: int) -> None:
    """Check that there is an integer for every neuron and sample: NumPy would broadcast."""
    for name, array, shape in _items(network, recording, samples):
        if not isinstance(array, np.ndarray):
            raise ComparisonRefusedError(
                f"the recording of {recording.backend} is incomplete: its {name} are a "
                f"{type(array).__name__}; a NumPy array of whole numbers is needed"
            )
        if array.shape != shape:
            raise ComparisonRefusedError(
                f"the recording of {recording.backend} is incomplete: its {name} have shape "
                f"{array.shape}; {shape} is needed"
            )
        if array.dtype.kind not in "iu":
            raise ComparisonRefusedError(
                f"the recording of {recording.backend} is not exact: its {name} are "
                f"{array.dtype}; record the integers themselves"
            )


def _items(network: QuantizedNetwork, recording: Recording, samples: int) -> Iterator[_Item]:
    missing = np.empty(0, np.int32)
    yield "outputs", recording.output, (samples, network.outputs)
    yield "predictions", recording.prediction, (samples,)
    if recording.label is not None:
        yield "labels", recording.label, (samples,)
    for layer in network:
        neurons = (samples, *layer.output_shape)
        if layer.fires:
            counts = recording.counts.get(layer.name, missing)
            yield f"counts of layer {layer.name}", counts, neurons
        if recording.final_state and layer.fires:
            state = recording.final_state.get(layer.name, missing)
            yield f"final states of layer {layer.name}", state, neurons
        synops = recording.synops.get(layer.name, missing)
        yield f"synaptic operations of layer {layer.name}", synops, (samples,)
        if recording.saturation:
            counted = recording.saturation.get(layer.name, missing)
            yield f"saturated values of layer {layer.name}", counted, (samples,)


def _check_layers(network: QuantizedNetwork, recording: Recording) -> None:
    """Check that nothing is said of layers that are not there, and every layer has a digest."""
    firing = {layer.name for layer in network.spiking_layers}
    known = {layer.name for layer in network}
    said = {
        "counts": (recording.counts, firing),
        "final states": (recording.final_state, firing),
        "synaptic operations": (recording.synops, known),
        "saturated values": (recording.saturation, known),
        "a largest state": (recording.peak, known),
        "a digest of parameters": (recording.parameter_digest, known),
    }
    for what, (found, layers) in said.items():
        for name in found.keys() - layers:
            raise ComparisonRefusedError(
                f"the recording of {recording.backend} has {what} of layer {name}, and the network "
                f"has no such layer; record it again"
            )
    if recording.parameter_digest:
        for name in sorted(known - recording.parameter_digest.keys()):
            raise ComparisonRefusedError(
                f"the recording of {recording.backend} is incomplete: it has no digest of the "
                f"parameters of layer {name}; record it again"
            )


def _check_possible(network: QuantizedNetwork, recording: Recording) -> None:
    """Check that every number is one that this network can give."""
    if recording.readout != network.readout:
        raise ComparisonRefusedError(
            f"the recording of {recording.backend} is of a readout by {recording.readout}, and the "
            f"network's is by {network.readout}; record this one"
        )
    limits: list[tuple[str, Mapping[str, Any], int | None]] = [
        ("counts", recording.counts, network.num_steps),
        ("synaptic operations", recording.synops, None),
        ("saturated values", recording.saturation, None),
        ("largest state", recording.peak, None),
    ]
    for what, values, largest in limits:
        for name, found in values.items():
            least, most = int(np.min(found)), int(np.max(found))
            if least < 0 or (largest is not None and most > largest):
                raise ComparisonRefusedError(
                    f"the recording of {recording.backend} is impossible: the {what} of layer "
                    f"{name} reach from {least} to {most}; allowed is 0 "
                    f"{'and above' if largest is None else f'to {largest}, the number of steps'}; "
                    f"record it again"
                )


def _check_consistent(network: QuantizedNetwork, recording: Recording, before: int) -> None:
    """Check that what is said twice is said alike."""
    last = network.layers[-1]
    if last.fires:
        counted = recording.counts[last.name].reshape(recording.output.shape)
        if not np.array_equal(recording.output, counted):
            raise ComparisonRefusedError(
                f"the recording of {recording.backend} contradicts itself: its outputs are not the "
                f"counts of layer {last.name}; record it again"
            )
    expected = recording.output.argmax(axis=1)
    wrong = np.flatnonzero(recording.prediction != expected)
    if len(wrong):
        sample = int(wrong[0])
        raise ComparisonRefusedError(
            f"the recording of {recording.backend} contradicts itself: it predicts "
            f"{recording.prediction[sample]} for sample {before + sample}, whose largest output is "
            f"that of {expected[sample]}; record it again"
        )
