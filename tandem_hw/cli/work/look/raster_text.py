"""Rasters and potentials as text that fits 80 columns, with an alphabet for every terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from tandem_hw.counted import counted
from tandem_hw.network.quantized import Layer
from tandem_hw.plain_text import plain
from tandem_hw.report.page.steps import TracedNeuron
from tandem_hw.report.raster import raster_of
from tandem_hw.sim.step_trace import StepTrace, TraceDifference

COLUMNS: Final = 80
#: Cells from silent to full, and what stands for them where the encoding has no blocks.
_BLOCKS: Final = "·░▒▓█"
_ASCII: Final = ".:+*#"
_ROWS_MAX: Final = 16
_LABEL: Final = 16
_CELL_MAX: Final = 4


def alphabet_of(encoding: str | None) -> str:
    """Return the characters of a raster that an encoding has, from silent to full."""
    try:
        _BLOCKS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return _ASCII
    return _BLOCKS


def raster_lines(
    layer: Layer, trace: StepTrace, difference: TraceDifference | None, alphabet: str
) -> Iterator[str]:
    """Yield the lines of a layer's raster: rows are neurons, columns steps.

    Args:
        layer: that fires.
        trace: of a sample.
        difference: marked below its step if it is in this layer, or None.
        alphabet: as ``alphabet_of`` returns it.
    """
    spikes = trace.spikes[layer.name]
    steps = len(spikes)
    raster = raster_of(spikes, _ROWS_MAX, COLUMNS - _LABEL)
    fired = int(np.count_nonzero(spikes.any(axis=0)))
    yield (
        f"{plain(layer.name)}: {counted(int((spikes != 0).sum()), 'spike')}, {fired} of "
        f"{counted(layer.num_neurons, 'neuron')} fired; steps 1 to {steps}"
    )
    width = max(1, min(_CELL_MAX, (COLUMNS - _LABEL) // raster.shares.shape[1]))
    for row, shares in enumerate(raster.shares):
        first, last = raster.neurons[row], raster.neurons[row + 1] - 1
        label = str(first) if first == last else f"{first} to {last}"
        levels = np.ceil(shares * (len(alphabet) - 1)).astype(int)
        line = "".join(alphabet[level] * width for level in levels)
        yield f"{label.rjust(_LABEL - 2)}  {line}"
    if difference is not None and difference.layer == layer.name:
        column = int(np.searchsorted(raster.steps, difference.step - 1, side="right")) - 1
        yield f"{' ' * (_LABEL + column * width)}^ first difference"
    if not raster.is_whole:
        yield f"{' ' * _LABEL}a cell is {raster.cell_words}"


def potential_lines(
    layer: Layer,
    neuron: TracedNeuron,
    traces: Sequence[StepTrace],
    difference: TraceDifference | None,
) -> Iterator[str]:
    """Yield a table of a neuron's potentials: rows are steps, columns backends.

    Args:
        layer: of the neuron.
        neuron: which.
        traces: of the same sample.
        difference: the first, or None; what differs is marked in every step.
    """
    threshold = layer.neurons.threshold
    what = "readout, never fires" if threshold is None else f"threshold {threshold}"
    index = np.ravel_multi_index(neuron.index, layer.output_shape)
    yield f"{plain(layer.name)}, neuron {index} {list(neuron.index)}: {what}"
    yield "potential after each step in weight units; * is a spike"
    width = max(12, (COLUMNS - 8) // len(traces) - 12 // len(traces))
    width = min(20, width)
    yield "step".rjust(6) + "".join(_fitted(trace.backend, width) for trace in traces)
    steps = max(
        len(found[layer.name])
        for trace in traces
        for found in (trace.spikes, trace.potentials)
        if layer.name in found
    )
    for step in range(steps):
        values = [_value(trace, neuron, step) for trace in traces]
        mark = ""
        if any(value not in ("-", values[0]) for value in values[1:]):
            is_first = difference is not None and (
                (difference.layer, difference.neuron, difference.step)
                == (neuron.layer, neuron.index, step + 1)
            )
            mark = "  <- first" if is_first else "  <-"
        yield f"{step + 1:6d}" + "".join(_fitted(value, width) for value in values) + mark


def _fitted(text: str, width: int) -> str:
    return text.rjust(width)


def _value(trace: StepTrace, neuron: TracedNeuron, step: int) -> str:
    place = (step, *neuron.index)
    potentials, spikes = trace.potentials.get(neuron.layer), trace.spikes.get(neuron.layer)
    fired = "*" if spikes is not None and spikes[place] else " "
    return f"{'-' if potentials is None else f'{potentials[place]:.10g}'}{fired}"
