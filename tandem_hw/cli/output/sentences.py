"""Sentences that go on in a further line between two words; what is longer than a line stays whole.

A path or a digest that is longer than a line can so be copied from the terminal.
"""

from __future__ import annotations

import os
import re
from itertools import pairwise
from typing import Any, Final

_WORD: Final = re.compile(r"\S+\s*")


def breaks(line: str, width: int) -> list[int]:
    """Return where a line goes on in a further one: before these characters.

    Args:
        line: text without a line end.
        width: characters of a line.
    """
    found: list[int] = []
    start = 0
    for word in _WORD.finditer(line):
        is_too_long = word.start() + len(word.group().rstrip()) - start > width
        if is_too_long and line[start : word.start()].strip():
            start = word.start()
            found.append(start)
    return found


def wrapped(line: str, width: int | None) -> str:
    """Return a line with line ends between words, so that it is not wider than a terminal.

    Args:
        line: text without a line end.
        width: characters of a line; None for any number.
    """
    if width is None:
        return line
    cuts = [0, *breaks(line, width), len(line)]
    parts = [line[start:end] for start, end in pairwise(cuts)]
    return "\n".join(part.rstrip() for part in parts)


def terminal_width(stream: Any) -> int | None:
    """Return how many characters a line of a stream has, or None where it is no terminal."""
    try:
        if not stream.isatty():
            return None
        columns = os.environ.get("COLUMNS", "")
        found = int(columns) if columns.isdecimal() else os.get_terminal_size(stream.fileno())[0]
    except (AttributeError, OSError, ValueError):
        return None
    return found or None
