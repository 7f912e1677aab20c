"""A picture of a sweep, as PNG: how good networks are against steps, operations and latency."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tandem_hw.report.plots import check_plot, write_figure
from tandem_hw.sweep.summary import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: What a row is drawn against, and how the axis is called.
_ABSCISSAS: Final = {
    "num_steps": "steps T of a window",
    "synops_per_sample": "SynOps a sample",
    "latency": "latency in steps",
}
#: The axis of a grid that is drawn from left to right, and is no line of its own.
_LENGTH: Final = "num-steps"
_PANEL_SIZE: Final = (4.5, 4.0)
_LEGEND_LINE: Final = 0.25


def write_sweep_plot(rows: Sequence[Row], path: Path) -> None:
    """Draw the rows of a sweep; error bars are standard deviations over the seeds.

    Rows that differ in num_steps alone are one line. A network that does not spike is a dashed
    line, for it has no steps.

    Args:
        rows: one at least.
        path: a .png file; written whole or not at all.

    Raises:
        BackendUnavailableError: matplotlib is not installed.
        FileFormatError: the file has another ending or cannot be written.
    """
    check_plot(path)
    write_figure(draw_sweep(rows), path)


def draw_sweep(rows: Sequence[Row]) -> Figure:
    """Return the figure that ``write_sweep_plot`` writes; the argument is the same."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(_line_of(row), []).append(row)
    width, height = _PANEL_SIZE
    size = (width * len(_ABSCISSAS), height + _LEGEND_LINE * len(lines))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)  # draws in memory, whatever screen there is
    panels = figure.subplots(1, len(_ABSCISSAS), sharey=True)
    for panel, (name, title) in zip(panels, _ABSCISSAS.items(), strict=True):
        for number, (label, of_line) in enumerate(lines.items()):
            _draw_line(panel, of_line, name, label, f"C{number % 10}")
        panel.set_xlabel(title)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel(_ordinate(rows[0]))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center")
    return figure


def _line_of(row: Row) -> str:
    """Return what the rows of a line have in common."""
    labels = [f"{name} {label}" for name, label in row.labels.items() if name != _LENGTH]
    return ", ".join(labels) or "all"


def _ordinate(row: Row) -> str:
    return "accuracy in per cent" if row.metric == "accuracy" else row.metric


def _draw_line(panel: Axes, rows: Sequence[Row], name: str, label: str, color: str) -> None:
    """Draw rows against a number that they have, or as a level where they have none."""
    scale = 100.0 if rows[0].metric == "accuracy" else 1.0
    judged = [row for row in rows if row.metric in row.statistics]
    spiking = sorted(
        (row for row in judged if name in row.statistics), key=lambda row: row.statistics[name].mean
    )
    if spiking:
        against = [row.statistics[name] for row in spiking]
        values = [row.statistics[row.metric] for row in spiking]
        panel.errorbar(
            [one.mean for one in against],
            [scale * one.mean for one in values],
            xerr=[one.deviation or 0.0 for one in against],
            yerr=[scale * (one.deviation or 0.0) for one in values],
            marker="o",
            capsize=3,
            color=color,
            label=label,
        )
    levels = {row.statistics[row.metric].mean: None for row in judged if name not in row.statistics}
    for number, level in enumerate(levels):  # one that stands for several rows is drawn once
        named = None if spiking or number else label
        panel.axhline(scale * level, linestyle="--", color=color, label=named)
