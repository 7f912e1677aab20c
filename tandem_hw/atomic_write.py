"""Write files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tandem_hw.errors import FileFormatError


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary sibling of ``target`` to write to, and rename it over ``target`` at the end.

    A reader never sees half a file, and an error while writing leaves what was there before.

    Args:
        target: where the finished file shall be; its folder is created if missing.

    Yields:
        The path to write to, in the same folder (a rename across file systems is not atomic).

    Raises:
        FileFormatError: the folder cannot be created or written to, or the disk is full.
    """
    target = Path(target)
    with reported(target):
        _check_kind(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary_sibling(target, target.parent)
        try:
            yield temporary
            mode = 0o666 & ~_umask()
            os.chmod(temporary, mode)  # mkstemp makes files private; a result is an ordinary file
            _flush(temporary)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


def require_writable(target: str | os.PathLike[str]) -> None:
    """Refuse a path that ``atomic_path`` could not write to; call it before a long run.

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
        _temporary_sibling(target, existing_folder(target)).unlink()


def existing_folder(target: Path) -> Path:
    """Return the folder that a file shall be in, or the nearest one above it that is there."""
    return next(parent for parent in target.parents if parent.exists())


def _check_kind(target: Path) -> None:
    if target.is_dir():
        raise FileFormatError(f"{target}: is a folder; give the name of a file to write")
    if target.exists() and not target.is_file():  # renaming over a device would remove the device
        raise FileFormatError(
            f"{target}: is not an ordinary file; give the name of a file to write"
        )


def remove_abandoned(target: str | os.PathLike[str]) -> None:
    """Remove what processes that were killed have left of their attempts to write a file.

    Args:
        target: a file that nobody is writing now.
    """
    target = Path(target)
    for path in target.parent.glob(f".{target.stem}.*.tmp{target.suffix}"):
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have the content on the disk before its name is: after a power failure, or on NFS."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _temporary_sibling(target: Path, folder: Path) -> Path:
    # The suffix is kept: numpy and h5py choose by it.
    handle, name = tempfile.mkstemp(
        dir=folder, prefix=f".{target.stem}.", suffix=f".tmp{target.suffix}"
    )
    os.close(handle)
    return Path(name)


@contextmanager
def reported(target: Path, action: str = "written") -> Iterator[None]:
    """Turn errors of the operating system into one line.

    Args:
        target: the file.
        action: what is tried, "written" or "read".

    Raises:
        FileFormatError: names the file and the reason.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise FileFormatError(f"{target}: cannot be {action} ({reason.splitlines()[0]})") from error


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
