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
        FileFormatError: the folder cannot be created or written to.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise FileFormatError(f"{target}: is a folder; give the name of a file to write")
        # The suffix is kept: numpy and h5py choose by it.
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.stem}.", suffix=f".tmp{target.suffix}"
        )
    except OSError as error:
        raise FileFormatError(f"{target}: cannot write here ({error.strerror})") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mode = 0o666 & ~_umask()
        os.chmod(temporary, mode)  # mkstemp makes files private; a result is an ordinary file
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
