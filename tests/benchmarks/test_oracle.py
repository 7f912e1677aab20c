"""The comparison with the oracle: it sees a difference, and names the network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tandem_hw.sim.reference import ReferenceBackend
from tests.helpers.benchmark_runs import measured, run_benchmark


@pytest.mark.parametrize("delayed", ["--delayed", "--at-once"])
def test_random_networks_are_active_and_equal(tmp_path: Path, delayed: str) -> None:
    (row,) = measured(tmp_path, "oracle", "--networks", 20, "--samples", 1, delayed)["rows"]
    assert row["drawn"] == 20
    assert row["distinct"] >= 10
    assert row["fired"] >= 5
    assert (row["phased"] > 0) == (delayed == "--delayed")
    assert row["different"] == 0


def test_states_leave_24_bits_in_every_second_part(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("benchmarks.oracle._PART", 10)
    rows = measured(tmp_path, "oracle", "--networks", 25, "--samples", 1)["rows"]
    assert [row["drawn"] for row in rows] == [15, 10]
    assert rows[1]["left 24 bits"] >= 3


@pytest.mark.parametrize("what", ["final_state", "peak"])
def test_a_difference_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    run = ReferenceBackend.run

    def changed(*given: Any, **named: Any) -> Any:
        found = run(*given, **named)
        values: Any = {name: value + 1 for name, value in getattr(found, what).items()}
        return replace(found, **{what: values})

    monkeypatch.setattr(ReferenceBackend, "run", changed)
    given = ("oracle", "--networks", 20, "--samples", 1, "--json", tmp_path / "measured.json")
    result = run_benchmark(*given)
    assert result.exit_code == 1
    assert "Error: the results differ" in result.output
    assert "QuantizedNetwork(" in result.output


def test_silent_networks_prove_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(tally: Any, *_: object) -> None:
        tally.drawn += 1

    monkeypatch.setattr("benchmarks.oracle._Tally.judge", silent)
    given = ("oracle", "--networks", 2, "--json", tmp_path / "measured.json")
    result = run_benchmark(*given)
    assert result.exit_code == 1
    assert "no network fired, so that their equality proves nothing" in result.output
