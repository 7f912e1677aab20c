"""When every layer of a network works in C, and where its spikes, sums and states are kept.

A window is walked through step by step: in each step all layers one behind the other, each on the
spikes that those before it have sent in the same step. A layer that waits before it fires does so
that many steps later than its input comes; where paths of different delays meet, the spikes of the
shorter one are kept in a ring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tandem_hw.export.c99.identifiers import layer_mark
from tandem_hw.network.bounds import StateBounds, StepInterval
from tandem_hw.network.fixed_point import STATE_FRACTION_BITS, WEIGHT_STEP
from tandem_hw.network.layers import Layer
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.synapses.dense import OneToOne
from tandem_hw.network.synapses.kind import Synapses

_INT16_LARGEST = (1 << 15) - 1


@dataclass(frozen=True)
class Path:
    """Synapses of a layer.

    Attributes:
        synapses: which.
        source: index of the layer that sends; None for the network's input.
        held: steps by which its spikes are held back.
        mark: end of its identifiers.
    """

    synapses: Synapses
    source: int | None
    held: int
    mark: str

    @property
    def is_read(self) -> bool:
        """Whether the neurons read the spikes at their own places, instead of taking a sum."""
        return isinstance(self.synapses, OneToOne) and self.source is not None


@dataclass(frozen=True)
class LayerPlan:
    """One layer.

    Attributes:
        layer: the layer.
        reset: the network's.
        index: from 0.
        paths: its synapses.
        start: the step, of all steps of a window, in which its input begins.
        num_steps: length T of its window.
        delay: steps that its neurons wait before they may fire.
        slots: steps whose spikes are kept.
        bounds: proven bounds of its states.
        interval: of what comes in in a step.
        keeps_sums: whether every step brings the same sums, which are made once.
    """

    layer: Layer
    reset: str
    index: int
    paths: tuple[Path, ...]
    start: int
    num_steps: int
    delay: int
    slots: int
    bounds: StateBounds
    interval: StepInterval
    keeps_sums: bool

    @property
    def mark(self) -> str:
        """End of the identifiers of its neurons."""
        return self.paths[0].mark

    @property
    def channels(self) -> int:
        """Output channels; neurons lie with the channels last."""
        return self.layer.output_shape[0]

    @property
    def positions(self) -> int:
        """Neurons of a channel."""
        return self.layer.num_neurons // self.channels

    @property
    def end(self) -> int:
        """The step after its last one."""
        return self.start + self.num_steps + self.delay

    @property
    def clears(self) -> bool:
        """Whether a spike clears the membrane; a readout integrates as "subtract" does."""
        return self.reset == "zero" and self.layer.fires

    @property
    def fraction(self) -> int:
        """What of its states makes a weight unit: 1, or 64 where a state may be no whole one."""
        is_whole = not self.clears or (self.bounds.proven and not self.layer.neurons.leaks)
        return 1 if is_whole else 1 << STATE_FRACTION_BITS

    @property
    def summed(self) -> tuple[Path, ...]:
        """The synapses whose weights are added up."""
        return tuple(path for path in self.paths if not path.is_read)

    @property
    def unit(self) -> int:
        """What one step of a sum is worth in weight units, 2 unless a weight is odd."""
        odd = any((path.synapses.weight % WEIGHT_STEP).any() for path in self.summed)
        return 1 if odd else WEIGHT_STEP

    @property
    def sum_type(self) -> str:
        """The type of the sums of a step."""
        reach = max(-int(self.interval[0].min()), int(self.interval[1].max()))
        return "int16_t" if reach <= _INT16_LARGEST * self.unit else "int32_t"


@dataclass(frozen=True)
class Plan:
    """A network as C walks through it.

    Attributes:
        network: the network.
        layers: its layers.
    """

    network: QuantizedNetwork
    layers: tuple[LayerPlan, ...]

    @property
    def steps(self) -> int:
        """Steps from the first input of a window to the end of the result."""
        return self.layers[-1].end

    @cached_property
    def spike_places(self) -> tuple[dict[int, int], int]:
        """Where the spikes of layers that nobody holds back are, by index, and bytes of all.

        Layers whose spikes are read in the same step alone share memory.
        """
        places: dict[int, int] = {}
        wiring = self.network.wiring
        for plan in self.layers:
            if plan.layer.fires and plan.slots == 1:
                busy = sorted(
                    (place, place + self.layers[other].layer.num_neurons)
                    for other, place in places.items()
                    if wiring.last_use(other) >= plan.index
                )
                places[plan.index] = _first_gap(busy, plan.layer.num_neurons)
        ends = [place + self.layers[index].layer.num_neurons for index, place in places.items()]
        return places, max(ends, default=0)


def _first_gap(busy: Sequence[tuple[int, int]], size: int) -> int:
    place = 0
    for start, end in busy:
        if start - place >= size:
            break
        place = max(place, -(-end // 8) * 8)
    return place


def make_plan(network: QuantizedNetwork) -> Plan:
    """Return how C walks through a network.

    A layer that has taken in all there is in its first step need not wait, unless it may wrap: then
    the steps behind the last input can matter (``tandem_hw.arithmetic.neurons``).
    """
    wiring, bounds = network.wiring, network.bounds
    delays = [
        (own if proven.proven else network.firing_delay) if layer.fires else 0
        for layer, own, proven in zip(network.layers, wiring.firing_delays, bounds, strict=True)
    ]
    starts: list[int] = []
    all_paths: list[tuple[Path, ...]] = []
    for index, connections in enumerate(wiring.connections):
        sent = [
            0 if one.source is None else starts[one.source] + delays[one.source]
            for one in connections
        ]
        starts.append(max(sent))
        all_paths.append(
            tuple(
                Path(one.synapses, one.source, starts[-1] - first, mark)
                for part, (one, first) in enumerate(zip(connections, sent, strict=True))
                for mark in (layer_mark(index + 1, part, one.synapses.name),)
            )
        )
    held = [
        max((path.held for paths in all_paths for path in paths if path.source == index), default=0)
        for index in range(len(starts))
    ]
    repeats = not network.input.takes_events and network.input.sends(network.num_steps) > 1
    layers = tuple(
        LayerPlan(
            layer=layer,
            reset=network.reset,
            index=index,
            paths=all_paths[index],
            start=starts[index],
            num_steps=network.num_steps,
            delay=delays[index],
            slots=held[index] + 1,
            bounds=bounds[index],
            interval=network.step_intervals[index],
            keeps_sums=repeats and wiring.takes_input(index),
        )
        for index, layer in enumerate(network.layers)
    )
    return Plan(network, layers)
