"""How much a network did: spikes, spike rates, and SynOps against the MACs of its ordinary twin.

The paper's measure of efficiency (section on efficiency, arXiv 1907.01167): an SNN adds once for
each synapse that a spike passes (a synaptic operation), the same ANN multiplies and adds once for
each synapse, spike or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import Recording


@dataclass(frozen=True)
class LayerSummary:
    """What one layer did with the samples of a recording.

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


def summarise(network: QuantizedNetwork, recording: Recording) -> tuple[LayerSummary, ...]:
    """Return what every layer did.

    Args:
        network: what ran.
        recording: its recording, of at least one sample.
    """
    summaries = []
    for layer in network:
        spikes = rate = None
        if layer.name in recording.counts:
            spikes = int(recording.counts[layer.name].sum(dtype=np.int64))
            rate = spikes / (len(recording) * layer.neurons * network.num_steps)
        synops = float(recording.synops[layer.name].mean())
        macs = sum(int(synapses.fan_out.sum()) for synapses in (layer, *layer.skips))
        summaries.append(LayerSummary(layer.name, layer.neurons, spikes, rate, synops, macs))
    return tuple(summaries)
