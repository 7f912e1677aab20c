"""A training on a disk that fills: one line, and the last good checkpoint is whole."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tandem_hw.errors import FileFormatError
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.training import run_folder
from tests.helpers.full_disk import FillingDisk, files_no_larger_than
from tests.helpers.trainings import NEW, anonymous, run

OPTIONS = replace(NEW, epochs=2, validation=0.0)


def test_a_disk_that_fills_at_each_step_in_turn_costs_no_epoch_that_was_done(
    tmp_path: Path,
) -> None:
    with pytest.MonkeyPatch.context() as watched:
        disk = FillingDisk(watched)
        whole = anonymous(run(tmp_path / "whole", OPTIONS))
    assert disk.steps >= 4 * (3 * OPTIONS.epochs + 1)  # files of each epoch, and the metrics
    epochs_done = set()
    for step in range(disk.steps):
        folder = tmp_path / f"full-{step}"
        with pytest.MonkeyPatch.context() as full:
            FillingDisk(full, full_from=step)
            with pytest.raises(
                FileFormatError, match=r"cannot be written \(No space left"
            ) as caught:
                run(folder, OPTIONS)
        assert "\n" not in str(caught.value)
        if not folder.exists():  # no epoch was done
            epochs_done.add(0)
            continue
        names = sorted(path.name for path in folder.iterdir())
        assert set(names) <= {"last.pt", "checkpoint.pt", "metrics.json"}
        epochs_done.add(len(load_checkpoint(folder / "last.pt").metrics))
        if "checkpoint.pt" in names:
            load_checkpoint(folder / "checkpoint.pt")
        if "metrics.json" in names:
            json.loads((folder / "metrics.json").read_text())
        if step % 12 == 11 or step == disk.steps - 1:
            assert anonymous(run(folder, OPTIONS, resume=True)) == whole
    assert epochs_done == {0, 1, 2}


def test_a_limit_of_the_size_of_files_is_told(tmp_path: Path) -> None:
    with (
        files_no_larger_than(2000),
        pytest.raises(FileFormatError, match=r"last\.pt: cannot be written \(File too large\)$"),
    ):
        run(tmp_path / "run", OPTIONS)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_for_the_lock_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", write)
    with (
        pytest.raises(FileFormatError, match=r"training\.lock: cannot be written \(No space left"),
        run_folder.locked(tmp_path / "new" / "run"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
