"""What a backend is, and the one way in which all of them run."""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import BackendUnavailableError
from tandem_hw.network.activity import count_synops
from tandem_hw.network.quantized import QuantizedNetwork, check_inputs
from tandem_hw.network.recording import Recording

#: Called with the number of samples finished and the number of all samples.
Progress = Callable[[int, int], None]
Number = TypeVar("Number", bound=np.generic)

#: Bytes that the counts and states of a part of a run may have: what a run in parts takes beside
#: its inputs and outputs is a small multiple of that, however many samples there are.
_PART_BYTES = 1 << 25
#: The same for each weight, where that is more: what is done once a part grows with the weights.
_PART_BYTES_OF_A_WEIGHT = 8


@dataclass(frozen=True)
class SimulationResult:
    """What a backend found out about all samples, layers by their names, in PyTorch's axis order.

    Attributes:
        counts: spike counts per firing layer, int32 [samples, *output_shape].
        potential: readout potentials in weight units, int32 [samples, outputs] in C order or
            [samples, *output_shape], or None where the last layer is counted.
        peak: largest magnitude of a state per layer, where the backend can see it.
        saturation: values that left 24 bits, per layer and sample, where it counts them.
        final_state: states at the window's end per firing layer, where it has them: what they are
            and their unit says ``Recording``.
        parameter_digest: per layer the digest of what it computed with, where it can tell.
        extra: what else it measured, by name, as plain data that JSON can hold.
    """

    counts: Mapping[str, npt.NDArray[np.int32]]
    potential: npt.NDArray[np.int32] | None
    peak: Mapping[str, int] = field(default_factory=dict)
    saturation: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    final_state: Mapping[str, npt.NDArray[np.int32]] = field(default_factory=dict)
    parameter_digest: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def of_samples(self, rows: slice) -> SimulationResult:
        """Return the same of some samples; what is of all of them together stays as it is."""
        return replace(
            self,
            counts=_rows_of_each(self.counts, rows),
            potential=None if self.potential is None else self.potential[rows],
            saturation=_rows_of_each(self.saturation, rows),
            final_state=_rows_of_each(self.final_state, rows),
        )


def _rows_of_each(
    arrays: Mapping[str, npt.NDArray[Number]], rows: slice
) -> dict[str, npt.NDArray[Number]]:
    return {name: array[rows] for name, array in arrays.items()}


def samples_of_a_part(network: QuantizedNetwork, *, keep_final_state: bool) -> int:
    """Return how many samples a run in parts records at a time, the same on every backend.

    Args:
        network: what runs.
        keep_final_state: whether states are recorded beside the counts.
    """
    values = sum(layer.num_neurons for layer in network)  # int32 each
    weights = sum(synapses.weight.size for layer in network for synapses in layer.synapses)
    size = max(_PART_BYTES, _PART_BYTES_OF_A_WEIGHT * weights)
    return max(1, size // (np.dtype(np.int32).itemsize * values * (2 if keep_final_state else 1)))


class Backend(ABC):
    """Runs a quantized network on integer inputs, exactly or not at all.

    A new one says its name and how it simulates, and has a row in ``tandem_hw.sim.registry``.

    Attributes:
        name: by which it is asked for, and which its recordings bear.
        refuses_some: whether ``check_network`` may refuse a network although no state of it leaves
            24 bits, since the backend is exact for some networks only.
        needs_board: whether it runs on a chip, and not by itself.
        takes_period: whether its constructor takes a ``period`` longer than the shortest, so that
            the conformance suite has cases with that of a board.
        starts_at_once: whether ``simulate`` may be called for a few samples after the others, since
            it starts no process and compiles nothing. Where it may, a run in parts never holds more
            than a part; where not, all is simulated before the first part is returned.
        few_samples: of how many samples it is asked where nobody says which backends, since it is
            slow; None for all.
    """

    name: str
    refuses_some: ClassVar[bool] = False
    needs_board: ClassVar[bool] = False
    takes_period: ClassVar[bool] = False
    starts_at_once: ClassVar[bool] = False
    few_samples: ClassVar[int | None] = None

    @abstractmethod
    def why_unavailable(self) -> str | None:
        """Return why this backend cannot run here and what to do about it, or None if it can."""

    @abstractmethod
    def check_network(self, network: QuantizedNetwork) -> None:
        """Refuse a network that this backend cannot run exactly, before anything runs.

        Raises:
            NetworkError: names the layer, the value and what to do.
            ComparisonRefusedError: the backend runs another network.
        """

    @abstractmethod
    def simulate(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        progress: Progress,
        *,
        keep_final_state: bool,
    ) -> SimulationResult:
        """Run every sample; ``run`` has checked all that can be checked before.

        Args:
            network: what to run.
            inputs: uint8 [samples, *network.sample_shape].
            progress: to be told now and then how many samples are done.
            keep_final_state: as for ``run``.

        Raises:
            BackendError: the run failed.
        """

    def simulate_in_parts(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        progress: Progress,
        *,
        keep_final_state: bool,
        size: int,
    ) -> Generator[SimulationResult, None, None]:
        """Yield what ``simulate`` returns for every ``size`` samples, the last ones perhaps fewer.

        A backend that keeps its records on a disk gives them from there in its own.

        Args:
            network: as for ``simulate``.
            inputs: as for ``simulate``.
            progress: as for ``simulate``.
            keep_final_state: as for ``simulate``.
            size: samples of a part.
        """
        parts = [slice(start, start + size) for start in range(0, len(inputs), size)]
        if not self.starts_at_once:
            result = self.simulate(network, inputs, progress, keep_final_state=keep_final_state)
            yield from (result.of_samples(part) for part in parts)
            return
        for part in parts:
            yield self.simulate(
                network,
                inputs[part],
                _behind(progress, part.start, len(inputs)),
                keep_final_state=keep_final_state,
            )

    def run(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64] | None = None,
        progress: Progress | None = None,
        *,
        keep_final_state: bool = False,
    ) -> Recording:
        """Run every sample through the network.

        Args:
            network: what to run.
            inputs: uint8 [samples, *network.sample_shape], values of ``network.input.bits`` bits.
            labels: int64 [samples], kept in the recording.
            progress: told now and then how many samples are done.
            keep_final_state: record the state of every neuron at the window's end as well, where
                the backend has it.

        Returns:
            Spike counts, outputs, predictions and synaptic operations.

        Raises:
            BackendUnavailableError: the backend cannot run here.
            DataError: the inputs do not fit the network, or the labels not the inputs.
            NetworkError: it is no quantized network, or the backend cannot run the network exactly.
            ComparisonRefusedError: the backend runs another network.
            BackendError: the run failed.
        """
        self._check(network, inputs, labels)
        started = time.perf_counter()
        result = self.simulate(
            network, inputs, progress or _tell_nobody, keep_final_state=keep_final_state
        )
        seconds = time.perf_counter() - started
        return make_recording(self.name, network, inputs, labels, result, seconds)

    def run_in_parts(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64] | None = None,
        progress: Progress | None = None,
        *,
        keep_final_state: bool = False,
    ) -> Generator[Recording, None, None]:
        """Run every sample through the network, and give the recording part by part.

        That of many samples is large: a number for every neuron and sample. Put one behind the
        other, the parts are what ``run`` returns for all samples; each bears the digest of all the
        inputs, and the time that it took alone. What is refused is refused by the call.

        Args:
            network: as for ``run``.
            inputs: as for ``run``.
            labels: as for ``run``.
            progress: as for ``run``.
            keep_final_state: as for ``run``.

        Returns:
            Recordings of ``samples_of_a_part`` samples one after the other; the last may be of
            fewer. Close it if it is left before its end: it may hold a folder.

        Raises:
            TandemError: as for ``run``.
        """
        self._check(network, inputs, labels)
        return self._record_in_parts(
            network, inputs, labels, progress or _tell_nobody, keep_final_state
        )

    def _record_in_parts(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64] | None,
        progress: Progress,
        keep_final_state: bool,
    ) -> Generator[Recording, None, None]:
        size = samples_of_a_part(network, keep_final_state=keep_final_state)
        digest = input_digest(inputs)
        results = self.simulate_in_parts(
            network, inputs, progress, keep_final_state=keep_final_state, size=size
        )
        with closing(results):
            for start in range(0, len(inputs), size):
                part = slice(start, start + size)
                started = time.perf_counter()
                result = next(results)
                seconds = time.perf_counter() - started
                yield make_recording(
                    self.name,
                    network,
                    inputs[part],
                    None if labels is None else labels[part],
                    result,
                    seconds,
                    digest,
                )
                del result  # or two parts would be there while the next one is made

    def _check(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64] | None,
    ) -> None:
        """Refuse what can be refused before a run."""
        require_available(self)
        check_inputs(network, inputs, labels)
        self.check_network(network)


class PartwiseBackend(Backend):
    """A backend that gives its results part by part; all of them are one part."""

    def simulate(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        progress: Progress,
        *,
        keep_final_state: bool,
    ) -> SimulationResult:
        """Run every sample; see ``Backend.simulate``."""
        (result,) = self.simulate_in_parts(
            network, inputs, progress, keep_final_state=keep_final_state, size=len(inputs)
        )
        return result

    @abstractmethod
    def simulate_in_parts(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        progress: Progress,
        *,
        keep_final_state: bool,
        size: int,
    ) -> Generator[SimulationResult, None, None]:
        """Run every sample, and yield the results; see ``Backend.simulate_in_parts``."""


def require_available(backend: Backend) -> None:
    """Refuse a backend that cannot run here, before anything else is done.

    Raises:
        BackendUnavailableError: says what is missing and what to do.
    """
    reason = backend.why_unavailable()
    if reason is not None:
        raise BackendUnavailableError(reason)


def make_recording(
    backend: str,
    network: QuantizedNetwork,
    inputs: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64] | None,
    result: SimulationResult,
    seconds: float,
    digest: str | None = None,
) -> Recording:
    """Put together a recording; predictions and SynOps are derived here for all backends.

    Args:
        backend: name of the backend.
        network: what ran.
        inputs: the integer samples that it was given.
        labels: labels, or None.
        result: what the backend found out.
        seconds: wall-clock time of the run.
        digest: ``input_digest`` of all inputs, where these are a part of them.

    Returns:
        The recording.
    """
    potential = result.potential
    last = result.counts[network.layers[-1].name] if potential is None else potential
    output = last.reshape(len(inputs), -1)
    return Recording(
        backend=backend,
        network_digest=network.digest,
        input_digest=digest or input_digest(inputs),
        counts=result.counts,
        output=output,
        readout=network.readout,
        prediction=output.argmax(axis=1).astype(np.int64),
        label=labels,
        synops=count_synops(network, inputs, result.counts),
        peak=result.peak,
        seconds=seconds,
        saturation=result.saturation,
        final_state=result.final_state,
        parameter_digest=result.parameter_digest,
        extra=result.extra,
    )


def input_digest(inputs: npt.NDArray[np.uint8]) -> str:
    """Return the SHA-256 of integer samples, uint8 [samples, ...], in C order."""
    return hashlib.sha256(np.ascontiguousarray(inputs).data).hexdigest()


def _behind(progress: Progress, before: int, samples: int) -> Progress:
    """Return what takes the progress of a part, and tells that of all samples."""
    return lambda done, _: progress(before + done, samples)


def _tell_nobody(done: int, samples: int) -> None:
    """Take progress in that nobody asked for."""
