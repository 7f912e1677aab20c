"""Samples that are too many for the memory: from how many bytes on, and the file for them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from tandem_hw.errors import DataError

#: Bytes of samples from which on they stay in the file that they are in, or go into a new one.
LARGE: Final = 1 << 30


def are_large(size: int) -> bool:
    """Whether samples of so many bytes lie in a file and not in memory."""
    return size >= LARGE


def in_unnamed_file(
    pieces: Iterable[bytes | memoryview], shape: tuple[int, ...], what: str, otherwise: str
) -> np.memmap[Any, np.dtype[np.uint8]]:
    """Write bytes into a file without a name in the folder for temporary files.

    The file goes with the array; the system keeps of it in memory what there is room for.

    Args:
        pieces: the bytes, one after another.
        shape: of the array that they are.
        what: the data set and what of it is written, for the message.
        otherwise: what to do but for finding more room, for the message.

    Returns:
        uint8, which can be written to.

    Raises:
        DataError: the folder has no room for them, or cannot be written to.
    """
    try:
        with tempfile.TemporaryFile(prefix="tandem-hw-") as file:
            # Written, and not left out as a hole: that would end the process where the disk gets
            # full.
            for piece in pieces:
                file.write(piece)
            file.flush()
            return np.memmap(file, np.uint8, "r+", shape=shape)
    except OSError as error:
        raise DataError(
            f"{what} do not go into the folder for temporary files ({error.strerror or error}); "
            f"name one with room in TMPDIR, or {otherwise}"
        ) from error
