"""The names and digests of a training's files, and whether a folder is free; without PyTorch."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tandem_hw.atomic_write import reported
from tandem_hw.errors import FileFormatError

BEST_NAME = "checkpoint.pt"
LAST_NAME = "last.pt"
METRICS_NAME = "metrics.json"
LOCK_NAME = "training.lock"
#: The options of the command that trains, so that it can be given again.
OPTIONS_NAME = "run.toml"
#: Every epoch in a line, where that is asked for.
CSV_NAME = "metrics.csv"
FILE_NAMES = (BEST_NAME, LAST_NAME, METRICS_NAME)
#: All that is written whole and then put in its place; a killed training may leave a part of it.
REPLACED_NAMES = (*FILE_NAMES, OPTIONS_NAME, CSV_NAME)
#: All that a training writes in its folder.
WRITTEN_NAMES = (*FILE_NAMES, LOCK_NAME)


def check_free(folder: Path) -> None:
    """Refuse a folder that holds any file of a training.

    Raises:
        FileFormatError: names the ways on.
    """
    for name in FILE_NAMES:
        if os.path.lexists(folder / name):
            raise FileFormatError(
                f"{folder}: holds a training already; continue it with --resume, replace it with "
                f"--overwrite, or give another --out (in Python resume=True, overwrite=True, or "
                f"another folder)"
            )


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        FileFormatError: it cannot be read.
    """
    with reported(path, "read"):
        return hashlib.sha256(path.read_bytes()).hexdigest()
