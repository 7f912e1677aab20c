"""C text as it is put together: templates, arrays, and how many bytes they take."""

from __future__ import annotations

from collections.abc import Iterator
from string import Template
from textwrap import dedent, indent
from typing import Any, Final

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.integer[Any]]

#: Bytes of the types that are used.
TYPE_BYTES: Final = {
    **{f"{sign}int{bits}_t": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "uint32_t": 4,
}
_NUMBERS_A_LINE: Final = 20


def filled(template: str, **values: object) -> str:
    """Return a template without its common indentation, each ``$name`` replaced.

    A value of several lines that stands alone in a line is indented as its name is; an empty one
    takes its line away.
    """
    lines = []
    for line in dedent(template).strip("\n").splitlines():
        name = line.strip().removeprefix("$")
        if line.strip() == f"${name}" and name in values:
            before = line[: len(line) - len(line.lstrip())]
            block = str(values[name])
            lines += [indent(block, before)] if block else []
        else:
            lines.append(Template(line).substitute(values))
    return "\n".join(lines)


def smallest_type(low: int, high: int) -> str:
    """Return the smallest integer type that holds a range, unsigned where nothing is negative."""
    for bits in (8, 16, 32):
        if low >= 0 and high < 1 << bits:
            return f"uint{bits}_t"
        if -(1 << (bits - 1)) <= low and high < 1 << (bits - 1):
            return f"int{bits}_t"
    raise ValueError(f"no type of 32 bits holds {low} to {high}")


class Arrays:
    """Declares the arrays of a source, and adds up what they take.

    Attributes:
        constant_bytes: of all constant ones.
        state_bytes: of all others.
    """

    def __init__(self) -> None:
        self.constant_bytes = 0
        self.state_bytes = 0

    def constant(self, name: str, values: IntArray, ctype: str | None = None) -> str:
        """Return the definition of a constant array, of one axis or two.

        Args:
            name: its identifier.
            values: integers, at least one.
            ctype: type of its elements; the smallest that holds them if not given.
        """
        ctype = ctype or smallest_type(int(values.min()), int(values.max()))
        self.constant_bytes += values.size * TYPE_BYTES[ctype]
        axes = "".join(f"[{length}]" for length in values.shape)
        rows = (
            ["{" + ",".join(map(str, row)) + "}" for row in values.tolist()]
            if (values.ndim == 2)
            else list(map(str, values.tolist()))
        )
        body = "\n".join(f"    {line}," for line in _lines(rows))
        return f"static const {ctype} {name}{axes} = {{\n{body.rstrip(',')}\n}};"

    def state(self, name: str, ctype: str, length: int | str, number: int | None = None) -> str:
        """Return the definition of an array that changes.

        Args:
            name: its identifier.
            ctype: type of its elements.
            length: its length, as a number or in C.
            number: its length where that is said in C.
        """
        count = number if number is not None else int(length)
        self.state_bytes += count * TYPE_BYTES[ctype]
        return f"static {ctype} {name}[{length}];"


def _lines(words: list[str]) -> Iterator[str]:
    for start in range(0, len(words), _NUMBERS_A_LINE):
        yield ",".join(words[start : start + _NUMBERS_A_LINE])
