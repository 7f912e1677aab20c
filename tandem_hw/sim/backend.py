"""What a backend is, and what all of them share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import BackendUnavailableError
from tandem_hw.network.activity import count_synops
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import Recording

#: Called with the number of samples finished and the number of all samples.
Progress = Callable[[int, int], None]


class Backend(Protocol):
    """Runs a quantized network on integer inputs, exactly or not at all."""

    name: str

    def why_unavailable(self) -> str | None:
        """Return why this backend cannot run here and what to do about it, or None if it can."""

    def check_network(self, network: QuantizedNetwork) -> None:
        """Refuse a network that this backend cannot run exactly, before anything runs.

        Raises:
            NetworkError: names the layer, the value and what to do.
            ComparisonRefusedError: the backend runs another network.
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
            DataError: the inputs do not fit the network.
            BackendUnavailableError: the backend cannot run here.
            BackendError: the run failed.
        """


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
    counts: Mapping[str, npt.NDArray[np.int32]],
    potential: npt.NDArray[np.int32] | None,
    seconds: float,
    peak: Mapping[str, int] | None = None,
    *,
    saturation: Mapping[str, npt.NDArray[np.int64]] | None = None,
    final_state: Mapping[str, npt.NDArray[np.int32]] | None = None,
    parameter_digest: Mapping[str, str] | None = None,
) -> Recording:
    """Put together what a backend measured; predictions and SynOps are derived here for all.

    Args:
        backend: name of the backend.
        network: what ran.
        inputs: the integer samples that it was given.
        labels: labels, or None.
        counts: spike counts per firing layer, [samples, *output_shape].
        potential: readout potentials in weight units, [samples, outputs] in C order or
            [samples, *output_shape], or None where the last layer is counted.
        seconds: wall-clock time of the run.
        peak: largest magnitude of a state per layer, where the backend can see it.
        saturation: values that left 24 bits, per layer and sample, where it counts them.
        final_state: states at the window's end per firing layer, where it has them.
        parameter_digest: per layer the digest of what it computed with, where it can tell.

    Returns:
        The recording.
    """
    result = counts[network.layers[-1].name] if potential is None else potential
    output = result.reshape(len(inputs), -1)
    return Recording(
        backend=backend,
        network_digest=network.digest,
        input_digest=hashlib.sha256(np.ascontiguousarray(inputs).tobytes()).hexdigest(),
        counts=counts,
        output=output,
        readout=network.readout,
        prediction=output.argmax(axis=1).astype(np.int64),
        label=labels,
        synops=count_synops(network, inputs, counts),
        peak=peak or {},
        seconds=seconds,
        saturation=saturation or {},
        final_state=final_state or {},
        parameter_digest=parameter_digest or {},
    )
