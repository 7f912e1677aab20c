"""How a training went: loss, its metric, spike rate and learning rate over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tandem_hw.report.page.content import Picture, Section, Table, cells
from tandem_hw.report.page.svg import SERIES, svg_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: A curve of more epochs has no marks.
_MARKED_MAX: Final = 40
#: Epochs that the table lists; of more it has every n-th and the last one.
_ROWS_MAX: Final = 30
#: Beyond what a loss on its way to infinity is in float32, and far from what no axis can have.
_LARGEST: Final = 1e100
#: Pictures: key, title, and the numbers of an epoch that are drawn in it.
_CURVES: Final = (
    ("loss", "Loss", ("loss",)),
    ("accuracy", "Accuracy", ("accuracy", "validation_accuracy")),
    ("mse", "Mean squared error", ("mse", "validation_mse")),
    ("spike-rate", "Spike rate", ("spike_rate",)),
    ("spiking", "Layers that spike", ("spiking_layers",)),
)


def training_section(
    epochs: Sequence[Mapping[str, Any]], learning_rates: Sequence[float]
) -> Section:
    """Return the curves of a training.

    Args:
        epochs: the numbers of each epoch, as ``metrics.json`` has them.
        learning_rates: over the whole training that was planned, evenly spaced; or none.
    """
    pictures = [
        _curve(key, title, names, epochs)
        for key, title, names in _CURVES
        # One point is no curve; the table has it.
        if any(sum(_is_drawn(epoch.get(name)) for epoch in epochs) > 1 for name in names)
    ]
    if learning_rates:
        pictures.append(_rate_curve(learning_rates))
    return Section("training", "Training", tables=[_table(epochs)], pictures=pictures)


def _curve(
    key: str, title: str, names: Sequence[str], epochs: Sequence[Mapping[str, Any]]
) -> Picture:
    series = {
        name: [(epoch["epoch"], epoch[name]) for epoch in epochs if _is_drawn(epoch.get(name))]
        for name in names
    }
    series = {name: points for name, points in series.items() if points}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for number, (name, points) in enumerate(series.items()):
            axes.plot(
                *zip(*points, strict=True), color=SERIES[number], label=_words(name),
                linestyle="-" if number == 0 else (0, (4, 2)),
                marker="o" if len(points) <= _MARKED_MAX else None, markersize=3,
            )  # fmt: skip
        axes.set_title(title, loc="left")
        axes.set(xlabel="epoch")
        axes.locator_params(axis="x", integer=True)
        axes.grid(visible=True)
        if len(series) > 1:
            axes.legend()

    ends = [
        f"{_words(name)} from {points[0][1]:.4g} to {points[-1][1]:.4g}"
        for name, points in series.items()
    ]
    svg = svg_of(draw, f"curve-{key}", f"{title} by epoch", f"{'; '.join(ends)}.")
    return Picture(svg, f"{title}: {', '.join(ends)}.")


def _rate_curve(rates: Sequence[float]) -> Picture:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([index / (len(rates) - 1) for index in range(len(rates))], rates, color=SERIES[0])
        axes.set_title("Learning rate", loc="left")
        axes.set(xlabel="share of the training")
        axes.grid(visible=True)

    words = f"up to {max(rates):.4g}, in the end {rates[-1]:.4g}"
    svg = svg_of(draw, "curve-rate", "Learning rate over the training", f"{words}.")
    return Picture(svg, f"Learning rate as the options plan it from the first epoch: {words}.")


def _table(epochs: Sequence[Mapping[str, Any]]) -> Table:
    names = [name for name in epochs[0] if any(epoch.get(name) is not None for epoch in epochs)]
    every = -(-len(epochs) // _ROWS_MAX)
    shown = [epoch for index, epoch in enumerate(epochs) if index % every == 0]
    if shown[-1] is not epochs[-1]:
        shown.append(epochs[-1])
    note = "" if every == 1 else f"One of every {every} epochs is listed, and the last one."
    return Table(
        "Epochs",
        tuple(_words(name) for name in names),
        tuple(cells(*(_number(epoch.get(name)) for name in names)) for epoch in shown),
        frozenset(range(len(names))),
        note,
    )


def _is_drawn(value: Any) -> bool:
    """Whether a value is a point of a curve; the loss of a training that went wrong may be none."""
    return isinstance(value, int | float) and abs(value) <= _LARGEST  # False where it is no number


def _words(name: str) -> str:
    return name.replace("_", " ")


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
