"""Who fires when: a small network without a firing delay, with one of a step, and phased."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import click
import numpy as np

from tandem_hw.chip.timing import default_period
from tandem_hw.network.fixed_point import floor_threshold
from tandem_hw.network.layers import Neurons, chain
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork
from tandem_hw.network.synapses.dense import Dense
from tandem_hw.sim.reference import ReferenceBackend, trace

_NUM_STEPS: Final = 4
#: Two inputs: what excites comes in every step, what inhibits in the last two.
_EVENTS: Final = np.array([[[1, 0], [1, 0], [1, 1], [1, 1]]], dtype=np.uint8)
#: Of two layers of two neurons: from each neuron before, and the threshold.
_LAYERS: Final = (
    ("first", np.array([[4, -8], [4, -2]]), floor_threshold(4)),
    ("second", np.array([[-8, 4], [4, 2]]), floor_threshold(4)),
)


def small_network(firing_delay: int) -> QuantizedNetwork:
    """Return two layers of two neurons each, counted, on events of two channels."""
    layers = chain(
        *(
            (Dense(name, weight, 8, (2,)), Neurons(np.zeros(2, int), threshold))
            for name, weight, threshold in _LAYERS
        )
    )
    spec = InputSpec((2,), 1, 1.0, "events")
    return QuantizedNetwork(
        spec, layers, _NUM_STEPS, "subtract", "count", firing_delay=firing_delay
    )


def raster(firing_delay: int) -> Iterator[str]:
    """Yield a line for every neuron: spikes |, silent steps . and steps in which it waits -."""
    network = small_network(firing_delay)
    spikes = trace(network, _EVENTS)
    counts = ReferenceBackend().run(network, _EVENTS).counts
    steps = network.latency
    yield (
        f"firing delay {firing_delay}: {steps} steps from the first input to the last spike, "
        f"a sample every {default_period(network)} steps"
    )
    for channel, what in enumerate(("excites", "inhibits")):
        sent = "".join("|" if value else "." for value in _EVENTS[0, :, channel])
        yield f"  input {what:<9} {sent}"
    for index, layer in enumerate(network.layers):
        start, first = network.wiring.starts[index], network.wiring.first_spikes[index]
        for neuron in range(layer.num_neurons):
            fired = "".join("|" if spike else "." for spike in spikes[layer.name][0, :, neuron])
            line = " " * start + "-" * (first - start) + fired
            name = f"{layer.name} {neuron + 1}"
            yield f"  {name:<15} {line:<{steps}}  {counts[layer.name][0, neuron]}"


@click.command("firing-raster")
def command() -> None:
    """Print the spikes of a small network for three firing delays, as docs/firing-delay.md does."""
    click.echo(text())


def text() -> str:
    """Return the rasters of three firing delays, an empty line between two of them."""
    delays = (0, 1, _NUM_STEPS - 1)
    return "\n\n".join("\n".join(raster(delay)) for delay in delays)


COMMANDS = [command]
