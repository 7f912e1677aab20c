"""Which layer takes its spikes from which: the graph of a network, checked and in plain tables.

A spike needs one step from a layer to the next, and a layer with a firing delay lets some steps of
its window pass before its neurons may fire. So a layer that is reached by paths of different
lengths works after the longest one; on the shorter paths the spikes are held back
(``Connection.delay``) and arrive in step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tandem_hw.errors import NetworkError
from tandem_hw.network.layers import INPUT_SOURCE, Input, Layer
from tandem_hw.network.synapses.geometry import Shape
from tandem_hw.network.synapses.kind import Synapses


@dataclass(frozen=True)
class Connection:
    """Synapses and where their spikes come from.

    Attributes:
        synapses: one of a layer's inputs.
        source: index of the layer whose spikes come in; None for the network's input.
        delay: steps by which the spikes are held back beyond the one step of every synapse.
    """

    synapses: Synapses
    source: int | None
    delay: int


@dataclass(frozen=True)
class Wiring:
    """The graph of a network.

    Attributes:
        connections: per layer its connections, in the order of ``Layer.inputs``.
        depths: per layer the number of layers on the longest path from the input to it, itself
            included.
        firing_delays: per layer the steps of its window that its neurons wait before they may fire;
            0 for a readout by potential, and where all that comes in comes in the window's first
            step, so that there is nothing to wait for.
        starts: per layer the steps by which its window starts after that of the network's input;
            without firing delays those of ``depths``.
    """

    connections: tuple[tuple[Connection, ...], ...]
    depths: tuple[int, ...]
    firing_delays: tuple[int, ...]
    starts: tuple[int, ...]

    @property
    def first_spikes(self) -> tuple[int, ...]:
        """Per layer the steps by which its first spike may follow the start of the input's window.

        For a readout by potential that is where its window starts.
        """
        return tuple(map(sum, zip(self.starts, self.firing_delays, strict=True)))

    def takes_input(self, index: int) -> bool:
        """Whether a layer takes the network's input; it then takes nothing else."""
        return self.depths[index] == 1

    def last_use(self, index: int) -> int:
        """Return the index of the last layer that takes a layer's spikes, or its own if none."""
        users = [
            user
            for user, connections in enumerate(self.connections)
            if any(connection.source == index for connection in connections)
        ]
        return max(users, default=index)


def wire(
    layers: Sequence[Layer],
    input_shape: Shape,
    firing_delay: int = 0,
    *,
    input_comes_at_once: bool = False,
) -> Wiring:
    """Find the source of all synapses and check that shapes fit.

    Args:
        layers: sources before the layers that they feed.
        input_shape: shape of the network's input.
        firing_delay: steps that the network's firing layers wait.
        input_comes_at_once: whether all of a sample is sent in the first step of a window.

    Returns:
        The graph.

    Raises:
        NetworkError: a name is given twice or unknown, a shape does not fit, a layer feeds none, or
            a skip path starts at the input, whose graded values no neuron can hold back.
    """
    _check_names(layers)
    indices: dict[str, int | None] = {INPUT_SOURCE: None}
    all_connections: list[tuple[Connection, ...]] = []
    depths: list[int] = []
    firing_delays: list[int] = []
    starts: list[int] = []
    for index, layer in enumerate(layers):
        pairs = [(one.synapses, _source(one, indices)) for one in layer.inputs]
        for synapses, source in pairs:
            _check_shapes(synapses, layer, input_shape if source is None else layers[source])
        sent = [
            0 if source is None else starts[source] + firing_delays[source] for _, source in pairs
        ]
        start = 1 + max(sent)
        connections = tuple(
            Connection(synapses, source, start - 1 - first)
            for (synapses, source), first in zip(pairs, sent, strict=True)
        )
        for connection in connections:
            if connection.source is None and connection.delay:
                raise NetworkError(
                    f"layer {layer.name}: the skip path {connection.synapses.name} starts at the "
                    f"network's input, whose values no neuron can hold back; start it behind a "
                    f"spiking layer"
                )
        at_once = input_comes_at_once and all(source is None for _, source in pairs)
        all_connections.append(connections)
        depths.append(1 + max(0 if source is None else depths[source] for _, source in pairs))
        firing_delays.append(firing_delay if layer.fires and not at_once else 0)
        starts.append(start)
        indices[layer.name] = index
    wiring = Wiring(tuple(all_connections), tuple(depths), tuple(firing_delays), tuple(starts))
    for index, layer in enumerate(layers[:-1]):
        if wiring.last_use(index) == index:
            raise NetworkError(f"layer {layer.name} feeds no other layer; leave it out")
    return wiring


def _check_names(layers: Sequence[Layer]) -> None:
    names = [synapses.name for layer in layers for synapses in layer.synapses]
    if len(set(names)) != len(names):
        raise NetworkError(f"layer names are not unique: {names}")
    if INPUT_SOURCE in names:
        raise NetworkError(f'no layer can be named "{INPUT_SOURCE}", which means what comes in')


def _source(one: Input, indices: dict[str, int | None]) -> int | None:
    if one.source not in indices:
        raise NetworkError(
            f'layer {one.synapses.name} takes its spikes from "{one.source}", which is no layer '
            f"before it; there are {', '.join(indices)}"
        )
    return indices[one.source]


def _check_shapes(synapses: Synapses, layer: Layer, source: Layer | Shape) -> None:
    coming = source.output_shape if isinstance(source, Layer) else source
    if synapses.input_shape != coming:
        raise NetworkError(
            f"layer {synapses.name} takes {synapses.input_shape}, but {coming} comes in"
        )
    if synapses.output_shape != layer.output_shape:
        raise NetworkError(
            f"layer {layer.name} has neurons of shape {layer.output_shape}, its skip "
            f"{synapses.name} reaches {synapses.output_shape}"
        )
