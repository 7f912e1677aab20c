"""A sample step by step on several backends: run, compared, shown and drawn."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tandem_hw.atomic_write import write_whole
from tandem_hw.cli.output.written_files import written_lines
from tandem_hw.cli.terminal import follow, make_console, progress_bars
from tandem_hw.cli.work.look.raster_text import alphabet_of, potential_lines, raster_lines
from tandem_hw.cli.work.samples import Samples, load_samples
from tandem_hw.errors import NetworkError
from tandem_hw.network.quantized import Layer, QuantizedNetwork
from tandem_hw.report.page.judgement import all_names
from tandem_hw.report.page.steps import TracedNeuron, chosen_neuron, steps_file
from tandem_hw.sim.backend import Backend
from tandem_hw.sim.step_trace import (
    StepTrace,
    TraceDifference,
    check_trace,
    first_difference,
    trace_steps,
)


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
        sample: index of the sample, from 0.
        layer: name of the one layer that is shown, or None for all.
        neurons: flat indices of neurons of it, or None for one that is chosen by rule.
        plot: a picture, or None.
    """

    sample: int
    layer: str | None
    neurons: tuple[int, ...] | None
    plot: Path | None


def trace(network: QuantizedNetwork, runners: Sequence[Backend], data: str, wanted: Wanted) -> bool:
    """Show what a sample did in each step, and return whether all backends agree.

    Args:
        network: what runs.
        runners: where; the first is the measure.
        data: the data set, as ``load_dataset`` takes it.
        wanted: what is shown.

    Raises:
        TandemError: a backend cannot do it, or there is no such sample, layer or neuron.
    """
    layers = _layers(network, wanted)
    for runner in runners:
        check_trace(runner, network)
    given = load_samples(network, data, None)
    given.require_sample(wanted.sample, data)
    with progress_bars() as progress:
        traces = [
            trace_steps(runner, network, given.inputs[wanted.sample], follow(progress, runner.name))
            for runner in runners
        ]
    difference = first_difference(network, traces)
    neurons = _neurons(network, layers, wanted, traces, difference)
    if wanted.plot is not None:
        kind = wanted.plot.suffix.lower().removeprefix(".")
        firing = [layer for layer in layers if layer.fires]
        write_whole(wanted.plot, steps_file(network, traces, neurons, firing, difference, kind))
    _show(network, given, layers, neurons, traces, difference, wanted)
    return difference is None


def _layers(network: QuantizedNetwork, wanted: Wanted) -> list[Layer]:
    if wanted.layer is None:
        return list(network.layers)
    found = [layer for layer in network if layer.name == wanted.layer]
    if not found:
        names = ", ".join(layer.name for layer in network)
        raise NetworkError(f'there is no layer "{wanted.layer}"; there are {names}')
    (layer,) = found
    for neuron in wanted.neurons or ():
        if neuron >= layer.num_neurons:
            raise NetworkError(
                f"layer {layer.name} has neurons 0 to {layer.num_neurons - 1}, neuron {neuron} was "
                f"asked for"
            )
    return found


def _neurons(
    network: QuantizedNetwork,
    layers: Sequence[Layer],
    wanted: Wanted,
    traces: Sequence[StepTrace],
    difference: TraceDifference | None,
) -> list[TracedNeuron]:
    """Return the neurons whose potentials are shown: those asked for, or one."""
    if wanted.neurons is not None:
        (layer,) = layers
        places = [np.unravel_index(neuron, layer.output_shape) for neuron in wanted.neurons]
        return [TracedNeuron(layer.name, tuple(map(int, place))) for place in places]
    shown = layers[-1]
    if difference is not None:
        shown = next((one for one in layers if one.name == difference.layer), shown)
    return [chosen_neuron(shown, traces, difference)]


def _show(
    network: QuantizedNetwork,
    given: Samples,
    layers: Sequence[Layer],
    neurons: Sequence[TracedNeuron],
    traces: Sequence[StepTrace],
    difference: TraceDifference | None,
    wanted: Wanted,
) -> None:
    console = make_console()
    names = ", ".join(trace.backend for trace in traces)
    of_class = ""
    if given.labels is not None:
        called = all_names(given.class_names(network), network.outputs)
        of_class = f" (class {called[given.labels[wanted.sample]]})"
    console.print(f"sample {wanted.sample}{of_class} on {names}")
    alphabet = alphabet_of(sys.stdout.encoding)
    for layer in layers:
        if layer.fires:
            console.print()
            for line in raster_lines(layer, traces[0], difference, alphabet):
                console.print(line)
    for neuron in neurons:
        console.print()
        layer = next(one for one in network if one.name == neuron.layer)
        for line in potential_lines(layer, neuron, traces, difference):
            console.print(line)
    console.print()
    if difference is not None:
        console.print(f"DIFFERENCE: first in {difference}", style="red")
    elif len(traces) > 1 and any(spikes.any() for spikes in traces[0].spikes.values()):
        console.print(
            "EQUAL: every spike and every potential that both have, in every step", style="green"
        )
    elif len(traces) > 1:
        console.print(
            "EQUAL, but no neuron fired, and equal silence proves nothing", style="yellow"
        )
    for line in written_lines(wanted.plot):
        console.print(line)
