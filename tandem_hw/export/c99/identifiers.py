"""What names of files and layers become in C: identifiers, and text that a comment can hold."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

_NO_LETTER_OR_DIGIT: Final = re.compile(r"[^A-Za-z0-9_]")
#: Characters of a layer's name that identifiers keep; a number in front makes them unique.
_NAME_LENGTH: Final = 24
#: What a comment cannot hold: its own ends, and trigraphs.
_SPLIT_UP: Final = {"*/": "* /", "/*": "/ *", "??": "? ?"}


def prefix_of(path: str | os.PathLike[str]) -> str:
    """Return what all symbols of a source begin with, from the name of its file.

    Args:
        path: the file, such as ``digits.c``.

    Returns:
        A C identifier, "digits"; with "net_" before it where it would begin with no letter.
    """
    stem = _NO_LETTER_OR_DIGIT.sub("_", Path(path).stem).lstrip("_")
    return stem if stem[:1].isalpha() else f"net_{stem}".rstrip("_")


def layer_mark(index: int, part: int, name: str) -> str:
    """Return the end of the identifiers of some synapses, or of a layer's neurons.

    Args:
        index: of the layer, from 1.
        part: of its inputs, from 0; the neurons are the first one's.
        name: theirs, of printable characters.
    """
    number = f"{index}_{part}" if part else str(index)
    return f"{number}_{_NO_LETTER_OR_DIGIT.sub('_', name)[:_NAME_LENGTH]}"


def comment(text: str) -> str:
    """Return text in ASCII that neither ends a comment nor begins one."""
    plain = text.encode("ascii", "backslashreplace").decode("ascii")
    while any(pair in plain for pair in _SPLIT_UP):
        for pair, apart in _SPLIT_UP.items():
            plain = plain.replace(pair, apart)
    return plain
