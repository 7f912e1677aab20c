"""What was found of a network that is to be converted, and what was made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from tandem_hw.conversion.layer_reader import SUPPORTED
from tandem_hw.conversion.preparation.output_difference import OutputDifference
from tandem_hw.html_table import html_table
from tandem_hw.plain_text import plain

Outcome = Literal["kept", "swapped", "left out", "refused"]
_COLUMNS = ("layer", "before", "outcome", "after")


@dataclass(frozen=True)
class Step:
    """A layer or operation of the network, in the order of its forward pass.

    Attributes:
        path: its name in the network.
        before: what it is.
        outcome: what is done with it.
        after: what it becomes, or nothing.
        remark: what that changes, or nothing.
    """

    path: str
    before: str
    outcome: Outcome
    after: str = ""
    remark: str = ""

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """The row of a table."""
        return (plain(self.path), plain(self.before), self.outcome, plain(self.after))


@dataclass(frozen=True)
class Preparation:
    """What it takes to convert a network.

    Attributes:
        network: a copy of the given network with its swaps made, which keep all weights; the given
            one is left as it is.
        options: what ``tandem_hw.convert`` is to be called with besides.
        steps: every layer in the order of the forward pass, and every operation that is refused.
        refusals: why the network cannot be converted as it is now, all of it; empty where it can.
        difference: how far the results of ``network`` are from those of the given network, both as
            ordinary PyTorch; None where they could not be compared.
    """

    network: nn.Module
    options: dict[str, Any]
    steps: tuple[Step, ...]
    refusals: tuple[str, ...] = ()
    difference: OutputDifference | None = field(default=None)

    @property
    def can_be_converted(self) -> bool:
        """Whether ``convert(preparation.network, **preparation.options)`` works."""
        return not self.refusals

    @property
    def verdict(self) -> str:
        """The result in a line."""
        swapped = sum(step.outcome in ("swapped", "left out") for step in self.steps)
        count = f"{len(self.steps)} layers and operations, {swapped} swapped"
        if self.can_be_converted:
            return f"can be converted: {count}"
        return f"cannot be converted yet: {count}, {len(self.refusals)} refused"

    def _further(self) -> list[str]:
        """Return the lines below the table."""
        lines = [
            f"{plain(step.path)}: {step.outcome}, {step.remark}"
            for step in self.steps
            if step.remark
        ]
        lines += [f"- {plain(text.replace(_SUPPORTED, ''))}" for text in self.refusals]
        if any(_SUPPORTED in text for text in self.refusals):
            lines.append(f"supported are {SUPPORTED}")
        compared = "the outputs before and after could not be compared"
        lines.append(compared if self.difference is None else str(self.difference))
        if self.can_be_converted:
            options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
            lines.append(f"next: tandem_hw.convert(preparation.network, {options})")
        return lines

    def __str__(self) -> str:
        """Return the table and what goes with it as plain text."""
        rows = [_COLUMNS, *(step.cells for step in self.steps)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
        table = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([self.verdict, *table, *self._further()])

    def _repr_html_(self) -> str:
        rows = [step.cells for step in self.steps]
        lines = [(line,) for line in self._further()]
        return html_table(self.verdict, _COLUMNS, rows) + html_table(
            "", ("what that means",), lines
        )


_SUPPORTED = f"; supported are {SUPPORTED}"
