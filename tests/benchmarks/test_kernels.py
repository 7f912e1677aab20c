"""The table of kernels computes both ways, and sees a difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks import kernels
from tandem_hw.arithmetic import synapses
from tests.helpers.benchmark_runs import measured, run_benchmark

TINY = ("kernels", "--small", "--batch", 2, "--repeats", 1)


def test_every_window_and_sum_is_active_and_equal(tmp_path: Path) -> None:
    rows = measured(tmp_path, *TINY)["rows"]
    assert len(rows) == 10
    assert all(row["values"] > 0 and row["different"] == 0 for row in rows)
    assert all(row["ms"] > 0 and row["plain, ms"] > 0 for row in rows)
    # On a CPU windows have one way; sums take the one that was tried.
    assert {row["way"] for row in rows[:5]} == {"plain"}
    assert "plain" not in {row["way"] for row in rows[5:]}


@pytest.mark.parametrize("wrong", ["run_window", "dense"])
def test_one_difference_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    place: Any = kernels if wrong == "run_window" else synapses
    right = getattr(place, wrong)

    def off_by_one(*arguments: Any) -> Tensor:
        found: Tensor = right(*arguments).clone()
        found[0, 0] += 1
        return found

    monkeypatch.setattr(place, wrong, off_by_one)
    result = run_benchmark(*TINY, "--json", tmp_path / "measured.json")
    assert result.exit_code == 1
    assert "Error: the results differ" in result.output


def test_silence_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object) -> list[Tensor]:
        return [torch.zeros(2)]

    monkeypatch.setattr(kernels, "_run", silent)
    result = run_benchmark(*TINY, "--json", tmp_path / "measured.json")
    assert result.exit_code == 1
    assert "a result is all zeros" in result.output
