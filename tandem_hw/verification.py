"""The shared verification step: do recordings of several backends agree, spike for spike?

It is used by the command line, by the conformance suite and by anyone in Python. Equality of
silence proves nothing, so it is asserted first that every layer fired.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.activity import LayerSummary, activity_dict, summarise
from tandem_hw.errors import ComparisonRefusedError, TandemError
from tandem_hw.fixed_point import STATE_LIMIT
from tandem_hw.network import QuantizedNetwork
from tandem_hw.recording import Recording
from tandem_hw.sim.backend import Backend, Progress, require_available

#: Version of the JSON report.
FORMAT_VERSION = 1


class VerificationError(TandemError):
    """Backends disagree, or the network was silent."""


@dataclass(frozen=True)
class Difference:
    """The first place where a backend differs from the first one.

    Attributes:
        backend: name of the differing backend.
        layer: name of the layer, or "prediction" where the layers agree and a prediction differs.
        sample: index of the sample, from 0.
        neuron: indices in the layer's ``output_shape``; empty for a prediction.
        expected: the first backend's value.
        found: the differing backend's value.
    """

    backend: str
    layer: str
    sample: int
    neuron: tuple[int, ...]
    expected: int
    found: int

    def __str__(self) -> str:
        """Say where and what."""
        place = f"layer {self.layer}, sample {self.sample}, neuron {list(self.neuron)}"
        if not self.neuron:
            place = f"{self.layer} of sample {self.sample}"
        return f"{self.backend}: {place}: {self.found} instead of {self.expected}"


@dataclass(frozen=True)
class LayerComparison:
    """One layer in all recordings.

    Attributes:
        name: name of the layer.
        neurons: number of neurons.
        spikes: spikes of all samples in the first recording; None for a readout by potential.
        mismatched: values (counts, or potentials of a readout) that differ from the first
            recording, all other recordings together.
        head_room_bits: how often the largest state that the data reached could be doubled within
            24 bits, or None where no recording followed it.
    """

    name: str
    neurons: int
    spikes: int | None
    mismatched: int
    head_room_bits: int | None


@dataclass(frozen=True)
class VerificationReport:
    """What the comparison found.

    Attributes:
        samples: number of samples compared.
        backends: their names; the first is the one that the others are compared with.
        layers: firing layers in order.
        readout: the last layer's result: potentials, or counts where it fires.
        silent_layers: layers that never fired in any recording.
        mismatched_predictions: predictions that differ from the first recording's.
        accuracy: per backend, None without labels.
        activity: spikes, rates and synaptic operations of every layer in the first recording.
        seconds: wall-clock time per backend.
        difference: the first difference, or None.
        silence_allowed: whether silent layers were expected.
    """

    samples: int
    backends: tuple[str, ...]
    layers: tuple[LayerComparison, ...]
    readout: LayerComparison
    silent_layers: tuple[str, ...]
    mismatched_predictions: int
    accuracy: Mapping[str, float | None]
    activity: tuple[LayerSummary, ...]
    seconds: Mapping[str, float]
    difference: Difference | None
    silence_allowed: bool = False

    @property
    def match(self) -> bool:
        """Whether everything is equal and the network was active."""
        values = sum(layer.mismatched for layer in self.layers) + self.readout.mismatched
        active = self.silence_allowed or not self.silent_layers
        return active and values == 0 and self.mismatched_predictions == 0

    def require_match(self) -> None:
        """Raise unless everything is equal and the network was active.

        Raises:
            VerificationError: names the silent layers or the first difference.
        """
        if self.match:
            return
        if self.difference is not None:
            raise VerificationError(f"the backends differ; first in {self.difference}")
        raise VerificationError(
            f"layers {', '.join(self.silent_layers)} never fired, and equal silence proves "
            f"nothing; use more samples or look at the network with tandem-hw inspect"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, as ``--json`` writes it."""
        activity = activity_dict(self.activity)
        return {
            "format_version": FORMAT_VERSION,
            "match": self.match,
            "samples": self.samples,
            "backends": list(self.backends),
            "layers": [
                {
                    "name": layer.name,
                    "neurons": layer.neurons,
                    "spikes": layer.spikes,
                    "mismatched_counts": layer.mismatched,
                    "head_room_bits": layer.head_room_bits,
                }
                for layer in self.layers
            ],
            "readout": {
                "name": self.readout.name,
                "mismatched": self.readout.mismatched,
                "head_room_bits": self.readout.head_room_bits,
            },
            "mismatched_predictions": self.mismatched_predictions,
            "silent_layers": list(self.silent_layers),
            "first_difference": None if self.difference is None else str(self.difference),
            "accuracy": dict(self.accuracy),
            "synops_per_sample": activity["synops_per_sample"],
            "macs_per_sample": activity["macs_per_sample"],
            "synops_per_mac": activity["synops_per_mac"],
            "activity": activity["layers"],
            "seconds": dict(self.seconds),
        }


def compare(
    network: QuantizedNetwork, recordings: Sequence[Recording], *, allow_silence: bool = False
) -> VerificationReport:
    """Compare recordings neuron by neuron and sample by sample.

    Args:
        network: what ran.
        recordings: two or more, of the same network and the same inputs.
        allow_silence: do not ask that every layer fired; for tests of silence itself.

    Returns:
        The report; call its ``require_match`` to make sure.

    Raises:
        ComparisonRefusedError: the recordings are of another network or of other inputs, so that
            they could not have the same answer.
    """
    _check_comparable(network, recordings)
    first = recordings[0]
    layers = tuple(
        _compare_layer(network, layer.name, recordings) for layer in network.spiking_layers
    )
    last = network.layers[-1]
    readout = LayerComparison(
        last.name,
        last.neurons,
        None,
        sum(int(np.sum(other.output != first.output)) for other in recordings[1:]),
        _head_room(recordings, last.name),
    )
    return VerificationReport(
        samples=len(first),
        backends=tuple(recording.backend for recording in recordings),
        layers=layers,
        readout=readout,
        silent_layers=tuple(
            name
            for name in first.counts
            if not any(recording.counts[name].any() for recording in recordings)
        ),
        mismatched_predictions=sum(
            int(np.sum(other.prediction != first.prediction)) for other in recordings[1:]
        ),
        accuracy={recording.backend: recording.accuracy for recording in recordings},
        activity=summarise(network, first),
        seconds={recording.backend: recording.seconds for recording in recordings},
        difference=_first_difference(network, recordings),
        silence_allowed=allow_silence,
    )


def verify(
    network: QuantizedNetwork,
    inputs: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64] | None,
    backends: Sequence[Backend],
    *,
    allow_silence: bool = False,
    progress: Mapping[str, Progress] | None = None,
) -> VerificationReport:
    """Run a network on several backends and compare them.

    Args:
        network: what to run.
        inputs: uint8 [samples, *network.sample_shape].
        labels: int64 [samples], or None.
        backends: two or more; all are checked for availability before the first one runs.
        allow_silence: see ``compare``.
        progress: per backend name, told how far it is.

    Returns:
        The report.

    Raises:
        BackendUnavailableError: a backend cannot run here.
        ComparisonRefusedError: fewer than two backends, or the same one twice.
    """
    recordings = record(network, inputs, labels, backends, progress=progress)
    return compare(network, recordings, allow_silence=allow_silence)


def record(
    network: QuantizedNetwork,
    inputs: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64] | None,
    backends: Sequence[Backend],
    *,
    progress: Mapping[str, Progress] | None = None,
) -> list[Recording]:
    """Run a network on several backends, for ``compare``.

    Args:
        network: what to run.
        inputs: uint8 [samples, *network.sample_shape].
        labels: int64 [samples], or None.
        backends: two or more; all are checked for availability before the first one runs.
        progress: per backend name, told how far it is.

    Returns:
        A recording for each backend.

    Raises:
        BackendUnavailableError: a backend cannot run here.
        ComparisonRefusedError: fewer than two backends, or the same one twice.
    """
    names = [backend.name for backend in backends]
    if len(names) < 2 or len(set(names)) != len(names):
        raise ComparisonRefusedError(
            f"a comparison needs two or more different backends, found {', '.join(names) or 'none'}"
        )
    for backend in backends:
        require_available(backend)
        backend.check_network(network)
    return [
        backend.run(network, inputs, labels, (progress or {}).get(backend.name))
        for backend in backends
    ]


def _check_comparable(network: QuantizedNetwork, recordings: Sequence[Recording]) -> None:
    if len(recordings) < 2:
        raise ComparisonRefusedError("a comparison needs at least two recordings")
    for recording in recordings:
        if recording.network_digest != network.digest:
            raise ComparisonRefusedError(
                f"the recording of {recording.backend} is of another network (its weights, "
                f"num_steps or options differ), so its answer differs on purpose; record this one"
            )
        if recording.input_digest != recordings[0].input_digest:
            raise ComparisonRefusedError(
                f"the recording of {recording.backend} saw other inputs than that of "
                f"{recordings[0].backend}; give both the same samples"
            )
        _check_complete(network, recording, len(recordings[0]))


def _check_complete(network: QuantizedNetwork, recording: Recording, samples: int) -> None:
    """Refuse a recording without a value for every neuron and sample: NumPy would broadcast it."""
    shapes = {
        "outputs": (recording.output.shape, (samples, network.outputs)),
        "predictions": (recording.prediction.shape, (samples,)),
    }
    for layer in network.spiking_layers:
        counts = recording.counts.get(layer.name, np.empty(0, np.int32))
        shapes[f"counts of layer {layer.name}"] = (counts.shape, (samples, *layer.output_shape))
    for name, (found, needed) in shapes.items():
        if found != needed:
            raise ComparisonRefusedError(
                f"the recording of {recording.backend} is incomplete: its {name} have shape "
                f"{found}; {needed} is needed"
            )


def _compare_layer(
    network: QuantizedNetwork, name: str, recordings: Sequence[Recording]
) -> LayerComparison:
    expected = recordings[0].counts[name]
    return LayerComparison(
        name=name,
        neurons=math.prod(expected.shape[1:]),
        spikes=int(expected.sum(dtype=np.int64)),
        mismatched=sum(int(np.sum(other.counts[name] != expected)) for other in recordings[1:]),
        head_room_bits=_head_room(recordings, name),
    )


def _head_room(recordings: Sequence[Recording], name: str) -> int | None:
    peaks = [recording.peak[name] for recording in recordings if name in recording.peak]
    if not peaks:
        return None
    return STATE_LIMIT.bit_length() - 1 - max(peaks).bit_length()


def _first_difference(
    network: QuantizedNetwork, recordings: Sequence[Recording]
) -> Difference | None:
    """Find the first differing value in the order in which spikes pass the layers."""
    first = recordings[0]
    for layer in network:
        for other in recordings[1:]:
            if layer.threshold is None:
                shape = (len(first), *layer.output_shape)
                expected, found = first.output.reshape(shape), other.output.reshape(shape)
            else:
                expected, found = first.counts[layer.name], other.counts[layer.name]
            places = np.argwhere(expected != found)
            if len(places):
                sample, *neuron = (int(index) for index in places[0])
                place = (sample, *neuron)
                return Difference(
                    other.backend,
                    layer.name,
                    sample,
                    tuple(neuron),
                    int(expected[place]),
                    int(found[place]),
                )
    for other in recordings[1:]:
        for sample in np.flatnonzero(other.prediction != first.prediction):
            expected_class, found_class = first.prediction[sample], other.prediction[sample]
            return Difference(
                other.backend, "prediction", int(sample), (), int(expected_class), int(found_class)
            )
    return None
