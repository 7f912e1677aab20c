"""Rows are means over the seeds, and files say what is known of every training."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from tandem_hw.sweep.axes import seeds
from tandem_hw.sweep.grid import Axis, Choice, Point, Run, Skipped
from tandem_hw.sweep.summary import Statistic, summed_up, write_summary
from tests.helpers.sweeps import RESULT


def point(bits: str, seed: str) -> Point:
    settings = {"bits": bits, "seed": seed}
    return Point({"bits": bits, "seed": seed}, Run((bits, seed), settings, settings))


def result(accuracy: float, synops: float | None, **more: Any) -> dict[str, Any]:
    metrics = {"accuracy": accuracy}
    return {**RESULT, "metrics": metrics, "synops_per_sample": synops, **more, "files": {}}


AXES = [Axis("bits", (Choice("4", ((),)), Choice("8", ((),)))), seeds(3, 0)]
POINTS = [point(bits, seed) for bits in ("4", "8") for seed in "012"]
NAMES = [one.run.name for one in POINTS]
RESULTS = {
    NAMES[0]: result(0.8, 10.0),
    NAMES[1]: result(0.9, 20.0),
    NAMES[3]: result(0.5, None, latency=None),
}


def test_rows_are_means_over_the_seeds_of_what_is_finished() -> None:
    rows = summed_up(POINTS, RESULTS)
    assert [(row.labels, row.count, row.metric) for row in rows] == [
        ({"bits": "4"}, 2, "accuracy"),
        ({"bits": "8"}, 1, "accuracy"),
    ]
    accuracy = rows[0].statistics["accuracy"]
    assert accuracy.mean == pytest.approx(0.85, rel=1e-12)
    assert accuracy.deviation == pytest.approx(math.sqrt(2 * 0.05**2 / 1), rel=1e-12)
    assert rows[0].statistics["synops_per_sample"].mean == 15
    assert rows[0].statistics["latency"] == Statistic(3, 0)
    assert rows[1].statistics["accuracy"] == Statistic(0.5, None)
    assert not {"synops_per_sample", "latency"} & rows[1].statistics.keys()


def test_files_hold_every_training(tmp_path: Path) -> None:
    skipped = [Skipped({"bits": "9", "seed": "0"}, "too many")]
    write_summary(tmp_path, AXES, POINTS, skipped, RESULTS, {NAMES[2]: "no data"})
    content = json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))
    assert content["format_version"] == 1
    assert content["axes"] == {"bits": ["4", "8"], "seed": ["0", "1", "2"]}
    assert content["skipped"] == [{"labels": {"bits": "9", "seed": "0"}, "reason": "too many"}]
    statuses = ["finished", "finished", "failed", "finished", "unfinished", "unfinished"]
    assert [one["status"] for one in content["trainings"]] == statuses
    assert content["trainings"][2]["failure"] == "no data"
    assert content["trainings"][1]["metrics"] == {"accuracy": 0.9}
    assert content["trainings"][1]["neurobench"] == RESULT["neurobench"]
    assert content["trainings"][4]["settings"] == {"bits": "8", "seed": "1"}
    assert content["rows"][0]["statistics"]["accuracy"]["mean"] == pytest.approx(0.85, rel=1e-12)
    with (tmp_path / "sweep.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["status"] for line in lines] == statuses
    assert [(line["bits"], line["seed"]) for line in lines[:2]] == [("4", "0"), ("4", "1")]
    assert [line["accuracy"] for line in lines] == ["0.8", "0.9", "", "0.5", "", ""]
    assert [line["synops_per_sample"] for line in lines[:4]] == ["10.0", "20.0", "", ""]
    assert lines[0]["folder"] == f"runs/{NAMES[0]}"


def test_a_number_that_is_an_axis_has_one_column(tmp_path: Path) -> None:
    settings = {"num_steps": 3}
    points = [Point({"num-steps": "3"}, Run((), settings, settings))]
    axis = Axis("num-steps", (Choice("3", ((),)),))
    write_summary(tmp_path, [axis], points, [], {points[0].run.name: result(1.0, 1.0)}, {})
    header = (tmp_path / "sweep.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert [name for name in header if "steps" in name] == ["num-steps"]
