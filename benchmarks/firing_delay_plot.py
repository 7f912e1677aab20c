"""Accuracy against latency by firing delay, from measurements of ``benchmarks.firing_delay``."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from benchmarks.firing_delay import RELU, together
from benchmarks.result import finish, json_option
from tandem_hw.atomic_write import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What says which trainings belong together.
_NAMES: Final = ("data", "network", "delay")
#: Of each delay a marker; the colours are the library's own.
_MARKERS: Final = {"0": "o", "1": "s", "2": "^", "phased": "D"}
#: Inches of a panel.
_WIDTH, _HEIGHT = 4.2, 3.2


@click.command("firing-delay-plot")
@click.argument(
    "measured",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("firing-delay.svg"), show_default=True
)
@json_option
def command(measured: Sequence[Path], out: Path, json_path: Path | None) -> None:
    """Put files of firing-delay together, of other seeds for instance, and draw them."""
    rows = merged(row for path in measured for row in json.loads(path.read_text())["rows"])
    draw(rows, out)
    finish("firing-delay-plot", rows, json_path, f"drew {out}")


def merged(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for each network, delay and length of a window, of all its seeds."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in (*_NAMES, "T"))].append(row)
    found = []
    for key in sorted(groups, key=str):
        numbers = [
            {name: value for name, value in row.items() if name not in _NAMES}
            for row in groups[key]
        ]
        found.append(dict(zip(_NAMES, key, strict=False)) | together(numbers))
    return found


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw a panel for each network: the mean over the seeds, from the lowest to the highest.

    Args:
        rows: as ``merged`` returns them.
        path: an .svg file; written whole or not at all.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys((row["data"], row["network"]) for row in rows))
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(_WIDTH * columns, _HEIGHT * lines), layout="constrained")
    FigureCanvasSVG(figure)  # type: ignore[no-untyped-call]
    for index, panel in enumerate(panels):
        axes = figure.add_subplot(lines, columns, index + 1)
        _draw_panel(axes, [row for row in rows if (row["data"], row["network"]) == panel])
        axes.set_title(f"{panel[0]}, {panel[1]}", fontsize="medium")
    # The same rows make the same file, and words in it stay words.
    settings = {"svg.hashsalt": "firing delay", "svg.fonttype": "none"}
    picture = io.BytesIO()
    with matplotlib.rc_context(settings):
        figure.savefig(picture, format="svg", metadata={"Date": None})
    write_whole(path, picture.getbuffer())


def _draw_panel(axes: Axes, rows: Sequence[dict[str, Any]]) -> None:
    for delay, marker in _MARKERS.items():
        points = sorted((row for row in rows if row["delay"] == delay), key=lambda row: row["T"])
        if not points:
            continue
        means = [100 * row["accuracy"] for row in points]
        reach = [
            [100 * (row["accuracy"] - row["lowest"]) for row in points],
            [100 * (row["highest"] - row["accuracy"]) for row in points],
        ]
        latency = [row["latency"] for row in points]
        label = "phased" if delay == "phased" else f"firing delay {delay}"
        axes.errorbar(latency, means, reach, marker=marker, capsize=2, linewidth=1, label=label)
        for row, mean in zip(points, means, strict=True):
            axes.annotate(
                f"T={row['T']:.0f}", (row["latency"], mean), (3, 3),
                textcoords="offset points", fontsize="x-small",
            )  # fmt: skip
    for row in rows:
        if row["delay"] == RELU:
            axes.axhline(100 * row["accuracy"], color="grey", linestyle="--", label="ReLU network")
    axes.set_xlabel("latency in steps")
    axes.set_ylabel("accuracy in %")
    axes.legend(fontsize="x-small")


COMMANDS = [command]
