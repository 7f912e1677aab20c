"""Tables that fit a terminal: every number stays whole, texts go on in a further line.

rich takes from the widest columns until a table fits, through numbers and words. Here a column is
never narrower than its longest word, a number being one, and only names are folded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.table import Column, Table

#: Characters between two columns of a table that does not fit otherwise, the wider one first.
_GAPS: Final = (2, 1)
#: Characters that are left of a name that is folded, at least.
_LEAST_OF_A_NAME: Final = 6
#: Wide enough for every table.
_ANY_WIDTH: Final = 1 << 16


def fit(table: Table, options: ConsoleOptions) -> int:
    """Make a table as narrow as a console, where it is wider; numbers stay whole.

    Args:
        table: columns of numbers are justified to the right; it is changed.
        options: how it is shown.

    Returns:
        Its width in characters, which is more than the console's only where numbers and headers
        alone take more.
    """
    if natural_width(table) <= options.max_width:
        return options.max_width
    columns = table.columns
    least = [_longest_word(column) for column in columns]
    wanted = [max(map(_longest_line, _texts(column))) for column in columns]
    gap = next(
        (gap for gap in _GAPS if _total(least, gap) <= options.max_width),
        _GAPS[-1],
    )
    widths = list(least)
    _fold_names(widths, columns, _total(widths, gap) - options.max_width)
    _widen(widths, wanted, columns, options.max_width - _total(widths, gap))
    table.box, table.show_edge, table.pad_edge = box.SIMPLE_HEAD, False, False
    table.padding = (0, gap - 1, 0, 0)
    for column, width in zip(columns, widths, strict=True):
        column.width, column.overflow = width, "fold"
    return max(options.max_width, _total(widths, gap))


def natural_width(table: Table) -> int:
    """Return how many characters a table takes where there is room enough."""
    # Without a height, rich takes 80 characters for the width where TERM is "dumb".
    wide = Console(width=_ANY_WIDTH, height=1)
    return Measurement.get(wide, wide.options, table).maximum


def _texts(column: Column) -> list[str]:
    return [str(text) for text in (column.header, *column.cells)]


def _longest_line(text: str) -> int:
    return max(map(cell_len, text.split("\n")))


def _longest_word(column: Column) -> int:
    return max(cell_len(word) for text in _texts(column) for word in text.split() or [""])


def _total(widths: Sequence[int], gap: int) -> int:
    return sum(widths) + gap * (len(widths) - 1) + (gap - 1)


def _fold_names(widths: list[int], columns: Sequence[Column], excess: int) -> None:
    """Take what is too much from the columns of names, character by character from the widest."""
    for _ in range(excess):
        able = [
            index
            for index, column in enumerate(columns)
            if column.justify != "right" and widths[index] > _LEAST_OF_A_NAME
        ]
        if not able:
            return
        widths[max(able, key=lambda index: widths[index])] -= 1


def _widen(widths: list[int], wanted: Sequence[int], columns: Sequence[Column], spare: int) -> None:
    """Give what is left to columns of numbers, and then to the texts that lack most."""
    for _ in range(spare):
        lacking = [index for index, width in enumerate(widths) if width < wanted[index]]
        if not lacking:
            return
        numbers = [index for index in lacking if columns[index].justify == "right"]
        widths[max(numbers or lacking, key=lambda index: wanted[index] - widths[index])] += 1
