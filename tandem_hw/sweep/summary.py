"""What a sweep found, as plain data: each training, and over the seeds mean and deviation."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tandem_hw.atomic_write import write_whole
from tandem_hw.sweep.grid import Axis, Point, Skipped
from tandem_hw.sweep.run_files import RUNS, write_versioned

JSON_NAME: Final = "sweep.json"
CSV_NAME: Final = "sweep.csv"
#: The number of an objective that a table has.
MAIN_METRIC: Final = {"classification": "accuracy", "regression": "r2", "reconstruction": "psnr"}
#: Numbers of a result that are summed up over the seeds besides those of the objective.
_NUMBERS: Final = (
    *("validation", "synops_per_sample", "synops_per_mac", "spikes_per_sample", "macs_per_sample"),
    *("num_steps", "latency", "period", "board_period", "training_seconds"),
)


@dataclass(frozen=True)
class Statistic:
    """A number over several trainings.

    Attributes:
        mean: of them.
        deviation: the standard deviation of a sample, with n - 1 below; None of a single one.
    """

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Statistic:
        """Return mean and deviation of one value or more."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True)
class Row:
    """Trainings that differ in their seeds alone.

    Attributes:
        labels: per axis but that of the seeds the label of its choice.
        objective: what the network does.
        count: trainings that are finished.
        statistics: by name of a number; what some of the trainings lack is left out.
    """

    labels: Mapping[str, str]
    objective: str
    count: int
    statistics: Mapping[str, Statistic]

    @property
    def metric(self) -> str:
        """The name of the number by which the network is judged."""
        return MAIN_METRIC[self.objective]


#: What was measured, and why what failed did, by the names of trainings.
Results = Mapping[str, Mapping[str, Any]]
Failures = Mapping[str, str]


def summed_up(points: Sequence[Point], results: Results) -> list[Row]:
    """Return a row for all points that differ in the seed alone, of those that are finished.

    Args:
        points: of the grid.
        results: by name of a training.
    """
    groups: dict[tuple[tuple[str, str], ...], list[Mapping[str, Any]]] = {}
    for point in points:
        if point.run.name in results:
            groups.setdefault(point.row, []).append(results[point.run.name])
    return [
        Row(dict(labels), found[0]["objective"], len(found), _statistics(found))
        for labels, found in groups.items()
    ]


def _statistics(found: Sequence[Mapping[str, Any]]) -> dict[str, Statistic]:
    numbers = [{**one["metrics"], **{name: one[name] for name in _NUMBERS}} for one in found]
    return {
        name: Statistic.of([one[name] for one in numbers])
        for name in numbers[0]
        if all(one.get(name) is not None for one in numbers)
    }


def write_summary(
    folder: Path,
    axes: Sequence[Axis],
    points: Sequence[Point],
    skipped: Sequence[Skipped],
    results: Results,
    failures: Failures,
) -> None:
    """Write what is known of a sweep by now, ``sweep.json`` and ``sweep.csv`` in its folder.

    Args:
        folder: of the sweep.
        axes: what is varied.
        points: what is trained.
        skipped: what cannot be.
        results: by name of a training.
        failures: why trainings failed, by name.
    """
    trainings = [
        {
            "labels": dict(point.labels),
            "folder": f"{RUNS}/{point.run.name}",
            "status": _status(point.run.name, results, failures),
            "failure": failures.get(point.run.name),
            **results.get(point.run.name, {"settings": dict(point.run.settings)}),
        }
        for point in points
    ]
    content = {
        "axes": {axis.name: [choice.label for choice in axis.choices] for axis in axes},
        "trainings": [
            {name: value for name, value in one.items() if name != "format_version"}
            for one in trainings
        ],
        "rows": [_plain(row) for row in summed_up(points, results)],
        "skipped": [{"labels": dict(one.labels), "reason": one.reason} for one in skipped],
    }
    write_versioned(folder / JSON_NAME, content)
    write_whole(folder / CSV_NAME, _as_csv(axes, trainings).encode())


def _status(name: str, results: Results, failures: Failures) -> str:
    if name in results:
        return "finished"
    return "failed" if name in failures else "unfinished"


def _plain(row: Row) -> dict[str, Any]:
    numbers = {
        name: {"mean": one.mean, "deviation": one.deviation} for name, one in row.statistics.items()
    }
    return {"labels": dict(row.labels), "trainings": row.count, "statistics": numbers}


def _as_csv(axes: Sequence[Axis], trainings: Sequence[Mapping[str, Any]]) -> str:
    """Return a line for each training; what is not known is empty."""
    metrics = list(dict.fromkeys(name for one in trainings for name in one.get("metrics", ())))
    names = [axis.name for axis in axes]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    # A number of a result may be called as an axis is, and says the same.
    said = [name.replace("-", "_") for name in names]
    numbers = [name for name in (*_NUMBERS, "interruptions") if name not in said]
    writer.writerow([*names, "status", *metrics, *numbers, "network_digest", "folder"])
    for one in trainings:
        labels = [one["labels"][name] for name in names]
        found = [one.get("metrics", {}).get(name) for name in metrics]
        found += [one.get(name) for name in (*numbers, "network_digest", "folder")]
        writer.writerow([*labels, one["status"], *found])
    return text.getvalue()
