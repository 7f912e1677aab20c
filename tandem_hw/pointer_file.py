"""Paths that lead to no file: the system refuses them, or what is there is a pointer of git."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from tandem_hw.errors import TandemError

#: What pointers begin with, whose they are, and how to get the file itself.
_POINTERS: Final = (
    (b"version https://git-lfs.github.com/spec/", "git-lfs", "git lfs pull"),
    (b"/annex/objects/", "git-annex", "git annex get"),
)
_HEAD: Final = max(len(start) for start, _, _ in _POINTERS)
#: Errors by which the system says that there is nothing, as pathlib takes them.
_NOTHING_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP)


def refuse_unreachable(path: str | os.PathLike[str], error: type[TandemError]) -> None:
    """Refuse a path that the system does not follow; call it before asking what is there.

    ``Path.is_file`` and the like pass on what the system says of a name that is too long, or of a
    folder that may not be looked into.

    Args:
        path: of a file or folder. Where there is nothing, that is left to whoever reads it.
        error: what is raised.

    Raises:
        TandemError: of the given class: it cannot be told what is there.
    """
    try:
        os.stat(path)
    except OSError as fault:
        if fault.errno not in _NOTHING_THERE:
            raise error(f"{path}: cannot be read ({fault.strerror or fault})") from fault
    except ValueError:
        return  # a zero byte, which pathlib takes for a name of nothing


def refuse_pointer(path: str | os.PathLike[str], error: type[TandemError]) -> None:
    """Refuse a file that stands for another one; call it before a file is read.

    Args:
        path: the file. One that cannot be read is left to whoever reads it.
        error: what is raised.

    Raises:
        TandemError: of the given class: the file is a pointer of git-lfs or git-annex.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError):
        return
    for start, program, command in _POINTERS:
        if head.startswith(start):
            raise error(
                f"{path}: is a pointer of {program}, not the file itself; fetch that with: "
                f"{command}"
            )
