"""How much a network did: spikes, spike rates, and SynOps against the MACs of its ordinary twin.

The paper's measure of efficiency (section on efficiency, arXiv 1907.01167): an SNN adds once for
each synapse that a spike passes (a synaptic operation), the same ANN multiplies and adds once for
each synapse, spike or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import RunResults
from tandem_hw.network.synapses.kind import Synapses
from tandem_hw.network.wiring import Connection

#: Spike counts that are multiplied at a time: copies of them stay in a core's cache.
_PIECE_VALUES = 1 << 17
_INT32_LARGEST = (1 << 31) - 1


@dataclass(frozen=True)
class LayerSummary:
    """What one layer did with the samples of a run.

    Attributes:
        name: name of the layer.
        neurons: number of neurons.
        spikes: spikes of all samples together, or None for a readout by potential.
        spike_rate: share of the steps in which a neuron fired, 0 to 1, or None.
        synops_per_sample: mean number of synapses that spikes passed on their way into this layer.
        macs: multiply-accumulates of the ordinary twin for one sample: its synapses, with those of
            its skips.
    """

    name: str
    neurons: int
    spikes: int | None
    spike_rate: float | None
    synops_per_sample: float
    macs: int


@dataclass(frozen=True)
class ActivityTotals:
    """All layers together.

    Attributes:
        synops_per_sample: mean number of synaptic operations of a sample.
        macs_per_sample: multiply-accumulates of the ordinary network.
    """

    synops_per_sample: float
    macs_per_sample: int

    @property
    def synops_per_mac(self) -> float:
        """The paper's measure: below 1 the spiking network does less."""
        return self.synops_per_sample / self.macs_per_sample


def total(layers: Sequence[LayerSummary]) -> ActivityTotals:
    """Add up what ``summarise`` returned."""
    return ActivityTotals(
        sum(layer.synops_per_sample for layer in layers), sum(layer.macs for layer in layers)
    )


def activity_dict(layers: Sequence[LayerSummary]) -> dict[str, Any]:
    """Return layers and totals as plain data, as ``--json`` writes them."""
    totals = total(layers)
    return {
        "layers": [asdict(layer) for layer in layers],
        "synops_per_sample": totals.synops_per_sample,
        "macs_per_sample": totals.macs_per_sample,
        "synops_per_mac": totals.synops_per_mac,
    }


def summarise(network: QuantizedNetwork, run: RunResults) -> tuple[LayerSummary, ...]:
    """Return what every layer did.

    Args:
        network: what ran.
        run: what came out, of at least one sample.
    """
    summaries = []
    counted = run.spikes_by_layer()
    for layer in network:
        spikes, rate = counted.get(layer.name), None
        if spikes is not None:
            rate = spikes / (len(run) * layer.num_neurons * network.num_steps)
        synops = float(run.synops[layer.name].mean())
        macs = sum(int(synapses.fan_out.sum()) for synapses in layer.synapses)
        summaries.append(LayerSummary(layer.name, layer.num_neurons, spikes, rate, synops, macs))
    return tuple(summaries)


def count_synops(
    network: QuantizedNetwork,
    inputs: npt.NDArray[np.uint8],
    counts: Mapping[str, npt.NDArray[np.int32]],
    fan_out_of: Callable[[Synapses], npt.NDArray[np.int64]] = attrgetter("fan_out"),
) -> dict[str, npt.NDArray[np.int64]]:
    """Count the synaptic operations of each sample: spikes times the synapses that they reach.

    SynOps of layer l = sum over its connections, and over the inputs of each, of count * fan-out
    (paper, section on efficiency). A graded input spike counts as one however large it is; what is
    0 sends nothing.

    Args:
        network: what ran.
        inputs: uint8 [samples, *network.sample_shape].
        counts: spike counts per firing layer, [samples, *output_shape].
        fan_out_of: which of the synapses count, for each input how many, in ``input_shape``; all.

    Returns:
        Per layer, int64 [samples].
    """

    def passed(connection: Connection) -> npt.NDArray[np.int64]:
        source, fan_out = connection.source, fan_out_of(connection.synapses).reshape(-1)
        # Sums that fit are made in 32 bits, in half the time; by ``einsum``, since for integers a
        # product of matrices is slower, and in floating point it starts threads that spin.
        fits = int(fan_out.sum()) * network.num_steps <= _INT32_LARGEST
        fan_out = fan_out.astype(np.int32 if fits else np.int64)
        passed = np.empty(len(inputs), np.int64)
        rows = max(1, _PIECE_VALUES // len(fan_out))
        for piece in (slice(at, at + rows) for at in range(0, len(inputs), rows)):
            sent: npt.NDArray[np.integer[Any]] = (
                network.input.spikes(inputs[piece], network.num_steps)
                if source is None
                else counts[network.layers[source].name][piece]
            )
            flat = sent.reshape(len(sent), -1).astype(fan_out.dtype, copy=False)
            passed[piece] = np.einsum("ij,j->i", flat, fan_out)
        return passed

    return {
        layer.name: np.sum([passed(connection) for connection in connections], axis=0)
        for layer, connections in zip(network.layers, network.wiring.connections, strict=True)
    }
