"""What the layers of a network do with one sample, recorded or at most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tandem_hw.chip.partition import NeuronParts
from tandem_hw.chip.relays import RelayedNetwork, relay_stages
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import RunResults


@dataclass(frozen=True)
class LayerWorkload:
    """What a layer does with one sample.

    Attributes:
        name: name of the layer, of a relay layer too.
        synops: synaptic operations of what reaches it from other layers and from the input.
        own_synops: those by which its neurons reset themselves.
        clock_synops: those of the clocks that silence it.
        relay_synops: those of the relays that hold its spikes back.
        spikes: its spikes.
        updates: updates of its neurons, its relays and its clocks.
    """

    name: str
    synops: float
    own_synops: float
    clock_synops: float
    relay_synops: float
    spikes: float
    updates: int

    @property
    def all_synops(self) -> float:
        """All synaptic operations of the layer."""
        return self.synops + self.own_synops + self.clock_synops + self.relay_synops


def layer_workloads(
    relayed: RelayedNetwork,
    parts: Mapping[str, NeuronParts],
    period: int,
    run: RunResults | None,
) -> tuple[LayerWorkload, ...]:
    """Return what each layer does with a sample, in the order of the layers.

    Args:
        relayed: the network, with its relay layers.
        parts: by name of a layer what its neurons carry beside themselves.
        period: steps from one sample to the next.
        run: what samples did; without one, every input and every neuron fires whenever it can.
    """
    network = relayed.network
    source_of = {name: source for source, names in relayed.relays.items() for name in names}
    stages = relay_stages(network.wiring)
    workloads = []
    for index, layer in enumerate(network.layers):
        if run is None:
            spikes, synops = float(layer.num_neurons * network.num_steps), _most(network, index)
        else:  # a relay layer sends what its source does
            spikes = _spikes_per_sample(run, source_of.get(layer.name, layer.name))
            recorded = run.synops.get(layer.name)
            synops = spikes if recorded is None else float(recorded.mean())
        relays, clocks = stages.get(index, 0), parts[layer.name].clocks
        workloads.append(
            LayerWorkload(
                name=layer.name,
                synops=synops,
                own_synops=spikes * parts[layer.name].self_inhibition,
                clock_synops=float(clocks * layer.num_neurons),
                relay_synops=spikes * relays,
                spikes=spikes,
                updates=(layer.num_neurons * (1 + relays) + clocks) * period,
            )
        )
    return tuple(workloads)


def _most(network: QuantizedNetwork, index: int) -> float:
    """Return a layer's synaptic operations when all that reaches it fires in every step it can."""
    most = 0.0
    for connection in network.wiring.connections[index]:
        sent = network.input.sent_steps(network.num_steps)
        spikes = len(sent) if connection.source is None else network.num_steps
        most += float(connection.synapses.fan_out.sum()) * spikes
    return most


def _spikes_per_sample(run: RunResults, name: str) -> float:
    return run.spikes_by_layer().get(name, 0) / len(run)
