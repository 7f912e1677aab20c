"""What each layer is and did: rates, operations, head room and weights, as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.network.activity import LayerSummary
from tandem_hw.network.fixed_point import STATE_BITS
from tandem_hw.network.quantized import Layer, QuantizedNetwork
from tandem_hw.report.page.content import Picture
from tandem_hw.report.page.svg import ALARM, INK, SERIES, short, svg_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Item = TypeVar("_Item")

#: Inches that a bar and its name take, and what a picture has around them.
_BAR: Final = 0.22
_AROUND: Final = 0.9
#: Bars that a picture has, at most; of more layers, every n-th is drawn.
_BARS_MAX: Final = 40
_HISTOGRAMS_MAX: Final = 16
_BINS: Final = 33
_EACH: Final = 1.25


def activity_pictures(layers: Sequence[LayerSummary]) -> list[Picture]:
    """Return spike rates, and synaptic operations against multiply-accumulates.

    Args:
        layers: what each did.
    """
    firing, note = _thinned([layer for layer in layers if layer.spike_rate is not None])
    drawn, of_all = _thinned(list(layers))

    def rates(figure: Figure) -> None:
        axes = figure.subplots()
        _bars(axes, [layer.name for layer in firing], [layer.spike_rate or 0 for layer in firing])
        axes.set_title("Spike rate", loc="left")
        axes.set(xlabel="share of steps in which a neuron fired")

    def operations(figure: Figure) -> None:
        axes = figure.subplots()
        ratios = [layer.synops_per_sample / layer.macs for layer in drawn]
        _bars(axes, [layer.name for layer in drawn], ratios)
        axes.axvline(1, color=INK, linewidth=1, linestyle=(0, (3, 2)))
        axes.set_title("SynOps against MACs", loc="left")
        axes.set(xlabel="SynOps of a sample for each MAC", xlim=(0, 1.05 * max(1, *ratios)))

    pictures = []
    if firing:
        words = ", ".join(f"{layer.name} {layer.spike_rate:.3f}" for layer in firing)
        svg = svg_of(
            rates, "rates", "Spike rate of each layer", f"{words}.", height=_height(len(firing))
        )
        pictures.append(Picture(svg, f"Share of the steps in which a neuron fired.{note}"))
    words = ", ".join(
        f"{layer.name} {layer.synops_per_sample:.0f} of {layer.macs}" for layer in drawn
    )
    svg = svg_of(
        operations, "operations", "SynOps for each MAC, layer by layer", f"{words}.",
        height=_height(len(drawn)),
    )  # fmt: skip
    pictures.append(
        Picture(
            svg,
            "Additions of the spiking network for each multiply-accumulate of the ordinary network "
            f"with the same layers, which the dashed line is.{of_all}",
        )
    )
    return pictures


def head_room_picture(bits: Mapping[str, int], caption: str) -> Picture:
    """Return how many bits lie between a layer's states and the limit of 24 bits.

    Args:
        bits: per layer; below zero where a state left them.
        caption: what the numbers come from.
    """
    shown, note = _thinned(list(bits.items()))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        names = [name for name, _ in shown]
        values = [value for _, value in shown]
        _bars(axes, names, values, SERIES[2])
        low = [(name, value) for name, value in shown if value < 0]
        for name, value in low:
            axes.barh(names.index(name), value, color=ALARM, height=0.7)
        axes.axvline(0, color=ALARM, linewidth=1)
        axes.set_title(f"Head room to {STATE_BITS} bits", loc="left")
        axes.set(xlabel="bits", xlim=(min(-1, *values, 0), max(1, *values) + 0.5))

    words = ", ".join(f"{name} {value}" for name, value in shown)
    svg = svg_of(
        draw, "head-room", f"Head room of each layer to {STATE_BITS} bits", f"Bits: {words}.",
        height=_height(len(shown)),
    )  # fmt: skip
    return Picture(svg, f"{caption}{note}")


def weight_pictures(network: QuantizedNetwork) -> list[Picture]:
    """Return histograms of the weights of each layer, two pictures side by side a row."""
    layers = list(network.layers)
    shown, note = _thinned(layers, _HISTOGRAMS_MAX)
    columns = 2
    rows = -(-len(shown) // columns)

    def draw(figure: Figure) -> None:
        panels = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes, layer in zip(panels, shown, strict=False):
            values = _weights(layer)
            reach = max(2, int(np.abs(values).max(initial=0)))
            edges = np.linspace(-reach - 1, reach + 1, _BINS + 1)
            counts, _ = np.histogram(values, edges)
            axes.stairs(counts, edges, fill=True, color=SERIES[0])
            axes.set_title(short(layer.name), loc="left")
            axes.set_yticks([])
            axes.spines.left.set_visible(False)
        for axes in panels[len(shown) :]:
            axes.set_axis_off()

    words = [
        f"{layer.name}: {counted(values.size, 'weight')} from {values.min()} to {values.max()}, "
        f"{np.mean(values == 0):.1%} zeros"
        for layer in shown
        for values in [_weights(layer)]
    ]
    svg = svg_of(
        draw, "weights", "Histogram of each layer's weights", f"{'; '.join(words)}.",
        height=0.2 + _EACH * rows,
    )  # fmt: skip
    return [Picture(svg, f"Weights of each layer in weight units, skip paths included.{note}")]


def _weights(layer: Layer) -> npt.NDArray[np.int64]:
    return np.concatenate([one.weight.astype(np.int64).reshape(-1) for one in layer.synapses])


def _thinned(items: Sequence[_Item], most: int = _BARS_MAX) -> tuple[Sequence[_Item], str]:
    """Return every n-th of too many items, and what is said about it."""
    every = max(1, -(-len(items) // most))
    note = "" if every == 1 else f" One of every {every} of {len(items)} layers is shown."
    return items[::every], note


def _height(bars: int) -> float:
    return max(1.4, _AROUND + _BAR * bars)


def _bars(
    axes: Axes,
    names: Sequence[str],
    values: Sequence[float],
    color: str = SERIES[0],
    thickness: float = 0.7,
    label: str | None = None,
) -> None:
    places = range(len(names))
    axes.barh(places, values, color=color, height=thickness, label=label)
    axes.locator_params(axis="x", nbins=6)
    axes.set_yticks(places, [short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)  # the first layer on top, as in the tables
