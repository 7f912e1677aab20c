"""How long the spikes of which layer are held back, so that paths of different length end in step.

A relay is a neuron that fires in the step in which a spike reaches it, and in no other; it keeps no
state. A chain of relays holds the spikes of one layer back, one step each, and every connection
takes them where its delay wants (``tandem_hw.network.wiring``), so that skip paths of one layer
share a chain.

Where layers take in a whole window before they fire, only the number of spikes counts, and a path
is longer by T steps a layer. There a *relay layer* takes the place of T relays: one-to-one synapses
of weight 1 onto neurons of threshold 1 that wait as all others do. They take in c spikes and then
send c spikes, T steps later.

No Lava is needed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from tandem_hw.network.choices import is_phased
from tandem_hw.network.layers import Input, Layer, Neurons
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.synapses.dense import OneToOne
from tandem_hw.network.wiring import Connection, Wiring

#: With fewer steps to wait, relays cost no more than a relay layer with its resets and its clock.
_LEAST_DELAY: Final = 2


def relay_stages(wiring: Wiring) -> dict[int, int]:
    """Return the length of every layer's chain of relays.

    Args:
        wiring: the graph of a network.

    Returns:
        By index of the layer, the longest delay of the connections that take its spikes; layers
        without relays are left out.
    """
    stages: dict[int, int] = {}
    for connections in wiring.connections:
        for connection in connections:
            if connection.source is not None and connection.delay:
                stages[connection.source] = max(stages.get(connection.source, 0), connection.delay)
    return dict(sorted(stages.items()))


@dataclass(frozen=True)
class RelayedNetwork:
    """A network whose skip paths pass relay layers, where these are the cheaper ones.

    Attributes:
        network: with the relay layers, each behind its source; what its other layers do is what
            they did. Where no relay layer pays it is the one that was given.
        relays: the names of a layer's relay layers, the one behind it first.
    """

    network: QuantizedNetwork
    relays: Mapping[str, tuple[str, ...]]


def with_relay_layers(network: QuantizedNetwork) -> RelayedNetwork:
    """Put relay layers in the place of long chains of relays.

    Args:
        network: what shall be placed on a chip.
    """
    delay, wiring = network.firing_delay, network.wiring
    if delay < _LEAST_DELAY or not is_phased(delay, network.num_steps):
        return RelayedNetwork(network, {})
    layers: list[Layer] = []
    relays: dict[str, tuple[str, ...]] = {}
    stages = relay_stages(wiring)
    for index, layer in enumerate(network.layers):
        pairs = zip(layer.inputs, wiring.connections[index], strict=True)
        inputs = tuple(_behind(one, connection, relays, delay + 1) for one, connection in pairs)
        layers.append(replace(layer, inputs=inputs))
        number = stages.get(index, 0) // (delay + 1)
        if number:
            added = _relay_layers(layer, number)
            relays[layer.name] = tuple(one.name for one in added)
            layers += added
    if not relays:
        return RelayedNetwork(network, {})
    return RelayedNetwork(replace(network, layers=tuple(layers)), relays)


def _behind(
    one: Input, connection: Connection, relays: Mapping[str, tuple[str, ...]], each: int
) -> Input:
    """Return an input that takes its spikes behind as many relay layers as its delay wants."""
    number = connection.delay // each
    return one if not number else Input(relays[one.source][number - 1], one.synapses)


def _relay_layers(layer: Layer, number: int) -> list[Layer]:
    """Return relay layers in a row behind a layer."""
    added: list[Layer] = []
    source = layer.name
    for stage in range(1, number + 1):
        name = f"{layer.name}, relay {stage}"
        synapses = OneToOne(name, np.ones(1, np.int32), 8, layer.output_shape)
        neurons = Neurons(np.zeros(1, np.int32), threshold=1)
        added.append(Layer(name, neurons, (Input(source, synapses),)))
        source = name
    return added
