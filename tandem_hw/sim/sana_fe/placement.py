"""Which neurons of a network lie in which core of Loihi 1, and what SANA-FE cannot run exactly.

Nothing of SANA-FE is imported here. The numbers are those of the ``loihi.yaml`` that comes with it,
which follow M. Davies et al., "Loihi: A Neuromorphic Manycore Processor with On-Chip Learning",
IEEE Micro 38(1), 2018.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tandem_hw.chip.relays import relay_stages
from tandem_hw.errors import NetworkError
from tandem_hw.network.fixed_point import DECAY_UNITY, STATE_LIMIT
from tandem_hw.network.layers import Layer
from tandem_hw.network.quantized import QuantizedNetwork

CORES: Final = 128
#: Compartments, one neuron each, of a core.
NEURONS_OF_A_CORE: Final = 1024
#: Synapses that a network may have: SANA-FE keeps each as an object, of some 900 bytes in all.
MOST_SYNAPSES: Final = 4_000_000


@dataclass(frozen=True)
class Group:
    """Neurons that lie together: those of a layer, or relays that hold its spikes back.

    Attributes:
        name: what SANA-FE calls them; the order of the names is that of the groups.
        layer: index of the layer.
        stage: 0 for the layer's own neurons; otherwise the steps by which the relays, as many as
            the layer has neurons, are late.
        neurons: how many.
        first_core: the core of the first of them; the others fill this one and those behind it.
    """

    name: str
    layer: int
    stage: int
    neurons: int
    first_core: int

    @property
    def cores(self) -> int:
        """How many cores they take."""
        return -(-self.neurons // NEURONS_OF_A_CORE)

    def core_of(self, neuron: int) -> int:
        """Return the core of a neuron, by its place in the group."""
        return self.first_core + neuron // NEURONS_OF_A_CORE


def group_name(layer: int, stage: int = 0) -> str:
    """Return the name of the neurons of a layer, or of relays behind it."""
    return f"layer-{layer:04d}-{stage:04d}"


def place(network: QuantizedNetwork) -> list[Group]:
    """Return all groups of a network, each in cores of its own, in the order of their names.

    Args:
        network: one that ``check_exact`` lets pass fits the chip.
    """
    stages = relay_stages(network.wiring)
    groups: list[Group] = []
    core = 0
    for index, layer in enumerate(network.layers):
        for stage in range(stages.get(index, 0) + 1):
            group = Group(group_name(index, stage), index, stage, layer.num_neurons, core)
            groups.append(group)
            core += group.cores
    return groups


def check_exact(network: QuantizedNetwork) -> None:
    """Refuse a network that SANA-FE cannot run exactly, or that its chip has no room for.

    Raises:
        NetworkError: names the layer, what was found and what to do.
    """
    for layer, bounds in zip(network.layers, network.bounds, strict=True):
        if not bounds.proven:
            raise _refusal(
                layer,
                f"its state can reach {bounds.low} to {bounds.high} weight units, and beyond "
                f"±{STATE_LIMIT} a chip wraps or clips it, which SANA-FE does not; use fewer input "
                f"bits, weight bits or steps",
            )
        if layer.neurons.current_decay != DECAY_UNITY:
            raise _refusal(
                layer,
                f"its current decays by {layer.neurons.current_decay}/{DECAY_UNITY} a step, which "
                f"a chip rounds and SANA-FE does not; use a current_decay of {DECAY_UNITY}",
            )
    groups = place(network)
    cores = sum(group.cores for group in groups)
    if cores > CORES:
        relays = sum(group.cores for group in groups if group.stage)
        raise NetworkError(
            f"the backend sana-fe has no room for the network: it takes {cores} cores of "
            f"{NEURONS_OF_A_CORE} neurons, {relays} of them for relays on skip paths, and the "
            f"Loihi that it models has {CORES}; use fewer channels, or {_OTHERS}"
        )
    synapses = sum(_synapses_on_chip(network))
    if synapses > MOST_SYNAPSES:
        raise NetworkError(
            f"the backend sana-fe has no room for the network: unrolled, it has {synapses} "
            f"synapses between neurons, and {MOST_SYNAPSES} are allowed, since each takes some 900 "
            f"bytes; use fewer channels, or {_OTHERS}"
        )


_OTHERS: Final = "run tandem-hw verify with --backends reference,c, which take every network"


def _refusal(layer: Layer, why: str) -> NetworkError:
    return NetworkError(f"layer {layer.name}: {why}, or {_OTHERS}")


def _synapses_on_chip(network: QuantizedNetwork) -> Iterator[int]:
    """Yield how many synapses of each connection join two neurons."""
    for connections in network.wiring.connections:
        for connection in connections:
            if connection.source is not None:
                yield int(connection.synapses.fan_out.sum())
