"""Which files an export writes, by the name that it is given; without a large library."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

C_SUFFIX: Final = ".c"


def is_c(path: str | os.PathLike[str]) -> bool:
    """Whether the name of a file says that it is C."""
    return Path(path).suffix == C_SUFFIX


def header_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of the header that is written with a C source."""
    return Path(path).with_suffix(".h")


def written_paths(path: str | os.PathLike[str]) -> list[Path]:
    """Return all files that are written where this one is asked for."""
    return [Path(path), header_path(path)] if is_c(path) else [Path(path)]
