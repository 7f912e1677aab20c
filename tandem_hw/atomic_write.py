"""Write files whole or not at all."""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tandem_hw.errors import FileFormatError
from tandem_hw.temporaries import temporary_sibling


@contextmanager
def atomic_file(target: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a file to write to that takes the place of ``target`` at the end.

    A reader never sees half a file, and an error while writing leaves what was there before. A
    symbolic link stays: what it leads to is replaced. Every file of this package is written here.

    Args:
        target: where the finished file shall be; its folder is created if missing.

    Yields:
        A file, open in binary mode, in the same folder (a rename across file systems is not
        atomic).

    Raises:
        FileFormatError: the folder cannot be created or written to, or the disk is full.
    """
    target = Path(target)
    with reported(target):
        _check_kind(target)
        place = Path(os.path.realpath(target)) if target.is_symlink() else target
        place.parent.mkdir(parents=True, exist_ok=True)
        with temporary_sibling(place) as (temporary, descriptor):
            with io.BufferedRandom(_FailingOnce(os.dup(descriptor), "r+b")) as file:
                yield file
                file.flush()
                # Have the content on the disk before its name is: after a power failure, or on NFS.
                os.fsync(descriptor)
            os.replace(temporary, place)


def write_whole(target: str | os.PathLike[str], content: bytes | memoryview) -> None:
    """Write a file of which all is in memory; see ``atomic_file``.

    Args:
        target: where the file shall be.
        content: all of it.

    Raises:
        FileFormatError: the folder cannot be created or written to, or the disk is full.
    """
    with atomic_file(target) as file:
        file.write(content)


def write_json(target: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write plain data as JSON; see ``atomic_file``.

    Args:
        target: where the file shall be.
        content: dictionaries, lists, texts and numbers.

    Raises:
        FileFormatError: the folder cannot be created or written to, or the disk is full.
    """
    write_whole(target, json_text(content).encode())


def json_text(content: Mapping[str, Any]) -> str:
    """Return plain data as JSON, as it stands in a file.

    Args:
        content: dictionaries, lists, texts and numbers.
    """
    return json.dumps(content, indent=2) + "\n"


class _FailingOnce(io.FileIO):
    """A file that reports a full disk once.

    Whoever then closes what is written through it, such as a zip archive, writes once more. That
    would hide the error behind another one, or print a traceback where nobody can catch it.
    """

    _has_failed = False

    def write(self, data: Any, /) -> int:
        """Write; after a failure, only pretend to."""
        if self._has_failed:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except OSError:
            self._has_failed = True
            raise


def require_writable(target: str | os.PathLike[str]) -> None:
    """Refuse a path that ``atomic_file`` could not write to; call it before a long run.

    Nothing is left behind: a folder that is missing is not created yet.

    Args:
        target: where a file shall be written later.

    Raises:
        FileFormatError: the path is a folder or no ordinary file, or its folder cannot be created
            or written to.
    """
    target = Path(target)
    with reported(target):
        _check_kind(target)
        place = Path(os.path.realpath(target))
        with temporary_sibling(existing_folder(place) / place.name):
            pass


def existing_folder(target: Path) -> Path:
    """Return the folder that a file shall be in, or the nearest one above it that is there."""
    return next(parent for parent in target.parents if parent.exists())


def _check_kind(target: Path) -> None:
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:  # also a symbolic link to where nothing is yet
        return
    if stat.S_ISDIR(mode):
        raise FileFormatError(f"{target}: is a folder; give the name of a file to write")
    if not stat.S_ISREG(mode):  # renaming over a device would remove the device
        raise FileFormatError(
            f"{target}: is not an ordinary file; give the name of a file to write"
        )


@contextmanager
def reported(target: Path, action: str = "written") -> Iterator[None]:
    """Turn errors of the operating system into one line.

    Args:
        target: the file.
        action: what is tried, "written" or "read".

    Raises:
        FileFormatError: names the file and the reason.
    """
    if "\0" in str(target):
        raise FileFormatError(f"{target}: cannot be {action} (a name has no zero byte)")
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise FileFormatError(f"{target}: cannot be {action} ({reason.splitlines()[0]})") from error
