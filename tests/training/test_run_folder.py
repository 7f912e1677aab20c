"""A training that is killed loses nothing, and no two trainings mix their files."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tandem_hw import atomic_write
from tandem_hw.errors import FileFormatError
from tandem_hw.learning.checkpoint import load_checkpoint, save_checkpoint
from tandem_hw.training.run_files import FILE_NAMES
from tandem_hw.training.run_folder import RunIdentity, locked, new_run
from tests.helpers.command_line import run as run_command
from tests.helpers.project import ROOT
from tests.helpers.trainings import NEW, OLD, anonymous, attempt, kill_at, linger, run


def plain(item: Any) -> Any:
    """Return data in which tensors are bytes, so that they compare bit for bit."""
    if isinstance(item, dict):
        return {key: plain(value) for key, value in item.items()}
    if isinstance(item, list | tuple):
        return [plain(value) for value in item]
    return item.numpy().tobytes() if isinstance(item, torch.Tensor) else item


def contents(folder: Path) -> dict[str, Any]:
    """Return all that a training left but its times and its id, which must be one in all files."""
    found = {
        name: torch.load(folder / name, weights_only=True) for name in ("last.pt", "checkpoint.pt")
    }
    found["metrics.json"] = json.loads((folder / "metrics.json").read_text())
    assert len(found["metrics.json"].pop("seconds")) == len(found["metrics.json"]["epochs"])
    assert len({content.pop("run") for content in found.values()}) == 1
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILE_NAMES)
    return {name: plain(content) for name, content in found.items()}


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILE_NAMES}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold one training in "old" and another in "new"; neither was broken off."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder / "old", OLD)
    run(folder / "new")
    # The best epoch is not the last one, and there is a better one after a good one.
    values = [e["validation_accuracy"] for e in contents(folder / "new")["metrics.json"]["epochs"]]
    assert len(contents(folder / "new")["checkpoint.pt"]["metrics"]) in (2, 3), values
    assert contents(folder / "old")["checkpoint.pt"] != contents(folder / "new")["checkpoint.pt"]
    return folder


class Killed(BaseException):
    """Stands for SIGKILL in the same process."""


def die() -> None:
    raise Killed


def moments() -> int:
    """Return how many moments before and after a rename a training of NEW has."""
    return 2 * (3 + 3 + 1 + 3)  # at most: last.pt, metrics.json, their end, and each epoch the best


def test_files_are_written_in_the_order_that_a_kill_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, names = kill_at(-1, die)
    monkeypatch.setattr(os, "replace", rename)
    run(tmp_path, replace(NEW, epochs=2, validation=0.0))
    epoch = ["last.pt", "checkpoint.pt", "metrics.json"]
    assert names == [*epoch, *epoch, "metrics.json"]


@pytest.mark.parametrize(
    "over", [pytest.param("nothing", marks=pytest.mark.exhaustive), "another training"]
)
def test_a_training_that_is_killed_between_any_two_writes_is_resumed_to_the_same_end(
    whole: Path, tmp_path: Path, over: str
) -> None:
    expected, untouched, resumed = contents(whole / "new"), 0, 0
    for moment in range(moments()):
        folder = tmp_path / str(moment)
        if over == "another training":
            shutil.copytree(whole / "old", folder)
        rename, names = kill_at(moment, die)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(os, "replace", rename)
            try:
                run(folder, overwrite=over == "another training")
            except Killed:
                pass
            else:
                assert moment >= 2 * len(names)
                assert contents(folder)["metrics.json"] == expected["metrics.json"]
                break
        if names == ["last.pt"] and moment == 0:  # not one epoch is whole: the earlier ones are
            untouched += 1
            if over == "another training":
                assert files(folder) == files(whole / "old")
            else:
                assert not folder.exists()
            continue
        load_checkpoint(folder / "last.pt")
        summary = run(folder, resume=True)
        assert contents(folder) == expected
        assert json.loads(json.dumps(anonymous(summary))) == expected["metrics.json"]
        resumed += 1
    assert untouched == 1
    assert resumed >= 2 * 8 - 1


@pytest.fixture(scope="module")
def processes() -> Iterator[Any]:
    """Start processes in which PyTorch is at hand."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.helpers.trainings_at_hand"])
    with pytest.MonkeyPatch.context() as patched:  # a server of Python 3.10 ignores our sys.path
        path = [str(ROOT), str(Path(atomic_write.__file__).parents[1])]
        patched.setenv("PYTHONPATH", os.pathsep.join(path))
        yield context


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_nothing_is_lost_in_a_hundred_kills(whole: Path, tmp_path: Path, processes: Any) -> None:
    """Trainings take each other's place and are killed with SIGKILL, a hundred times in all."""
    draw, kills, ended = random.Random(0), 0, 0
    expected = {options.seed: contents(whole / name) for name, options in
                (("old", OLD), ("new", NEW))}  # fmt: skip
    folder = tmp_path / "run"
    run(folder, OLD)
    owner, options, how = OLD, NEW, {"overwrite": True}
    while kills < 100:
        before = files(folder)
        moment = draw.randrange(6)
        child = processes.Process(target=attempt, args=(str(folder), options, how, moment))
        child.start()
        child.join(120)
        assert child.exitcode in (0, -signal.SIGKILL)
        kills += child.exitcode != 0
        last, best = (load_checkpoint(folder / name) for name in ("last.pt", "checkpoint.pt"))
        if last.run == torch.load(tmp_path / "run" / "last.pt", weights_only=True)["run"]:
            assert len(best.metrics) >= 1  # whole, whatever happened
        if "overwrite" in how and last.training["options"]["seed"] == owner.seed:
            assert {name: (folder / name).read_bytes() for name in FILE_NAMES} == before
            continue
        owner, how = options, {"resume": True}
        if child.exitcode == 0:
            assert contents(folder) == expected[options.seed]
            ended += 1
            options, how = (OLD if options is NEW else NEW), {"overwrite": True}
    assert ended >= 10


def test_a_folder_in_use_is_refused_until_its_training_ends_however_it_ends(
    tmp_path: Path, processes: Any
) -> None:
    note = tmp_path / "note"
    child = processes.Process(target=linger, args=(str(tmp_path / "run"), str(note)))
    child.start()
    try:
        deadline = time.monotonic() + 60
        while not note.exists():
            assert time.monotonic() < deadline, "it did not start"
            time.sleep(0.02)
        hows: list[dict[str, Any]] = [{}, {"overwrite": True}, {"resume": True}]
        for how in hows:
            with pytest.raises(FileFormatError) as caught:
                run(tmp_path / "run", **how)
            assert f"run: process {child.pid} on " in str(caught.value)
            assert "is training in this folder; wait for it or end it, or give" in str(caught.value)
    finally:
        child.kill()
        child.join()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["training.lock"]
    run(tmp_path / "run", replace(NEW, epochs=1))
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(FILE_NAMES)


def test_a_second_training_of_the_same_process_is_refused_and_harms_nothing(
    tmp_path: Path,
) -> None:
    refused = []

    def second(_: Any) -> None:
        with pytest.raises(FileFormatError, match=rf"process {os.getpid()} on .* is training in"):
            run(tmp_path, overwrite=True)
        refused.append(1)

    summary = run(tmp_path, replace(NEW, epochs=2), epoch_done=second)
    assert len(refused) == 2
    assert contents(tmp_path)["metrics.json"] == json.loads(json.dumps(anonymous(summary)))


def test_a_file_system_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    abandoned = tmp_path / ".last.abcdefgh.tmp.pt"  # perhaps another training's, at this moment
    abandoned.write_text("half")
    with caplog.at_level(logging.WARNING), locked(tmp_path):
        pass
    assert "cannot lock files (No locks available); nothing keeps a second training" in caplog.text
    assert abandoned.exists()


def test_a_lock_that_its_last_holder_has_just_removed_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = fcntl.flock
    taken: list[int] = []

    def flock(file: Any, operation: int) -> None:
        take(file, operation)
        if not taken:
            (tmp_path / "training.lock").unlink()
        taken.append(1)

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path):
        assert len(taken) == 2
        with pytest.raises(FileFormatError, match="is training in this folder"), locked(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "long", "symbolic link", "hard link", "pipe", "folder"])
@pytest.mark.parametrize("can_lock", [True, False])
def test_what_only_has_the_name_of_a_lock_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, can_lock: bool
) -> None:
    def flock(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    if not can_lock:
        monkeypatch.setattr(fcntl, "flock", flock)
    data, lock = tmp_path / "data.npz", tmp_path / "run" / "training.lock"
    lock.parent.mkdir()
    data.write_bytes(b"")  # the lock of a link to it could be written
    if kind in ("file", "long"):
        lock.write_bytes(b"\x80PK" if kind == "file" else b"process 1 on a\n" * 40)
    elif kind == "symbolic link":
        lock.symlink_to("../data.npz")
    elif kind == "hard link":
        os.link(data, lock)
    elif kind == "pipe":
        os.mkfifo(lock)
    else:
        lock.mkdir()
    before = lock.lstat(), lock.read_bytes() if lock.is_file() else b""
    with pytest.raises(FileFormatError, match=r"lock: is no lock of a training.*move it"):
        run(lock.parent, overwrite=True)
    found, content = lock.lstat(), lock.read_bytes() if lock.is_file() else b""
    assert (found.st_ino, found.st_mtime_ns, content) == (
        before[0].st_ino,
        before[0].st_mtime_ns,
        before[1],
    )
    assert data.read_bytes() == b""


def test_an_empty_lock_and_one_that_a_killed_training_left_are_taken(tmp_path: Path) -> None:
    for left in ("", "process 1 on elsewhere\n"):
        (tmp_path / "training.lock").write_text(left)
        with locked(tmp_path):
            text = (tmp_path / "training.lock").read_text()
            assert text.startswith(f"process {os.getpid()} on ")
        assert list(tmp_path.iterdir()) == []


def test_what_took_the_place_of_the_lock_meanwhile_stays(tmp_path: Path) -> None:
    with locked(tmp_path):
        (tmp_path / "training.lock").unlink()
        (tmp_path / "training.lock").write_text("mine")
    assert (tmp_path / "training.lock").read_text() == "mine"


def test_what_killed_trainings_have_half_written_is_removed(tmp_path: Path) -> None:
    half = [tmp_path / f".{name}.abcdefgh.tmp{end}" for name, end in
            (("last", ".pt"), ("checkpoint", ".pt"), ("metrics", ".json"),
             ("run", ".toml"), ("metrics", ".csv"))]  # fmt: skip
    for path in (*half, tmp_path / ".other.abcdefgh.tmp.pt", tmp_path / "last.tmp.pt"):
        path.write_text("half")
    with locked(tmp_path):
        assert not any(path.exists() for path in half)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileFormatError, match=r"training\.lock: cannot be written"):
        run(tmp_path / "file" / "run")


def test_a_folder_made_for_nothing_is_removed(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"last\.pt: does not exist"):
        run(tmp_path / "far" / "away", resume=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FILE_NAMES)
def test_a_folder_that_holds_any_file_of_a_training_is_not_begun_in(
    whole: Path, tmp_path: Path, name: str
) -> None:
    shutil.copy(whole / "old" / name, tmp_path)
    before = (tmp_path / name).read_bytes()
    with pytest.raises(FileFormatError, match="holds a training already; continue it with"):
        run(tmp_path)
    result = run_command("train", "digits", "--model", "mlp", "--out", tmp_path)
    assert result.exit_code == 2
    assert "holds a training already; continue it with --resume" in result.stderr
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, before)]


def test_every_training_has_an_id_of_its_own(tmp_path: Path) -> None:
    assert len({RunIdentity().run for _ in range(100)}) == 100
    assert new_run(tmp_path, overwrite=True).replaces == {}


# Files of different trainings ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["checkpoint.pt", "metrics.json"])
@pytest.mark.parametrize("twin", [False, True], ids=["other options", "the same options"])
def test_a_file_of_another_training_is_neither_used_nor_replaced(
    whole: Path, tmp_path: Path, name: str, twin: bool
) -> None:
    folder, other = tmp_path / "run", whole / "old"
    shutil.copytree(whole / "new", folder)
    if twin:
        other = tmp_path / "twin"
        run(other)
    shutil.copy(other / name, folder)
    before = files(folder)
    for _ in range(2):
        with pytest.raises(FileFormatError) as caught:
            run(folder, resume=True)
        message = str(caught.value)
        assert f"{name}: does not belong to the training that last.pt continues" in message
        assert "move it to another folder, and --resume writes the right one" in message
        assert files(folder) == before
    (folder / name).rename(tmp_path / "moved")
    run(folder, resume=True)
    assert contents(folder) == contents(whole / "new")


@pytest.mark.parametrize("name", ["checkpoint.pt", "metrics.json"])
@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"{}", b'{"epochs": 3}'])
def test_a_file_that_cannot_be_read_is_not_replaced(
    whole: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    shutil.copytree(whole / "new", tmp_path, dirs_exist_ok=True)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileFormatError, match="does not belong to the training that last"):
        run(tmp_path, resume=True)
    assert (tmp_path / name).read_bytes() == content


def test_a_folder_in_the_place_of_a_checkpoint_is_refused(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / "new", tmp_path, dirs_exist_ok=True)
    (tmp_path / "checkpoint.pt").unlink()
    (tmp_path / "checkpoint.pt").mkdir()
    with pytest.raises(FileFormatError, match=r"checkpoint\.pt: cannot be read \(Is a directory"):
        run(tmp_path, resume=True)


def test_a_checkpoint_further_than_the_training_is_not_replaced(
    whole: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.pt"

    def keep(epoch: dict[str, Any]) -> None:
        if epoch["epoch"] == 1:
            shutil.copy(tmp_path / "run" / "last.pt", kept)

    run(tmp_path / "run", epoch_done=keep)
    shutil.copy(kept, tmp_path / "run" / "last.pt")
    with pytest.raises(FileFormatError, match=r"(checkpoint\.pt|json): .*its epochs are others"):
        run(tmp_path / "run", resume=True)
    (tmp_path / "run" / "metrics.json").unlink()
    with pytest.raises(FileFormatError, match=r"checkpoint\.pt: .*its epochs are others"):
        run(tmp_path / "run", resume=True)


def test_a_checkpoint_replaced_while_the_training_runs_is_noticed(
    whole: Path, tmp_path: Path
) -> None:
    def swap(epoch: dict[str, Any]) -> None:
        if epoch["epoch"] == 3:
            shutil.copy(whole / "old" / "checkpoint.pt", tmp_path)

    with pytest.raises(FileFormatError, match=r"checkpoint\.pt: was replaced by another program"):
        run(tmp_path, epoch_done=swap)
    (tmp_path / "checkpoint.pt").unlink()
    run(tmp_path, resume=True)
    assert contents(tmp_path) == contents(whole / "new")


@pytest.mark.parametrize("key", ["best_checkpoint", "replaces"])
@pytest.mark.parametrize(
    "value", ["missing", "text", None, 3, {}, {"parameters": {}, "metrics": [{}]},
              {"parameters": 3, "metrics": []}, {"parameters": {}, "metrics": [3]}],
    ids=str,
)  # fmt: skip
def test_a_damaged_best_model_is_refused(whole: Path, tmp_path: Path, key: str, value: Any) -> None:
    shutil.copytree(whole / "new", tmp_path, dirs_exist_ok=True)
    last = load_checkpoint(tmp_path / "last.pt")
    if value == "missing":
        last.training.pop(key, None)
    else:
        last.training[key] = value
    save_checkpoint(last, tmp_path / "last.pt")
    if key == "replaces" and value in ("missing", {}):
        run(tmp_path, resume=True)
        return
    with pytest.raises(FileFormatError, match=r"last\.pt: the state of the training is damaged"):
        run(tmp_path, resume=True)


def test_an_id_that_is_no_text_is_refused(whole: Path, tmp_path: Path) -> None:
    content = torch.load(whole / "new" / "last.pt", weights_only=True)
    torch.save(content | {"run": 5}, tmp_path / "last.pt")
    with pytest.raises(FileFormatError, match=r"last\.pt: lacks run; the file is damaged"):
        run(tmp_path, resume=True)


# Trainings that began before files had an id ------------------------------------------------------


def as_before(folder: Path) -> None:
    """Make files what they were before a training had an id and ``last.pt`` the best model."""
    for name in ("last.pt", "checkpoint.pt"):
        content = torch.load(folder / name, weights_only=True)
        del content["run"]
        content["training"].pop("best_checkpoint", None)
        torch.save(content, folder / name)
    metrics = json.loads((folder / "metrics.json").read_text())
    del metrics["run"]
    (folder / "metrics.json").write_text(json.dumps(metrics))


def without_ids(folder: Path) -> dict[str, Any]:
    found = {
        name: torch.load(folder / name, weights_only=True) for name in ("last.pt", "checkpoint.pt")
    }
    found["metrics.json"] = json.loads((folder / "metrics.json").read_text())
    del found["metrics.json"]["seconds"]
    for content in found.values():
        content.pop("run", None)
    return {name: plain(content) for name, content in found.items()}


def broken_off(folder: Path, after: int) -> None:
    """Leave a training of before, killed after an epoch."""

    def stop(epoch: dict[str, Any]) -> None:
        if epoch["epoch"] == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder, epoch_done=stop)
    as_before(folder)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_an_older_training_is_resumed_to_the_same_end(
    whole: Path, tmp_path: Path, after: int
) -> None:
    broken_off(tmp_path, after)
    summary = run(tmp_path, resume=True)
    assert "run" not in summary
    found, expected = without_ids(tmp_path), without_ids(whole / "new")
    if after == 3:  # nothing is written any more but the metrics
        del expected["last.pt"]["training"]["best_checkpoint"]
    assert found == expected


def test_an_older_training_killed_between_its_two_files_is_resumed_to_the_same_end(
    whole: Path, tmp_path: Path
) -> None:
    improves = len(contents(whole / "new")["checkpoint.pt"]["metrics"])
    broken_off(tmp_path / "run", improves - 1)
    broken_off(tmp_path / "further", improves)
    shutil.copy(tmp_path / "further" / "checkpoint.pt", tmp_path / "run")
    run(tmp_path / "run", resume=True)
    assert without_ids(tmp_path / "run") == without_ids(whole / "new")


@pytest.mark.parametrize("case", ["another training", "an epoch that is not the best", "missing"])
def test_an_older_training_beside_another_best_model_is_refused(
    whole: Path, tmp_path: Path, case: str
) -> None:
    """This is what ``--overwrite``, killed between the two files, had left."""
    folder = tmp_path / "run"
    shutil.copytree(whole / "new", folder)
    as_before(folder)
    if case == "another training":
        shutil.copytree(whole / "old", tmp_path / "old")
        as_before(tmp_path / "old")
        shutil.copy(tmp_path / "old" / "checkpoint.pt", folder)
    elif case == "missing":
        (folder / "checkpoint.pt").unlink()
    else:
        broken_off(tmp_path / "first", 1)
        shutil.copy(tmp_path / "first" / "checkpoint.pt", folder)
    message = r"checkpoint\.pt: " + (
        "does not exist" if case == "missing" else "is not the best model of the training that last"
    )
    with pytest.raises(FileFormatError, match=message):
        run(folder, resume=True)


def test_an_older_training_without_validation_knows_its_last_epoch(tmp_path: Path) -> None:
    options = replace(NEW, validation=0.0, epochs=2)
    run(tmp_path / "run", options)
    as_before(tmp_path / "run")
    before = without_ids(tmp_path / "run")
    run(tmp_path / "run", options, resume=True)
    assert without_ids(tmp_path / "run") == before
    best = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    best.metrics.pop()
    save_checkpoint(best, tmp_path / "run" / "checkpoint.pt")
    with pytest.raises(FileFormatError, match=r"checkpoint\.pt: is not the best model of the"):
        run(tmp_path / "run", options, resume=True)
