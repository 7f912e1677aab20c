"""The folder of a training: which files are whose, and that one training at a time writes there.

A training has a random id, ``run``, which all its files carry, and writes them in this order:

1. ``last.pt`` holds all that a resumed training needs, the best model so far included. Replacing it
   is the one moment in which an epoch is done.
2. ``checkpoint.pt``, the best model, and ``metrics.json`` only repeat what ``last.pt`` says.

So whenever a training is killed, ``last.pt`` says what the other two have to be. What belongs to it
and lags behind is written anew; what belongs to another training is never replaced, unless that
training was to be overwritten: the first ``last.pt`` knows the digests of what it replaces.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch

from tandem_hw.atomic_write import reported, write_json
from tandem_hw.errors import FileFormatError
from tandem_hw.learning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tandem_hw.temporaries import remove_abandoned
from tandem_hw.training.run_files import (
    BEST_NAME,
    LAST_NAME,
    LOCK_NAME,
    METRICS_NAME,
    REPLACED_NAMES,
    check_free,
    file_digest,
)

#: What a lock of a training says, and more than it can be long.
_LOCK_TEXT = re.compile(r"(process \d+ on \S*)\n")
_LOCK_LENGTH_MAX = 400

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunIdentity:
    """Who a training is.

    Attributes:
        run: its random id; "" where it began before trainings had one.
        replaces: SHA-256 of the files of an earlier training that its own take the place of.
    """

    run: str = field(default_factory=lambda: uuid.uuid4().hex)
    replaces: Mapping[str, str] = field(default_factory=dict)


def new_run(folder: Path, *, overwrite: bool) -> RunIdentity:
    """Return the identity of a training that begins in a folder; call it with the folder locked.

    Args:
        folder: where it will write.
        overwrite: whether it may take the place of another one.

    Raises:
        FileFormatError: the folder holds a training, which shall not be overwritten.
    """
    if not overwrite:
        check_free(folder)
    earlier = [name for name in (BEST_NAME, METRICS_NAME) if (folder / name).is_file()]
    return RunIdentity(replaces={name: file_digest(folder / name) for name in earlier})


def write_metrics(metrics: dict[str, Any], path: Path) -> None:
    """Write metrics as JSON, whole or not at all."""
    write_json(path, metrics)


# After a break ------------------------------------------------------------------------------------


def tie_best(folder: Path, last: Checkpoint, best: Checkpoint, replaces: Mapping[str, str]) -> None:
    """Make ``checkpoint.pt`` the best model of the training that ``last.pt`` continues.

    Args:
        folder: of the training.
        last: what ``last.pt`` holds.
        best: the best model, as ``last.pt`` holds it.
        replaces: see ``RunIdentity``.

    Raises:
        FileFormatError: ``checkpoint.pt`` belongs to another training, or cannot be read.
    """
    path = folder / BEST_NAME
    if path.exists() and file_digest(path) != replaces.get(BEST_NAME):
        try:
            found = load_checkpoint(path)
        except FileFormatError as error:
            raise _foreign(path, str(error)) from error
        if found.run != last.run:
            raise _foreign(path, f"it is of training {found.run or 'without id'}")
        is_best = is_same_model(found, last.run, best.metrics)
        if not (is_best or _is_start(found.metrics, last.metrics)):
            raise _foreign(path, "its epochs are others")
        if is_best and _equal(found, best):
            return
    _LOGGER.warning("%s: was not up to date; written anew from %s", path, LAST_NAME)
    save_checkpoint(best, path)


def tie_metrics(folder: Path, last: Checkpoint, replaces: Mapping[str, str]) -> bool:
    """Return whether ``metrics.json`` has to be written anew before the training goes on.

    Args:
        folder: of the training.
        last: what ``last.pt`` holds.
        replaces: see ``RunIdentity``.

    Raises:
        FileFormatError: it belongs to another training, or cannot be read.
    """
    path = folder / METRICS_NAME
    if not path.exists() or file_digest(path) == replaces.get(METRICS_NAME):
        return True
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        run, epochs = content.get("run", ""), list(content["epochs"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise _foreign(path, f"it cannot be read: {error}") from error
    if run != last.run:
        raise _foreign(path, f"it is of training {run or 'without id'}")
    if not _is_start(epochs, last.metrics):
        raise _foreign(path, "its epochs are others")
    return False


def best_of_before(folder: Path, last: Checkpoint, metric: str, value: float | None) -> Checkpoint:
    """Return the best model of a training that began before ``last.pt`` held it.

    Its ``checkpoint.pt`` was written before its ``last.pt``, and may be an epoch further.

    Args:
        folder: of the training.
        last: what ``last.pt`` holds.
        metric: name of the number that the best epoch is chosen by.
        value: its best value so far, or None without validation data.

    Raises:
        FileFormatError: ``checkpoint.pt`` is missing, damaged, or not of this training.
    """
    path = folder / BEST_NAME
    best = load_checkpoint(path)
    is_further = len(best.metrics) == len(last.metrics) + 1
    if value is None:
        is_best = len(best.metrics) == len(last.metrics)
    else:
        is_best = metrics_text([value]) == metrics_text(
            [epoch.get(metric) for epoch in best.metrics[-1:]]
        )
    own = best.run == last.run and _is_start(best.metrics[: len(last.metrics)], last.metrics)
    if not (own and (is_best or is_further)):
        raise FileFormatError(
            f"{path}: is not the best model of the training that {LAST_NAME} continues; put that "
            f"one back, or train again with --overwrite"
        )
    return best


def is_same_model(checkpoint: Checkpoint, run: str, metrics: Sequence[Any]) -> bool:
    """Whether a checkpoint is that of a training after the given epochs."""
    return checkpoint.run == run and metrics_text(checkpoint.metrics) == metrics_text(metrics)


def _foreign(path: Path, reason: str) -> FileFormatError:
    return FileFormatError(
        f"{path}: does not belong to the training that {LAST_NAME} continues ({reason}); move it "
        f"to another folder, and --resume writes the right one"
    )


def _is_start(metrics: Sequence[Any], whole: Sequence[Any]) -> bool:
    return metrics_text(metrics) == metrics_text(whole[: len(metrics)])


def metrics_text(metrics: Sequence[Any]) -> str:
    """Return metrics in a form in which even what is not a number equals itself.

    Args:
        metrics: of epochs, or values of them.
    """
    return json.dumps(list(metrics), default=repr)


def _equal(one: Checkpoint, other: Checkpoint) -> bool:
    values, wanted = one.model.state_dict(), other.model.state_dict()
    return values.keys() == wanted.keys() and all(
        torch.equal(values[name].nan_to_num(), wanted[name].nan_to_num()) for name in wanted
    )


# One at a time ------------------------------------------------------------------------------------


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep all other trainings out of a folder, which is made if missing.

    The kernel gives the lock back when the process ends, however it ends. Where the file system has
    no locks, a warning says so and the training goes on.

    Raises:
        FileFormatError: another training holds it, the folder cannot be written to, or what has the
            lock's name is no lock of a training.
    """
    path = folder / LOCK_NAME
    with reported(path):
        made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        with contextlib.ExitStack() as held:
            with reported(path):
                folder.mkdir(parents=True, exist_ok=True)
                is_ours = held.enter_context(_opened_lock(path))
            if is_ours:  # what is half written is of trainings that were killed
                for name in REPLACED_NAMES:
                    remove_abandoned(folder / name)
            yield
    finally:
        for one in made:
            with contextlib.suppress(OSError):
                one.rmdir()  # only while it is empty


@contextmanager
def _opened_lock(path: Path) -> Iterator[bool]:
    """Open and lock a file, and remove it in the end; say if the system can lock files at all."""
    while True:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(_open_lock(path))
            stack.callback(_remove_lock, file, path)
            can_lock = _lock(file, path)
            # One that was removed by its last holder meanwhile is opened anew.
            if can_lock and not _is_at(file, path):
                continue
            _require_lock(file, path)
            if can_lock:
                os.ftruncate(file.fileno(), 0)
                text = f"process {os.getpid()} on {socket.gethostname()}\n"
                os.write(file.fileno(), text.encode())
            yield can_lock
            return


def _remove_lock(file: IO[str], path: Path) -> None:
    """Remove the file of a lock that no other training holds; call it before it is closed.

    Who opened it between the two would have a file without a name. Where nothing can be locked,
    nothing was written, and what is written there is another training's.
    """
    if not (_is_at(file, path) and _is_lock(file)):
        return
    can_lock = True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return
    except OSError:
        can_lock = False
    if can_lock or not _start_of(file):
        path.unlink(missing_ok=True)


def _lock(file: IO[str], path: Path) -> bool:
    """Lock an open file, or refuse where another process has; False where nothing can be locked."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        said = _LOCK_TEXT.fullmatch(_start_of(file))
        raise FileFormatError(
            f"{path.parent}: {said[1] if said else 'another process'} is training in this "
            f"folder; wait for it or end it, or give another --out"
        ) from error
    except OSError as error:
        _LOGGER.warning(
            "%s: the file system cannot lock files (%s); nothing keeps a second training out "
            "of this folder",
            path.parent,
            error.strerror,
        )
        return False
    return True


def _open_lock(path: Path) -> IO[str]:
    """Open what may be a lock, or make it; nothing is changed in a file that is there."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return open(os.open(path, flags, 0o666), "a+", encoding="utf-8", errors="replace")
    except (OSError, ValueError) as error:  # io.UnsupportedOperation, of a pipe, is both
        if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
            raise _no_lock(path) from error
        raise


def _require_lock(file: IO[str], path: Path) -> None:
    """Refuse a file that a training has not made."""
    if not _is_lock(file):
        raise _no_lock(path)


def _is_lock(file: IO[str]) -> bool:
    text, names = _start_of(file), os.fstat(file.fileno()).st_nlink
    return names <= 1 and (not text or _LOCK_TEXT.fullmatch(text) is not None)


def _no_lock(path: Path) -> FileFormatError:
    return FileFormatError(
        f"{path}: is no lock of a training, which has to have this name; move it to another "
        f"folder, or give another --out"
    )


def _start_of(file: IO[str]) -> str:
    file.seek(0)
    return file.read(_LOCK_LENGTH_MAX)


def _is_at(file: IO[str], path: Path) -> bool:
    """Whether a path still is the file that was opened there."""
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    return False
