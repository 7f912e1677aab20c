"""What all measurements share: times, their spread, and the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.result import Timing, finish, timings


def test_a_time_is_a_median_and_the_distance_of_the_quartiles() -> None:
    assert Timing.of([5.0, 1.0, 2.0, 3.0, 4.0]) == Timing(3.0, 2.0)
    assert Timing.of([7.0]) == Timing(7.0, 0.0)


def test_calls_take_turns_after_each_has_warmed_up() -> None:
    order: list[str] = []
    calls = {name: (lambda name=name: order.append(name)) for name in "ab"}
    times = timings(calls, repeats=2, warm_up=1)
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert all(time.median >= 0 for time in times.values())


def test_a_gpu_is_waited_for_before_and_after_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr("torch.cuda.synchronize", lambda device: order.append(str(device)))
    timings(
        {"call": lambda: order.append("call")}, repeats=2, warm_up=0, device=torch.device("cuda")
    )
    assert order == ["cuda", "call", "cuda"] * 2


def test_what_was_left_out_is_said_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "a card")
    path = tmp_path / "result.json"
    rows = [{"way": "a", "ms": 1.5, "peak": None}]
    finish("name", rows, path, "a note", device=torch.device("cuda"), left_out=["b: not here"])
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["rows"] == rows
    assert content["left out"] == ["b: not here"]
    assert content["machine"]["gpu"] == "a card"
    shown = capsys.readouterr().out
    assert "│ -" in shown
    assert "a note\nb: not here\na card" in shown
