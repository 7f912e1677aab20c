"""What a sample did step by step: rasters of the layers, and potentials of single neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.network.quantized import Layer, QuantizedNetwork
from tandem_hw.report.page.cell_areas import fill_cells
from tandem_hw.report.page.content import Picture, Section
from tandem_hw.report.page.svg import ALARM, FAINT, HEIGHT, SERIES, WIDTH, drawn, short, svg_of
from tandem_hw.report.raster import Raster, raster_of
from tandem_hw.sim.step_trace import StepTrace, TraceDifference

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Rows and columns of a raster in a page, at most, and cells of all rasters together.
_ROWS_MAX: Final = 32
_COLUMNS_MAX: Final = 48
_CELLS_MAX: Final = 20_000
_ROWS_MIN: Final = 4
#: Layers that a page draws; of a deeper network the first and the last ones.
_LAYERS_MAX: Final = 16
#: How dark the cells of a raster are: those that fired in part are drawn in so many shades.
_SHADES: Final = 4
#: In a window of more steps, points and spikes are not marked one by one.
_MARKED_MAX: Final = 60
#: Dashes of the second backend's line, so that one of the first shows below it.
_DASHES: Final = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 1, 1, 1)))


@dataclass(frozen=True)
class TracedNeuron:
    """A neuron whose potential is shown.

    Attributes:
        layer: name of its layer.
        index: its place in the layer's ``output_shape``.
    """

    layer: str
    index: tuple[int, ...]

    def by_step(self, values: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Return this neuron's values, [steps], of those of all layers and neurons."""
        of_layer = values[self.layer]
        flat = np.ravel_multi_index(self.index, of_layer.shape[1:])
        found: npt.NDArray[Any] = of_layer.reshape(len(of_layer), -1)[:, flat]
        return found


def chosen_neuron(
    layer: Layer, traces: Sequence[StepTrace], difference: TraceDifference | None
) -> TracedNeuron:
    """Return the neuron of a layer that is shown where nobody says which.

    It is the one of the first difference, otherwise the one that fired most, of a readout the one
    with the largest result; of several the first.

    Args:
        layer: of the network.
        traces: what it did, on one backend at least.
        difference: where the traces first differ, or None.
    """
    if difference is not None and difference.layer == layer.name:
        return TracedNeuron(layer.name, difference.neuron)
    first = traces[0]
    value = (
        first.spikes[layer.name].sum(axis=0) if layer.fires else first.potentials[layer.name][-1]
    )
    found = np.unravel_index(int(value.argmax()), layer.output_shape)
    return TracedNeuron(layer.name, tuple(int(index) for index in found))


def steps_section(
    network: QuantizedNetwork,
    traces: Sequence[StepTrace],
    difference: TraceDifference | None,
    sample: str,
    note: str = "",
) -> Section:
    """Return the rasters and potentials of a sample, layer by layer.

    Args:
        network: what ran.
        traces: of one sample, on one backend or more.
        difference: where they first differ, or None.
        sample: which sample it is, in words.
        note: what else has to be said, or "".
    """
    layers = _shown_layers(network)
    pictures: list[Picture] = []
    columns = min(_COLUMNS_MAX, max(len(found) for found in traces[0].potentials.values()))
    rows = min(_ROWS_MAX, max(_ROWS_MIN, _CELLS_MAX // (columns * len(layers))))
    for number, layer in enumerate(layers):
        if layer.fires:
            raster = raster_of(traces[0].spikes[layer.name], rows, columns)
            pictures.append(_raster_picture(layer, raster, difference, f"raster-{number}"))
        neuron = chosen_neuron(layer, traces, difference)
        if _having(traces, layer.name):
            pictures.append(
                _potential_picture(network, layer, neuron, traces, difference, f"state-{number}")
            )
    texts = [f"{sample}, on {', '.join(trace.backend for trace in traces)}.", note]
    if len(layers) < len(network.layers):
        texts.append(
            f"The first {_LAYERS_MAX // 2} and the last {_LAYERS_MAX // 2} of "
            f"{len(network.layers)} layers are shown."
        )
    warnings = [] if difference is None else [f"First difference: {difference}."]
    return Section(
        "steps", "A sample step by step", [text for text in texts if text], warnings,
        pictures=pictures,
    )  # fmt: skip


def steps_file(
    network: QuantizedNetwork,
    traces: Sequence[StepTrace],
    neurons: Sequence[TracedNeuron],
    layers: Sequence[Layer],
    difference: TraceDifference | None,
    kind: str,
) -> bytes:
    """Return a picture of rasters and potentials as the content of a file of its own.

    Args:
        network: what ran.
        traces: of one sample.
        neurons: whose potentials are drawn.
        layers: firing ones, whose rasters are drawn.
        difference: where the traces first differ, or None.
        kind: "svg" or "png".
    """
    panels = len(layers) + len(neurons)

    def draw(figure: Figure) -> None:
        grid = list(figure.subplots(panels, 1, squeeze=False).flat)
        for axes, layer in zip(grid, layers, strict=False):
            raster = raster_of(traces[0].spikes[layer.name], 2 * _ROWS_MAX, 2 * _COLUMNS_MAX)
            draw_raster(axes, layer.name, raster, difference)
        for axes, neuron in zip(grid[len(layers) :], neurons, strict=True):
            draw_potential(axes, network, neuron, traces, difference)

    return drawn(draw, 1.5 * WIDTH, HEIGHT * panels, kind)


def draw_raster(axes: Axes, name: str, raster: Raster, difference: TraceDifference | None) -> None:
    """Draw who fired when: rows are neurons, columns steps; the stronger a cell's colour, the more
    fired.

    Args:
        axes: where.
        name: of the layer.
        raster: of the layer.
        difference: which is marked if it is in this layer.
    """
    shades = np.ceil(raster.shares * _SHADES).astype(int)
    for shade in range(1, _SHADES + 1):
        cells = [
            (
                raster.steps[column] + 0.5,
                raster.neurons[row] - 0.5,
                raster.steps[column + 1] + 0.5,
                raster.neurons[row + 1] - 0.5,
            )
            for row, column in np.argwhere(shades == shade).tolist()
        ]
        fill_cells(axes, cells, facecolor=SERIES[0], edgecolor="none", alpha=shade / _SHADES)
    if difference is not None and difference.layer == name:
        axes.axvline(difference.step, color=ALARM, linewidth=1.2, linestyle=(0, (2, 2)))
    axes.set_xlim(0.5, raster.steps[-1] + 0.5)
    axes.set_ylim(raster.neurons[-1] - 0.5, -0.5)
    axes.set_title(f"{short(name)}: who fired when", loc="left")
    axes.set(xlabel="step", ylabel="neuron")
    axes.locator_params(integer=True)


def draw_potential(
    axes: Axes,
    network: QuantizedNetwork,
    neuron: TracedNeuron,
    traces: Sequence[StepTrace],
    difference: TraceDifference | None,
) -> None:
    """Draw a neuron's potential after each step on all backends that have it, and its spikes.

    Args:
        axes: where.
        network: what ran.
        neuron: whose.
        traces: of one sample.
        difference: which is marked if it is this neuron's.
    """
    layer = next(one for one in network if one.name == neuron.layer)
    for number, trace in enumerate(_having(traces, neuron.layer)):
        values = neuron.by_step(trace.potentials)
        steps = np.arange(1, len(values) + 1)
        color = SERIES[number % len(SERIES)]
        many = len(values) > _MARKED_MAX
        axes.plot(
            steps, values, color=color, linestyle=_DASHES[number % len(_DASHES)],
            linewidth=1 if many else 1.6, marker=None if many else "o", markersize=2.5,
            label=trace.backend,
        )  # fmt: skip
        if neuron.layer in trace.spikes:
            _mark_spikes(axes, steps, values, neuron.by_step(trace.spikes) != 0, color)
    if layer.neurons.threshold is not None:
        axes.axhline(layer.neurons.threshold, color=FAINT, linewidth=1, label="threshold")
    if difference is not None and (difference.layer, difference.neuron) == (
        neuron.layer,
        neuron.index,
    ):
        axes.axvline(
            difference.step, color=ALARM, linewidth=1.2, linestyle=(0, (2, 2)),
            label="first difference",
        )  # fmt: skip
    axes.set_title(f"{short(neuron.layer)}, neuron {list(neuron.index)}", loc="left")
    axes.set(xlabel="step", ylabel="potential (weight units)")
    axes.locator_params(axis="x", integer=True)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.3), ncols=3, borderaxespad=0)
    axes.margins(y=0.1)


def _mark_spikes(
    axes: Axes,
    steps: npt.NDArray[Any],
    values: npt.NDArray[Any],
    fired: npt.NDArray[np.bool_],
    color: str,
) -> None:
    """Mark the steps with a spike: by circles, or in a long window by ticks at the lower edge."""
    if len(steps) <= _MARKED_MAX:
        axes.plot(
            steps[fired], values[fired], color=color, linestyle="none", marker="o",
            markersize=7, fillstyle="none",
        )  # fmt: skip
        return
    # One line with gaps, in shares of the height.
    ticks = [(step, height) for step in steps[fired] for height in (0, 0.06, np.nan)]
    if ticks:
        axes.plot(
            *zip(*ticks, strict=True),
            color=color,
            linewidth=1,
            transform=axes.get_xaxis_transform(),
        )


def _shown_layers(network: QuantizedNetwork) -> list[Layer]:
    layers = list(network.layers)
    if len(layers) <= _LAYERS_MAX:
        return layers
    return [*layers[: _LAYERS_MAX // 2], *layers[-(_LAYERS_MAX // 2) :]]


def _having(traces: Sequence[StepTrace], layer: str) -> list[StepTrace]:
    return [trace for trace in traces if layer in trace.potentials]


def _raster_picture(
    layer: Layer, raster: Raster, difference: TraceDifference | None, key: str
) -> Picture:
    spikes = f"{np.count_nonzero(raster.shares)} of {raster.shares.size} cells have spikes"
    text = f"Raster of layer {layer.name}: {counted(layer.num_neurons, 'neuron')}, {spikes}"
    svg = svg_of(lambda figure: draw_raster(figure.subplots(), layer.name, raster, difference),
                 key, f"Who fired when in layer {layer.name}", f"{text}.")  # fmt: skip
    cell = (
        ""
        if raster.is_whole
        else f" A cell is {raster.cell_words}; the stronger its colour, the more fired."
    )
    marked = difference is not None and difference.layer == layer.name
    where = " The dashed line marks the first difference." if marked else ""
    return Picture(svg, f"{layer.name}: {counted(layer.num_neurons, 'neuron')}.{cell}{where}")


def _potential_picture(
    network: QuantizedNetwork,
    layer: Layer,
    neuron: TracedNeuron,
    traces: Sequence[StepTrace],
    difference: TraceDifference | None,
    key: str,
) -> Picture:
    place = f"neuron {list(neuron.index)} of layer {layer.name}"
    values = [
        f"{trace.backend}: {', '.join(f'{value:g}' for value in found[:64])}"
        for trace in _having(traces, layer.name)
        for found in [neuron.by_step(trace.potentials)]
    ]
    svg = svg_of(
        lambda figure: draw_potential(figure.subplots(), network, neuron, traces, difference),
        key,
        f"Potential of {place} by step",
        f"Potential after each step in weight units; {'; '.join(values)}.",
    )
    which = "with the largest result" if not layer.fires else "that fired most"
    if difference is not None and difference.layer == layer.name:
        which = "with the first difference"
    is_long = len(traces[0].potentials[layer.name]) > _MARKED_MAX
    mark = "A tick at the lower edge" if is_long else "A circle"
    spikes = f" {mark} is a spike." if layer.fires else ""
    return Picture(svg, f"The neuron of {layer.name} {which}.{spikes}")
