"""The layers of a network as connected Lava processes, without source and sinks.

    synapses -> neurons -> synapses -> neurons -> ...
                   |-> relay -> relay -> synapses -^       (a skip path, held back)

Relays are single neurons, or layers of their own where layers take in a whole window before they
fire (``tandem_hw.chip.relays``).

The synapses come from ``synapses`` beside this; those of all inputs of a layer end in the same
neurons. The neurons are our Process ``IF`` or a ``LIFReset``, or, lowered, the stock parts of
``stock_neurons``: what goes to the chip.

This module imports Lava; import it only where Lava is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from lava.magma.core.process.process import AbstractProcess
from lava.proc.lif.process import LIFReset

from tandem_hw.chip.axis_order import lava_shape, to_lava
from tandem_hw.chip.guard import guard_of, inhibition_parts, needs_guard
from tandem_hw.chip.relays import relay_stages, with_relay_layers
from tandem_hw.chip.timing import check_period, window_start
from tandem_hw.network.fixed_point import VTH_MAX
from tandem_hw.network.quantized import Layer, QuantizedNetwork
from tandem_hw.network.synapses.kind import Synapses
from tandem_hw.network.wiring import Connection
from tandem_hw.sim.graph.processes.integrate_and_fire import IF
from tandem_hw.sim.graph.stock_neurons import INTEGRATOR, stock_bias, stock_neurons
from tandem_hw.sim.graph.synapses import (
    connect_neurons,
    connect_signal,
    relay_chain,
    synapse_process,
)
from tandem_hw.sim.graph.window import Window


@dataclass(frozen=True)
class LayerProcesses:
    """One layer of the graph.

    Attributes:
        layer: what it stands for.
        synapses: one process for each of the layer's connections, in their order; those that take
            the network's input are connected to nothing before ``NetworkProcesses.feed``.
        neuron: has a_in, s_out and v, in Lava's shape of the layer's neurons.
        parts: every process of the neurons, ``neuron`` first.
        window: when it works.
        relays: the processes that hold its spikes back for skip paths.
    """

    layer: Layer
    synapses: tuple[AbstractProcess, ...]
    neuron: AbstractProcess
    parts: tuple[AbstractProcess, ...]
    window: Window
    relays: tuple[AbstractProcess, ...]

    def __iter__(self) -> Iterator[AbstractProcess]:
        """Iterate over all processes."""
        yield from (*self.synapses, *self.parts, *self.relays)


@dataclass(frozen=True)
class NetworkProcesses:
    """All layers, connected to each other.

    Attributes:
        layers: in the order of the network.
        inputs: the synapses that take the network's input, and their processes.
    """

    layers: tuple[LayerProcesses, ...]
    inputs: tuple[tuple[Synapses, AbstractProcess], ...]

    def feed(self, signal: Any) -> None:
        """Connect an out port in Lava's shape of the network's input to all that take it."""
        for synapses, process in self.inputs:
            connect_signal(signal, synapses, process)


def connect_layers(
    network: QuantizedNetwork, period: int, *, lowered: bool = False
) -> NetworkProcesses:
    """Build and connect the processes of all layers.

    Args:
        network: what to build.
        period: steps from one sample to the next.
        lowered: build neurons of stock processes only.

    Returns:
        The layers in order; what takes the network's input waits for its source.

    Raises:
        NetworkError: the period does not suit the network, or a lowered neuron does not fit the
            chip's registers.
    """
    check_period(network, period)
    relayed = with_relay_layers(network)
    built, inputs = _connected_layers(relayed.network, period, lowered)
    layers = tuple(
        replace(
            one,
            layer=layer,
            relays=(
                *one.relays,
                *(part for name in relayed.relays.get(layer.name, ()) for part in built[name]),
            ),
        )
        for layer in network.layers
        for one in (built[layer.name],)
    )
    return NetworkProcesses(layers, inputs)


def _connected_layers(
    network: QuantizedNetwork, period: int, lowered: bool
) -> tuple[dict[str, LayerProcesses], tuple[tuple[Synapses, AbstractProcess], ...]]:
    """Build and connect all layers of a network; return them by name, and what takes its input."""
    wiring, stages = network.wiring, relay_stages(network.wiring)
    layers: list[LayerProcesses] = []
    inputs: list[tuple[Synapses, AbstractProcess]] = []
    signals: list[list[Any]] = []  # of each layer its spikes, held back by 0, 1, ... steps
    for index, layer in enumerate(network.layers):
        start, delay = window_start(wiring.starts[index]), wiring.firing_delays[index]
        window = Window(network.num_steps, period, start, delay)
        parts = _neurons(network, index, window, lowered)
        connections = wiring.connections[index]
        synapses = tuple(_connected(item, parts[0], signals) for item in connections)
        inputs += [
            (connection.synapses, process)
            for connection, process in zip(connections, synapses, strict=True)
            if connection.source is None
        ]
        chain = relay_chain(parts[0], stages.get(index, 0))
        signals.append([parts[0].s_out, *(lif.s_out for _, lif in chain)])
        relays = tuple(process for relay in chain for process in relay)
        layers.append(LayerProcesses(layer, synapses, parts[0], parts, window, relays))
    return {one.layer.name: one for one in layers}, tuple(inputs)


def _connected(
    connection: Connection, neuron: AbstractProcess, signals: list[list[Any]]
) -> AbstractProcess:
    """Return the process of a connection, between its source, if it is a layer, and the neurons."""
    process = synapse_process(connection.synapses, graded=connection.source is None)
    connect_neurons(process, connection.synapses, neuron.a_in)
    if connection.source is not None:
        signal = signals[connection.source][connection.delay]
        connect_signal(signal, connection.synapses, process)
    return process


def _neurons(
    network: QuantizedNetwork, index: int, window: Window, lowered: bool
) -> tuple[AbstractProcess, ...]:
    """Return the processes of a layer's neurons, the neuron itself first."""
    layer = network.layers[index]
    if not needs_guard(network, layer, window.period):
        return (_resetting(layer, window),)
    common: dict[str, Any] = {
        "shape": lava_shape(layer.output_shape),
        "threshold": layer.neurons.threshold,
        "bias": _bias(layer),
        "reset": network.reset,
    }
    if not lowered:
        return (IF(window=window, **common),)
    inhibition = inhibition_parts(layer) if network.reset == "subtract" else (0, 0)
    guard = guard_of(network, index, window.period)
    return stock_neurons(window=window, inhibition=inhibition, guard=guard, **common).parts


def _bias(layer: Layer) -> Any:
    return to_lava(np.broadcast_to(layer.bias_image(), layer.output_shape), layer.output_shape)


def _resetting(layer: Layer, window: Window) -> LIFReset:
    """Return neurons that need no guard: a readout, or windows that follow each other at once."""
    threshold = layer.neurons.threshold
    return LIFReset(
        shape=lava_shape(layer.output_shape),
        # A voltage is clipped below 2^23 and the comparison is strict: 2^17 is never exceeded.
        vth=VTH_MAX + 1 if threshold is None else threshold - 1,
        reset_interval=window.period,
        reset_offset=window.offset % window.period,
        **stock_bias(_bias(layer)),
        **(INTEGRATOR if threshold is None else _decays(layer)),
    )


def _decays(layer: Layer) -> dict[str, int]:
    """Return du and dv of neurons that reset to zero; Lava takes off du + 1."""
    return {"du": layer.neurons.current_decay - 1, "dv": layer.neurons.voltage_decay}
