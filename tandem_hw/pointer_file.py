"""Files that only say where the real ones are, as git leaves them until they are fetched."""

from __future__ import annotations

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
