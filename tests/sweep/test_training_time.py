"""How long a training took, over processes that were killed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tandem_hw.sweep.training_time import TrainingTime


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.now, self.last = 1000.0, folder / "last.pt"
        monkeypatch.setattr("tandem_hw.sweep.training_time.time.time", lambda: self.now)

    def work(self, seconds: float, *, epoch_done: bool) -> None:
        self.now += seconds
        if epoch_done:
            self.last.touch()
            os.utime(self.last, (self.now, self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Clock:
    return Clock(monkeypatch, tmp_path)


def test_without_a_break_it_is_what_passed(clock: Clock, tmp_path: Path) -> None:
    time = TrainingTime.begin(tmp_path)
    clock.work(5, epoch_done=True)
    clock.work(3, epoch_done=False)
    assert (time.seconds(), time.interruptions) == (8, 0)


def test_after_breaks_what_was_lost_does_not_count(clock: Clock, tmp_path: Path) -> None:
    TrainingTime.begin(tmp_path)
    clock.work(5, epoch_done=False)  # killed before its first epoch was done
    TrainingTime.begin(tmp_path)
    clock.work(7, epoch_done=True)
    clock.work(100, epoch_done=False)  # killed in its second one
    TrainingTime.begin(tmp_path)
    clock.work(50, epoch_done=False)  # killed before it did anything that lasts
    time = TrainingTime.begin(tmp_path)
    clock.work(11, epoch_done=True)
    assert (time.seconds(), time.interruptions) == (18, 2)


@pytest.mark.parametrize("content", [None, "{", '{"format_version": 1, "began": "x"}'])
def test_where_nobody_wrote_when_it_began_nobody_knows(
    clock: Clock, tmp_path: Path, content: str | None
) -> None:
    clock.work(5, epoch_done=True)
    if content is not None:
        (tmp_path / "session.json").write_text(content)
    time = TrainingTime.begin(tmp_path)
    assert (time.seconds(), time.interruptions) == (None, 1)
    clock.work(5, epoch_done=True)
    time = TrainingTime.begin(tmp_path)
    assert (time.seconds(), time.interruptions) == (None, 2)
