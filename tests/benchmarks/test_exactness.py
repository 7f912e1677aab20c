"""The comparison of a device with the CPU: it sees a difference, and does not count silence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tandem_hw.network.recording import Recording
from tandem_hw.sim.pytorch import PyTorchBackend
from tests.helpers.benchmark_runs import measured, run_benchmark

TINY = ("exactness", "--random", 2, "--samples", 3, "--no-zoo")


def test_random_networks_are_active_and_equal(tmp_path: Path) -> None:
    rows = measured(tmp_path, *TINY)["rows"]
    assert len(rows) == 2
    assert all(row["spikes"] > 0 for row in rows)
    assert all(row["different"] == 0 for row in rows)


def changed(monkeypatch: pytest.MonkeyPatch, change: Callable[[Recording], Recording]) -> None:
    run = PyTorchBackend.run
    monkeypatch.setattr(PyTorchBackend, "run", lambda *given, **named: change(run(*given, **named)))


def test_one_difference_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def off_by_one(recording: Recording) -> Recording:
        output = recording.output.copy()
        output[0, 0] += 1
        return replace(recording, output=output)

    changed(monkeypatch, off_by_one)
    result = run_benchmark(*TINY, "--json", tmp_path / "measured.json")
    assert result.exit_code == 1
    assert "Error: the results differ" in result.output


def test_silent_networks_prove_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object) -> dict[str, object]:
        return {"network": "random", "spikes": 0, "different": 0}

    monkeypatch.setattr("benchmarks.exactness._random_row", silent)
    result = run_benchmark(*TINY, "--json", tmp_path / "measured.json")
    assert result.exit_code == 1
    assert (
        "Error: 20 random networks were drawn, and 0 fired: silence proves nothing" in result.output
    )


def test_a_silent_network_of_the_zoo_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def row(name: str, *_: object) -> dict[str, object]:
        return {"network": name, "spikes": 0 if name == "vgg16" else 9, "different": 0}

    monkeypatch.setattr("benchmarks.exactness._row", row)
    monkeypatch.setattr("benchmarks.exactness.convert", lambda *given, **named: None)
    result = run_benchmark("exactness", "--random", 1, "--json", tmp_path / "measured.json")
    assert result.exit_code == 1
    assert "Error: a network was silent" in result.output
