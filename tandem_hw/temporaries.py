"""Files and folders that are there for a while, and go whatever comes.

Whoever makes one here holds a lock on it (``flock``) that the kernel gives back when the process
ends, however it ends. So a later process can prove that an owner is gone: it gets the lock. Names
say which kernel has the lock, as that of another machine with the same disk knows nothing of it;
what cannot be proven to be without an owner stays.

An interruption may come between any two lines, before the code that would remove a thing is
reached. What a process has made and not removed is therefore on a list, and ``remove_own`` removes
it at the end of the process.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

#: What names of folders in the folder for temporary files begin with.
JOB_PREFIX: Final = "tandem-hw-"
#: Changes when a machine starts anew, and is one in all containers on it.
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_MARK_BYTES: Final = 4
#: Bytes that a name may have where the system does not say.
_NAME_MAX: Final = 255
#: Bytes of a suffix that a temporary name keeps.
_SUFFIX_MAX: Final = 32

#: What this process has made and not removed yet, and the process, which a fork is not.
_made: dict[str, int] = {}


@contextmanager
def temporary_sibling(target: Path) -> Iterator[tuple[Path, int]]:
    """Give an empty file beside the place where it will be put; it goes unless it is renamed.

    What killed processes left of their attempts to write the same file is removed.

    Args:
        target: what will be written; its folder is there.

    Yields:
        The file, and its descriptor, open for reading and writing.

    Raises:
        OSError: it cannot be made.
    """
    start, end = _around(target)
    with _made_for_a_while(target.parent, start, end, _make_file) as (path, descriptor):
        yield path, descriptor


@contextmanager
def temporary_folder(target: Path | None = None) -> Iterator[Path]:
    """Give an empty folder, which goes with all that is in it.

    What killed processes left of the same kind is removed.

    Args:
        target: a file that it shall lie beside, in a folder that is there; without one it lies in
            the folder for temporary files (``TMPDIR``).

    Yields:
        The folder; nobody else may look into it.

    Raises:
        OSError: it cannot be made.
    """
    if target is None:
        import tempfile

        folder, (start, end) = Path(tempfile.gettempdir()), (JOB_PREFIX, "")
    else:
        folder, (start, end) = target.parent, _around(target)
    with _made_for_a_while(folder, start, end, _make_folder) as (path, _):
        yield path


def remove_abandoned(target: Path) -> None:
    """Remove whatever was left of attempts to write a file, also on other machines.

    Args:
        target: a file that nobody is writing now.
    """
    start, end = _around(target)
    for name in _names(target.parent):
        if name.startswith(start) and name.endswith(end) and len(name) > len(start) + len(end):
            _remove(target.parent / name)


def remove_if_ownerless(path: Path) -> bool:
    """Remove a file or folder that was made here, if its owner is proven to be gone.

    Args:
        path: what was made; where there is nothing, nothing happens.

    Returns:
        Whether it is gone.
    """
    with contextlib.ExitStack() as held:
        try:
            found = path.lstat()
            if found.st_uid != os.geteuid():
                return False
            # An exclusive lock over a network needs a file that is open for writing.
            way = os.O_RDONLY if stat.S_ISDIR(found.st_mode) else os.O_RDWR
            descriptor = os.open(path, way | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_at(descriptor, path):
                return False
        except FileNotFoundError:
            return True
        except OSError:  # it has an owner, or nothing can be locked there
            return False
        _remove(path)
    return not os.path.lexists(path)


def remove_own() -> None:
    """Remove what this process has made and not removed; call it when nothing is done any more."""
    for name, process in list(_made.items()):
        if process == os.getpid():
            _remove(Path(name))
        _made.pop(name, None)


atexit.register(remove_own)


@contextmanager
def _made_for_a_while(
    folder: Path, start: str, end: str, make: Callable[[Path], int]
) -> Iterator[tuple[Path, int]]:
    """Make something with a name of its own, lock it, and remove it in the end."""
    _remove_stale(folder, start, end)
    while True:
        path = folder / f"{start}{_kernel()}{os.urandom(_MARK_BYTES).hex()}{end}"
        with _listed(path):
            descriptor = _locked(path, make(path))
            if descriptor is None:
                continue
            try:
                yield path, descriptor
            finally:
                os.close(descriptor)
            return


@contextmanager
def _listed(path: Path) -> Iterator[None]:
    """Have a path on the list from before it is made until it is removed."""
    _made[str(path)] = os.getpid()
    try:
        yield
    finally:
        _remove(path)
        _made.pop(str(path), None)


def _locked(path: Path, descriptor: int) -> int | None:
    """Return what was opened, locked where that is possible; None if another process removes it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        is_ours = False
    except OSError:  # no locks here: nobody else can get one either
        is_ours = True
    else:
        is_ours = _is_at(descriptor, path)
    if not is_ours:
        os.close(descriptor)
    return descriptor if is_ours else None


def _make_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)


def _make_folder(path: Path) -> int:
    os.mkdir(path, 0o700)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _remove_stale(folder: Path, start: str, end: str) -> None:
    """Remove what has such a name, was locked by this kernel, and has no owner any more."""
    kernel = _kernel()
    if not kernel:
        return
    mark = f"{kernel}[0-9a-f]{{{2 * _MARK_BYTES}}}"
    pattern = re.compile(f"{re.escape(start)}{mark}{re.escape(end)}")
    for name in _names(folder):
        if pattern.fullmatch(name):
            remove_if_ownerless(folder / name)


def _around(target: Path) -> tuple[str, str]:
    """Return what stands before and behind the mark in the names of a file's siblings.

    They are no longer than the file system allows, however long the file's own name is.
    """
    end = f".tmp{_cut(target.suffix, _SUFFIX_MAX)}"
    try:
        longest = os.pathconf(target.parent, "PC_NAME_MAX")
    except (OSError, ValueError):
        longest = _NAME_MAX
    mark = len(_kernel()) + 2 * _MARK_BYTES
    return f".{_cut(target.stem, longest - mark - len(os.fsencode(end)) - 2)}.", end


def _cut(text: str, longest: int) -> str:
    """Return the beginning of a name that takes so many bytes at most."""
    while len(os.fsencode(text)) > longest:
        text = text[:-1]
    return text


@cache
def _kernel() -> str:
    """Return what tells this kernel from others; empty where it is not known."""
    try:
        boot_id = _BOOT_ID.read_text(encoding="ascii")  # random, such as "3f8a90c1-..."
    except (OSError, ValueError):
        return ""
    return boot_id[: 2 * _MARK_BYTES]


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # a folder may be written to without being read
        return []


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether a path still is what was opened there."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # it is a folder
        import shutil  # it takes a moment, as ``tempfile`` does, and help needs neither

        shutil.rmtree(path, ignore_errors=True)
