"""The plot of a sweep: points where the means are, bars as long as the deviations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tandem_hw.errors import FileFormatError
from tandem_hw.report.sweep_plot import draw_sweep, write_sweep_plot
from tandem_hw.sweep.summary import Row, Statistic

pytest.importorskip("matplotlib")
from matplotlib.container import ErrorbarContainer


def row(delay: str, steps: int, accuracy: float, synops: float) -> Row:
    statistics = {
        "accuracy": Statistic(accuracy, 0.01),
        "num_steps": Statistic(steps, 0.0),
        "synops_per_sample": Statistic(synops, 5.0),
        "latency": Statistic(steps + 3, 0.0),
    }
    return Row({"num-steps": str(steps), "firing-delay": delay}, "classification", 2, statistics)


ROWS = [row("0", 4, 0.9, 200), row("0", 2, 0.8, 100), row("1", 2, 0.85, 90)]
RELU = Row({"num-steps": "2", "firing-delay": "-"}, "classification", 1,
           {"accuracy": Statistic(0.95, None)})  # fmt: skip


def test_rows_that_differ_in_the_steps_are_one_line() -> None:
    figure = draw_sweep([*ROWS, RELU, RELU])
    panels = figure.axes
    assert [panel.get_xlabel() for panel in panels] == [
        "steps T of a window", "SynOps a sample", "latency in steps"
    ]  # fmt: skip
    drawn = {}
    containers = [one for one in panels[1].containers if isinstance(one, ErrorbarContainer)]
    for container in containers:
        data, _, bars = container.lines
        drawn[container.get_label()] = (np.asarray(data.get_xydata()).tolist(), len(bars))
    assert drawn == {
        "firing-delay 0": ([[100, 80], [200, 90]], 2),
        "firing-delay 1": ([[90, 85]], 2),
    }
    vertical = containers[0].lines[2][1]
    ends = [segment[:, 1].tolist() for segment in vertical.get_segments()]
    assert ends == [pytest.approx([79, 81]), pytest.approx([89, 91])]
    levels = [line.get_ydata() for line in panels[0].lines if line.get_linestyle() == "--"]
    assert levels == [[95, 95]]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(texts) == ["firing-delay -", "firing-delay 0", "firing-delay 1"]


def test_rows_without_other_axes_are_one_line() -> None:
    statistics = {"r2": Statistic(0.5, None), "num_steps": Statistic(3, None)}
    figure = draw_sweep([Row({"num-steps": "3"}, "regression", 1, statistics)])
    assert figure.axes[0].get_ylabel() == "r2"
    assert figure.axes[0].containers[0].get_label() == "all"


def test_a_plot_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_sweep_plot(ROWS, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    with pytest.raises(FileFormatError, match=r"give a name that ends in \.png"):
        write_sweep_plot(ROWS, tmp_path / "a.jpg")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
