"""What a report says, as plain data; the template knows how it looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

#: How a verdict is meant: all is well, something is wrong, or neither.
Tone = Literal["good", "bad", "neutral"]


@dataclass(frozen=True)
class Verdict:
    """What it comes down to, in a line.

    Attributes:
        tone: how it is meant.
        text: the line.
    """

    tone: Tone
    text: str


@dataclass(frozen=True)
class Figure:
    """A number that is shown large.

    Attributes:
        value: with its unit.
        label: what it is.
    """

    value: str
    label: str


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what stands in it.
        share: 0 to 1, how strongly it is shaded.
        is_hit: whether its shade says that something is right.
    """

    text: str
    share: float = 0.0
    is_hit: bool = False


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row is its header.

    Attributes:
        caption: what it shows.
        columns: names of the columns.
        rows: as many cells each.
        numbers: indices of the columns that hold numbers, which stand to the right.
        note: what has to be said about it, or "".
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numbers: frozenset[int] = frozenset()
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture of lines and areas.

    Attributes:
        svg: an element of SVG with a title and a description, as ``svg.svg_of`` makes it.
        caption: what it shows, and by which rule something was left out.
    """

    svg: str
    caption: str


@dataclass(frozen=True)
class Sample:
    """A sample as a small image.

    Attributes:
        png: a data URI.
        text_instead: what a reader without eyes is told.
        caption: what became of it.
        is_strip: whether it is a row of values, and no image.
    """

    png: str
    text_instead: str
    caption: str
    is_strip: bool = False


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        key: its id, letters and hyphens.
        title: its heading.
        texts: paragraphs.
        warnings: paragraphs that ask for attention.
        tables: tables.
        pictures: pictures.
        samples: images of samples.
    """

    key: str
    title: str
    texts: Sequence[str] = ()
    warnings: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    samples: Sequence[Sample] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to say."""
        return not (self.texts or self.warnings or self.tables or self.pictures or self.samples)


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: what was looked at.
        command: what made it.
        verdicts: what it comes down to, the most important first.
        figures: numbers that are shown large.
        sections: its parts; those that are empty are left out.
    """

    title: str
    command: str
    verdicts: Sequence[Verdict]
    figures: Sequence[Figure] = ()
    sections: Sequence[Section] = field(default_factory=tuple)


def cells(*texts: object) -> tuple[Cell, ...]:
    """Return a row of cells."""
    return tuple(Cell("" if text is None else str(text)) for text in texts)
