from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import signal
import tempfile
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from tandem_hw import temporaries
from tandem_hw.temporaries import (
    JOB_PREFIX,
    remove_abandoned,
    remove_if_ownerless,
    remove_own,
    temporary_folder,
    temporary_sibling,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def hold(target: str, ready: Event) -> None:
    """Make a file and a folder beside a target, fill them, and wait to be killed."""
    with temporary_sibling(Path(target)) as (_, descriptor), temporary_folder(Path(target)) as made:
        os.write(descriptor, b"half")
        (made / "inner").mkdir()
        (made / "inner" / "file").write_text("half")
        ready.set()
        signal.pause()


def holder(target: Path) -> multiprocessing.Process:
    """Start a process that holds both, and wait until it does."""
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=hold, args=(str(target), ready))
    process.start()
    assert ready.wait(60)
    return process  # type: ignore[return-value]


def test_what_a_killed_process_left_goes_with_the_next_attempt(tmp_path: Path) -> None:
    target = tmp_path / "run.npz"
    process = holder(target)
    left = names(tmp_path)
    assert len(left) == 2
    with temporary_sibling(target) as (path, _):
        assert names(tmp_path) == sorted([*left, path.name])  # its owner is there
    with temporary_sibling(tmp_path / "other.npz"):
        pass
    process.kill()
    process.join()
    with temporary_sibling(tmp_path / "other.npz"):
        assert set(left) < set(names(tmp_path))  # of another file
    with temporary_sibling(target) as (path, _):
        assert names(tmp_path) == [path.name]
    assert names(tmp_path) == []


def test_a_folder_for_temporary_files_goes_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"{JOB_PREFIX}of-somebody").mkdir()
    with temporary_folder() as one, temporary_folder() as other:
        assert one.name.startswith(JOB_PREFIX)
        assert (one.stat().st_mode & 0o777) == 0o700
        assert names(tmp_path) == sorted([one.name, other.name, f"{JOB_PREFIX}of-somebody"])
    left = tmp_path / one.name
    left.mkdir()  # as a process leaves it that is killed
    (left / "weights").write_text("secret")
    with temporary_folder():
        assert not left.exists()
    assert names(tmp_path) == [f"{JOB_PREFIX}of-somebody"]


def test_what_another_kernel_has_locked_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "run.npz"
    with temporary_sibling(target) as (path, _):
        pass
    path.write_text("on another machine, with the same disk")
    monkeypatch.setattr(temporaries, "_kernel", lambda: "0123abcd")
    with temporary_sibling(target):
        assert path.exists()
    remove_abandoned(target)  # its caller knows that nobody writes it
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_nothing_can_be_locked_nothing_is_proven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def flock(*_: Any) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", flock)
    with temporary_sibling(tmp_path / "a") as (one, _), temporary_sibling(tmp_path / "a"):
        assert one.exists()
        assert not remove_if_ownerless(one)
    assert names(tmp_path) == []


def test_what_another_process_removes_as_it_is_made_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = temporaries._make_file, list[Path]()

    def make_and_lose(path: Path) -> int:
        descriptor = make(path)
        if not made:
            assert remove_if_ownerless(path)
        made.append(path)
        return descriptor

    monkeypatch.setattr(temporaries, "_make_file", make_and_lose)
    with temporary_sibling(tmp_path / "a") as (path, _):
        assert len(made) == 2
        assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("name", ["n" * 255, f"{'n' * 251}.net", "ä" * 127, f"n.{'s' * 253}", ".n"])
def test_a_name_of_any_length_has_a_sibling(tmp_path: Path, name: str) -> None:
    with temporary_sibling(tmp_path / name) as (path, _):
        assert len(os.fsencode(path.name)) <= 255
        (tmp_path / name).touch()  # the name itself is one that can be
        path.rename(tmp_path / name)
    assert names(tmp_path) == [name]


def test_names_with_brackets_are_no_patterns(tmp_path: Path) -> None:
    (tmp_path / ".run1.abc.tmp.pt").touch()
    (tmp_path / ".run[1].abc.tmp.pt").touch()
    remove_abandoned(tmp_path / "run[1].pt")
    assert names(tmp_path) == [".run1.abc.tmp.pt"]


def test_what_an_interruption_left_goes_at_the_end_of_the_process_that_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = temporaries._remove
    with monkeypatch.context() as interrupted:

        def interrupt(path: Path) -> None:
            raise KeyboardInterrupt

        interrupted.setattr(temporaries, "_remove", interrupt)
        with pytest.raises(KeyboardInterrupt), temporary_folder(tmp_path / "a") as folder:
            (folder / "file").touch()
    assert temporaries._remove is remove
    assert names(tmp_path) == [folder.name]
    own = os.getpid()
    with monkeypatch.context() as forked:
        forked.setattr(os, "getpid", lambda: own + 1)
        listed = dict(temporaries._made)
        remove_own()
        temporaries._made.update(listed)
    assert names(tmp_path) == [folder.name]
    remove_own()
    assert names(tmp_path) == []
