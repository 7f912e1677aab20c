"""What a backend is, and the one way in which all of them run."""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import BackendUnavailableError
from tandem_hw.network.activity import count_synops
from tandem_hw.network.quantized import QuantizedNetwork, check_inputs
from tandem_hw.network.recording import Recording

#: Called with the number of samples finished and the number of all samples.
Progress = Callable[[int, int], None]


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


class Backend(ABC):
    """Runs a quantized network on integer inputs, exactly or not at all.

    A new one says its name and how it simulates, and has a row in ``tandem_hw.sim.registry``.

    Attributes:
        name: by which it is asked for, and which its recordings bear.
    """

    name: str

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
        require_available(self)
        check_inputs(network, inputs, labels)
        self.check_network(network)
        started = time.perf_counter()
        result = self.simulate(
            network, inputs, progress or _tell_nobody, keep_final_state=keep_final_state
        )
        seconds = time.perf_counter() - started
        return make_recording(self.name, network, inputs, labels, result, seconds)


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
) -> Recording:
    """Put together a recording; predictions and SynOps are derived here for all backends.

    Args:
        backend: name of the backend.
        network: what ran.
        inputs: the integer samples that it was given.
        labels: labels, or None.
        result: what the backend found out.
        seconds: wall-clock time of the run.

    Returns:
        The recording.
    """
    potential = result.potential
    last = result.counts[network.layers[-1].name] if potential is None else potential
    output = last.reshape(len(inputs), -1)
    return Recording(
        backend=backend,
        network_digest=network.digest,
        input_digest=hashlib.sha256(np.ascontiguousarray(inputs).tobytes()).hexdigest(),
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


def _tell_nobody(done: int, samples: int) -> None:
    """Take progress in that nobody asked for."""
