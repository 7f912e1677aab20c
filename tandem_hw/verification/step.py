"""The shared verification step: do recordings of several backends agree, spike for spike?

It is used by the command line, by the conformance suite and by anyone in Python. Equality of
silence proves nothing, so it is asserted first that every layer fired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.errors import ComparisonRefusedError, TandemError
from tandem_hw.html_table import html_table
from tandem_hw.network.activity import LayerSummary, activity_dict, summarise
from tandem_hw.network.quantized import Layer, QuantizedNetwork, require_quantized
from tandem_hw.network.recording import Recording, RunResults
from tandem_hw.network.saturation import LayerSaturation, head_room, summarise_saturation
from tandem_hw.sim.backend import Backend, Progress, require_available
from tandem_hw.sim.run_summary import RunSummary, RunTally
from tandem_hw.verification.comparison import FINAL_STATE, RESULT, SYNOPS, Difference
from tandem_hw.verification.tally import ComparisonTally

#: Version of the JSON report.
FORMAT_VERSION = 1


class VerificationError(TandemError):
    """Backends disagree, or the network was silent."""


@dataclass(frozen=True)
class OtherParameters:
    """A layer that a backend computed with other integers than the network's.

    Attributes:
        backend: name of the backend.
        layer: name of the layer.
    """

    backend: str
    layer: str

    def __str__(self) -> str:
        """Say it in one line."""
        return (
            f"{self.backend}: layer {self.layer} ran with other weights, biases or threshold than "
            f"the network's"
        )


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
            24 bits, negative where it left them, or None where no recording followed it.
        mismatched_states: states of firing neurons at the window's end that differ between the
            recordings that have them, or None where fewer than two do.
        mismatched_synops: synaptic operations of samples that differ.
    """

    name: str
    neurons: int
    spikes: int | None
    mismatched: int
    head_room_bits: int | None
    mismatched_states: int | None = None
    mismatched_synops: int = 0

    @property
    def match(self) -> bool:
        """Whether nothing differs."""
        return not (self.mismatched or self.mismatched_states or self.mismatched_synops)


@dataclass(frozen=True)
class VerificationReport:
    """What the comparison found.

    Attributes:
        network_digest: ``QuantizedNetwork.digest`` of the network that ran.
        samples: number of samples compared.
        backends: their names; the first is the one that the others are compared with.
        layers: firing layers in order.
        readout: the last layer's result: potentials, or counts where it fires.
        silent_layers: layers that never fired in any recording, and a readout by potential that
            nothing but its bias has reached.
        mismatched_predictions: predictions that differ from the first recording's.
        accuracy: per backend, None without labels.
        activity: spikes, rates and synaptic operations of every layer in the first recording.
        seconds: wall-clock time per backend.
        difference: the first difference, or None.
        silence_allowed: whether silent layers were expected.
        saturation: how often each layer's states left 24 bits, where a recording counted it.
        other_parameters: layers that a backend computed with other integers than the network's.
        checked_parameters: backends whose integers were looked at.
        checked_states: backends whose states at the window's end were compared.
    """

    network_digest: str
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
    saturation: tuple[LayerSaturation, ...] = ()
    other_parameters: tuple[OtherParameters, ...] = ()
    checked_parameters: tuple[str, ...] = ()
    checked_states: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Say in one line whether the backends agree, and where not."""
        who = f"{counted(self.samples, 'sample')} on {', '.join(self.backends)}"
        return f"VerificationReport({'MATCH' if self.match else self.fault}, {who})"

    def _repr_html_(self) -> str:
        """Return a table of the layers, for notebooks."""
        # A counted readout is among the layers as well.
        layers = {layer.name: layer for layer in (*self.layers, self.readout)}
        return html_table(
            repr(self),
            ("layer", "neurons", "spikes", "mismatched", "final states", "head room (bits)"),
            (
                (
                    layer.name,
                    layer.neurons,
                    "readout" if layer.spikes is None else layer.spikes,
                    layer.mismatched,
                    layer.mismatched_states,
                    layer.head_room_bits,
                )
                for layer in layers.values()
            ),
        )

    @property
    def match(self) -> bool:
        """Whether everything is equal and the network was active."""
        active = self.silence_allowed or not self.silent_layers
        equal = all(layer.match for layer in (*self.layers, self.readout))
        return active and equal and not self.other_parameters

    def require_match(self) -> None:
        """Raise unless everything is equal and the network was active.

        Raises:
            VerificationError: names the layer with other integers, the first difference or the
                silent layers.
        """
        if self.match:
            return
        if self.other_parameters:
            raise VerificationError(str(self.other_parameters[0]))
        if self.difference is not None:
            raise VerificationError(f"the backends differ; first in {self.difference}")
        raise VerificationError(
            f"{self.silence}; use more samples or look at the network with tandem-hw inspect"
        )

    @property
    def fault(self) -> str:
        """What is wrong first where nothing matches, in a line."""
        if self.other_parameters:
            return f"MISMATCH: {self.other_parameters[0]}"
        if self.difference is not None:
            return f"MISMATCH: first in {self.difference}"
        return f"SILENT: {self.silence}"

    @property
    def silence(self) -> str:
        """What was silent, in words."""
        firing = [layer.name for layer in self.layers]
        never = [name for name in self.silent_layers if name in firing]
        parts = [f"layers {', '.join(never)} never fired"] if never else []
        if len(never) < len(self.silent_layers):
            parts.append(f"readout {self.readout.name} holds nothing but its bias")
        return f"{' and '.join(parts)}, and equal silence proves nothing"

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, as ``--json`` writes it."""
        activity = activity_dict(self.activity)
        return {
            "format_version": FORMAT_VERSION,
            "match": self.match,
            "network_digest": self.network_digest,
            "samples": self.samples,
            "backends": list(self.backends),
            "layers": [
                {
                    "name": layer.name,
                    "neurons": layer.neurons,
                    "spikes": layer.spikes,
                    "mismatched_counts": layer.mismatched,
                    "mismatched_states": layer.mismatched_states,
                    "mismatched_synops": layer.mismatched_synops,
                    "head_room_bits": layer.head_room_bits,
                }
                for layer in self.layers
            ],
            "readout": {
                "name": self.readout.name,
                "mismatched": self.readout.mismatched,
                "mismatched_synops": self.readout.mismatched_synops,
                "head_room_bits": self.readout.head_room_bits,
            },
            "mismatched_predictions": self.mismatched_predictions,
            "silent_layers": list(self.silent_layers),
            "other_parameters": [asdict(found) for found in self.other_parameters],
            "checked_parameters": list(self.checked_parameters),
            "checked_states": list(self.checked_states),
            "saturation": [asdict(layer) for layer in self.saturation],
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
        ComparisonRefusedError: the recordings could not have the same answer, or mean nothing
            (``comparability.check_comparable``).
    """
    found = ComparisonTally(network)
    found.add(recordings)
    return _report(found, recordings, allow_silence)


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
    return run_and_compare(
        network, inputs, labels, backends, allow_silence=allow_silence, progress=progress
    )[0]


def run_and_compare(
    network: QuantizedNetwork,
    inputs: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64] | None,
    backends: Sequence[Backend],
    *,
    allow_silence: bool = False,
    progress: Mapping[str, Progress] | None = None,
    observe: Callable[[Sequence[Recording]], None] | None = None,
) -> tuple[VerificationReport, list[RunSummary]]:
    """Run a network on several backends and compare them, as ``verify`` does.

    All go through the samples in step, part by part, so that what is in memory of their recordings
    does not grow with the number of samples.

    Args:
        network: what to run.
        inputs: as for ``verify``.
        labels: as for ``verify``.
        backends: as for ``verify``.
        allow_silence: as for ``verify``.
        progress: as for ``verify``.
        observe: given the next part of every run, all of the same samples.

    Returns:
        The report, and what each backend gave for each sample.

    Raises:
        BackendUnavailableError: a backend cannot run here.
        ComparisonRefusedError: fewer than two backends, or the same one twice.
        NetworkError: it is no quantized network.
    """
    names = [backend.name for backend in backends]
    if len(names) < 2 or len(set(names)) != len(names):
        raise ComparisonRefusedError(
            f"a comparison needs two or more different backends, found {', '.join(names) or 'none'}"
        )
    require_quantized(network)
    for backend in backends:
        require_available(backend)
        backend.check_network(network)
    told = progress or {}
    found, tallies = ComparisonTally(network), [RunTally(len(inputs)) for _ in backends]
    with ExitStack() as stack:
        runs = [
            stack.enter_context(
                closing(
                    backend.run_in_parts(
                        network, inputs, labels, told.get(backend.name), keep_final_state=True
                    )
                )
            )
            for backend in backends
        ]
        while _compare_next(runs, found, tallies, observe):
            pass
    summaries = [tally.summary() for tally in tallies]
    return _report(found, summaries, allow_silence), summaries


def _compare_next(
    runs: Sequence[Iterator[Recording]],
    found: ComparisonTally,
    tallies: Sequence[RunTally],
    observe: Callable[[Sequence[Recording]], None] | None,
) -> bool:
    """Compare the next part of every run; none of them is left when the one behind is made."""
    parts = [part for run in runs if (part := next(run, None)) is not None]
    if not parts:
        return False
    found.add(parts)
    if observe is not None:
        observe(parts)
    for tally, part in zip(tallies, parts, strict=True):
        tally.add(part)
    return True


def _report(
    found: ComparisonTally, runs: Sequence[RunResults], silence_allowed: bool
) -> VerificationReport:
    """Put a report together from what differs and from what the runs gave."""
    network, first = found.network, runs[0]
    spikes = first.spikes_by_layer()
    compared = {
        layer.name: _compared(layer, found, spikes.get(layer.name), head_room(runs, layer.name))
        for layer in network
    }
    return VerificationReport(
        network_digest=first.network_digest,
        samples=found.samples,
        backends=tuple(run.backend for run in runs),
        layers=tuple(compared[layer.name] for layer in network.spiking_layers),
        readout=replace(compared[network.layers[-1].name], spikes=None),
        silent_layers=tuple(layer.name for layer in network if layer.name not in found.active),
        mismatched_predictions=found.mismatched_predictions,
        accuracy={run.backend: run.accuracy for run in runs},
        activity=summarise(network, first),
        seconds={run.backend: run.seconds for run in runs},
        difference=found.difference,
        silence_allowed=silence_allowed,
        saturation=summarise_saturation(network, runs),
        other_parameters=tuple(
            OtherParameters(run.backend, layer.name)
            for run in runs
            for layer in network
            if (run.backend, layer.name) in found.other_parameters
        ),
        checked_parameters=_among(runs, found.checked_parameters),
        checked_states=_among(runs, found.checked_states),
    )


def _compared(
    layer: Layer, found: ComparisonTally, spikes: int | None, head_room: int | None
) -> LayerComparison:
    return LayerComparison(
        name=layer.name,
        neurons=layer.num_neurons,
        spikes=spikes,
        mismatched=found.mismatched.get((layer.name, RESULT), 0),
        head_room_bits=head_room,
        mismatched_states=found.mismatched.get((layer.name, FINAL_STATE)),
        mismatched_synops=found.mismatched.get((layer.name, SYNOPS), 0),
    )


def _among(runs: Sequence[RunResults], names: Set[str]) -> tuple[str, ...]:
    return tuple(run.backend for run in runs if run.backend in names)
