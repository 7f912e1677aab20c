"""The ablation is a sweep, whose variants are options that there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.ablation import VARIANTS, command
from tandem_hw.cli.work import sweep as sweep_work
from tests.helpers.row_images import write_data
from tests.helpers.sweeps import in_process


def arguments(*more: object) -> list[str]:
    given = ("--data", "npz:data.npz", "--model", "mlp", "--samples", 80, "--epochs", 1, *more)
    return [str(word) for word in given]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_data(tmp_path / "data.npz")
    monkeypatch.chdir(tmp_path)


def test_every_variant_is_trained_at_each_length_with_each_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planned: list[Any] = []

    def stop(_: Any, points: Any, skipped: Any, *__: Any) -> None:
        planned.extend([points, skipped])
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep_work, "run_sweep", stop)
    result = CliRunner().invoke(command, arguments("--seeds", 2, "--num-steps", 2))
    assert result.output.startswith("tandem-hw sweep npz:data.npz --model mlp --samples 80 ")
    points, skipped = planned
    assert skipped == []
    assert [point.labels["variant"] for point in points[::2]] == [*VARIANTS]
    assert len(points) == 2 * len(VARIANTS)
    assert [len(point.run.with_before) for point in points].count(2) == 2
    # Of two steps, a delay of one is all but one.
    assert len({point.run.name for point in points}) == len(points) - 2


@pytest.mark.exhaustive
def test_the_rows_of_the_table_are_the_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    in_process(monkeypatch)
    more = ("--seeds", 2, "--num-steps", 3, "--jobs", 1, "--json", "rows.json")
    result = CliRunner().invoke(command, arguments(*more))
    assert result.exit_code == 0, result.output
    rows = json.loads(Path("rows.json").read_text(encoding="utf-8"))["rows"]
    assert [row["variant"] for row in rows] == [*VARIANTS]
    assert all(row["seeds"] == 2 and 0 < row["accuracy"] <= 1 for row in rows)
    assert all(0 < row["validation"] <= 1 for row in rows)
    assert [row["synops_per_mac"] is None for row in rows] == [True] + [False] * (len(rows) - 1)
