"""What a backend is, and what all of them share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import BackendUnavailableError, DataError
from tandem_hw.network.quantized import QuantizedNetwork, require_quantized
from tandem_hw.network.recording import Recording
from tandem_hw.network.wiring import Connection

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


def check_inputs(
    network: QuantizedNetwork,
    inputs: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64] | None = None,
) -> None:
    """Refuse inputs that the network cannot take, and labels that are not theirs.

    Args:
        network: what shall run.
        inputs: the integer samples.
        labels: whole numbers [samples], or None.

    Raises:
        NetworkError: it is no quantized network.
        DataError: no samples, another dtype or shape, an integer that needs more bits, or labels
            that are not one whole number for each sample.
    """
    require_quantized(network)
    if not isinstance(inputs, np.ndarray):
        raise DataError(
            f"inputs are a {type(inputs).__name__}; give a NumPy array of uint8 (of a PyTorch "
            f"tensor its .cpu().numpy())"
        )
    if inputs.dtype != np.uint8:
        raise DataError(f"inputs are {inputs.dtype}; quantize them to uint8 first")
    if inputs.shape[1:] != network.sample_shape:
        steps = " (the steps come first)" if network.input.encoding == "events" else ""
        raise DataError(
            f"a sample has shape {inputs.shape[1:]}; the network takes {network.sample_shape}"
            f"{steps}"
        )
    if not len(inputs):
        raise DataError("there are no samples to run")
    if int(inputs.max()) > network.input.largest:
        raise DataError(
            f"an input is {int(inputs.max())}; the network takes {network.input.bits}-bit "
            f"integers up to {network.input.largest}"
        )
    if labels is not None:
        _check_labels(labels, len(inputs))


def _check_labels(labels: npt.NDArray[np.int64], samples: int) -> None:
    if not isinstance(labels, np.ndarray):
        raise DataError(
            f"labels are a {type(labels).__name__}; give a NumPy array of whole numbers, one a "
            f"sample"
        )
    if labels.shape != (samples,) or labels.dtype.kind not in "iu":
        raise DataError(
            f"labels are {labels.dtype} of shape {labels.shape}; give the whole number of its "
            f"class for each of the {samples} samples, shape ({samples},)"
        )


def count_synops(
    network: QuantizedNetwork,
    inputs: npt.NDArray[np.uint8],
    counts: Mapping[str, npt.NDArray[np.int32]],
) -> dict[str, npt.NDArray[np.int64]]:
    """Count the synaptic operations of each sample: spikes times the synapses that they reach.

    SynOps of layer l = sum over its connections, and over the inputs of each, of count * fan-out
    (paper, section on efficiency). A graded input spike counts as one however large it is; what is
    0 sends nothing.

    Args:
        network: what ran.
        inputs: uint8 [samples, *network.sample_shape].
        counts: spike counts per firing layer, [samples, *output_shape].

    Returns:
        Per layer, int64 [samples].
    """
    given: npt.NDArray[np.integer[Any]] = (inputs > 0).astype(np.int64)
    if network.input.encoding == "constant":
        given = given * network.num_steps
    elif network.input.encoding == "events":
        given = given.sum(axis=1)

    def passed(connection: Connection) -> npt.NDArray[np.int64]:
        source = connection.source
        sent = given if source is None else counts[network.layers[source].name]
        flat = sent.reshape(len(inputs), -1).astype(np.int64)
        return flat @ connection.synapses.fan_out.reshape(-1)

    return {
        layer.name: np.sum([passed(connection) for connection in connections], axis=0)
        for layer, connections in zip(network.layers, network.wiring.connections, strict=True)
    }


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
