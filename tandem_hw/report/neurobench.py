"""What a network is and did, by the names and definitions of NeuroBench.

Source: Yik et al., *The NeuroBench framework for benchmarking neuromorphic computing algorithms and
systems*, Nature Communications 16 (2025), and the names that its harness (``neurobench`` 2) gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.network.activity import count_synops
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import Recording
from tandem_hw.network.synapses.convolutions import CONVOLUTIONS, Convolution
from tandem_hw.network.synapses.dense import Dense, OneToOne
from tandem_hw.network.synapses.kind import Synapses, row_of

#: Bits of a bias (a mantissa of 13 and an exponent) and of a threshold (``fixed_point``).
_BIAS_BITS: Final = 16
_THRESHOLD_BITS: Final = 24
#: NeuroBench's names of an objective's numbers.
_NAMES: Final = {"accuracy": "classification_accuracy", "mse": "mse", "r2": "r2"}


def static_metrics(network: QuantizedNetwork) -> dict[str, float]:
    """Return what a network is, whatever samples it is given.

    Args:
        network: of integers.

    Returns:
        "footprint": bytes of all weights at their width, of biases (16 bits) and of thresholds
        (24 bits), zeros included; "connection_sparsity": share of the weights that are 0.
    """
    synapses = [one for layer in network for one in layer.synapses]
    bits = sum(one.weight.size * one.weight_bits for one in synapses)
    bits += sum(layer.neurons.bias.size for layer in network) * _BIAS_BITS
    bits += len(network.spiking_layers) * _THRESHOLD_BITS
    zeros = sum(int((one.weight == 0).sum()) for one in synapses)
    weights = sum(one.weight.size for one in synapses)
    return {"footprint": bits / 8, "connection_sparsity": zeros / weights}


def named(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return those of an objective's numbers that NeuroBench has, by its names."""
    return {_NAMES[name]: value for name, value in metrics.items() if name in _NAMES}


class WorkloadTally:
    """Adds up what a network did with samples that come in parts."""

    def __init__(self, network: QuantizedNetwork) -> None:
        """Begin.

        Args:
            network: what runs.
        """
        self._network = network
        self._samples = 0
        self._spikes = 0
        self._operations = {layer.name: 0 for layer in network}

    def add(self, part: Recording, inputs: npt.NDArray[np.uint8]) -> None:
        """Take in the next part.

        Args:
            part: what came out.
            inputs: what went in, uint8 [samples, *network.sample_shape].
        """
        self._samples += len(part)
        self._spikes += sum(part.spikes_by_layer().values())
        effective = count_synops(self._network, inputs, part.counts, nonzero_fan_out)
        for name, operations in effective.items():
            self._operations[name] += int(operations.sum())

    def metrics(self) -> dict[str, Any]:
        """Return what was done with all samples.

        Returns:
            "activation_sparsity": share of the steps in which a neuron did not fire;
            "synaptic_operations" of a sample: "Dense", what a machine would do that skips nothing,
            in every step all synapses, "Effective_ACs", the synapses other than zero that spikes
            passed, and "Effective_MACs", the same of graded inputs, which are multiplied.
        """
        network, samples = self._network, self._samples
        neurons = sum(layer.num_neurons for layer in network.spiking_layers)
        possible = neurons * network.num_steps * samples
        graded = self._of_graded_inputs()
        synapses = sum(int(one.fan_out.sum()) for layer in network for one in layer.synapses)
        return {
            "activation_sparsity": 1 - self._spikes / possible if possible else 0.0,
            "synaptic_operations": {
                "Effective_MACs": sum(self._operations[name] for name in graded) / samples,
                "Effective_ACs": sum(
                    found for name, found in self._operations.items() if name not in graded
                )
                / samples,
                "Dense": float(synapses * network.num_steps),
            },
        }

    def _of_graded_inputs(self) -> Iterable[str]:
        network = self._network
        if network.input.bits == 1:
            return set()
        return {
            layer.name
            for index, layer in enumerate(network.layers)
            if network.wiring.takes_input(index)
        }


def nonzero_fan_out(synapses: Synapses) -> npt.NDArray[np.int64]:
    """Return how many synapses other than zero a spike of each input reaches, in ``input_shape``.

    Args:
        synapses: of any kind.

    Raises:
        NetworkError: the kind is not known here.
    """
    count = row_of(_COUNTS, synapses, "the count of synapses other than zero")
    found: npt.NDArray[np.int64] = count(synapses)
    return found


def _of_dense(dense: Dense) -> npt.NDArray[np.int64]:
    counts: npt.NDArray[np.int64] = (dense.weight != 0).sum(axis=0, dtype=np.int64)
    return counts.reshape(dense.input_shape)


def _of_convolution(convolution: Convolution) -> npt.NDArray[np.int64]:
    weight, groups = convolution.weight, convolution.geometry.groups
    of_groups = (weight != 0).reshape(groups, -1, *weight.shape[1:]).sum(axis=1, dtype=np.int64)
    counts: npt.NDArray[np.int64] = of_groups.reshape(
        convolution.input_shape[0], *convolution.kernel
    )
    for axis, length in enumerate(convolution.input_shape[1:]):
        # Of each place of the kernel, whether it meets each input along the axis.
        met = np.stack(
            [np.bincount(inputs, minlength=length) for _, inputs in convolution.meetings(axis)]
        )
        counts = np.tensordot(counts, met, axes=([1], [0]))
    return counts


_COUNTS: Final[dict[type[Any], Any]] = {
    Dense: _of_dense,
    OneToOne: lambda one: one.fan_out,
    **dict.fromkeys(CONVOLUTIONS, _of_convolution),
}
