"""Ranges that numbers must lie in: each is a constant, asked by whatever takes such a number.

The limits of the chip's number formats are in ``tandem_hw.network.fixed_point``; here is how a
range is asked, and what is allowed of numbers anywhere. The command line makes its options from the
same constants.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any, Final

from tandem_hw.errors import TandemError

#: Seeds that NumPy's RandomState takes.
SEEDS: Final = range(1 << 32)


def whole_number(name: str, value: Any, allowed: range, error: type[TandemError]) -> int:
    """Return a number as Python's integer.

    Args:
        name: what the number is called in the message.
        value: a whole number of any type, Python's or NumPy's.
        allowed: where it must lie.
        error: what is raised.

    Raises:
        TandemError: of class ``error``: it is no whole number, or out of range.
    """
    try:
        number = operator.index(value)
    except TypeError as reason:
        raise error(f"{_out_of(name, repr(value), allowed)}, as a whole number") from reason
    if number not in allowed:
        raise error(_out_of(name, str(number), allowed))
    return number


def _out_of(name: str, shown: str, allowed: range) -> str:
    return f"{name} is {shown}; allowed are {allowed[0]} to {allowed[-1]}"


@dataclass(frozen=True)
class RealRange:
    """An interval of real numbers; what is not a number is in none.

    Attributes:
        words: what may be given, for messages.
        least: its lower end.
        most: its upper end.
        without_least: whether the lower end is left out.
        without_most: whether the upper end is left out.
    """

    words: str
    least: float
    most: float
    without_least: bool = False
    without_most: bool = False

    def __contains__(self, value: float) -> bool:
        """Whether a number lies in the interval."""
        above = self.least < value if self.without_least else self.least <= value
        below = value < self.most if self.without_most else value <= self.most
        return above and below

    def check(self, name: str, value: float, error: type[TandemError]) -> None:
        """Refuse a number outside of the interval.

        Args:
            name: what the number is called in the message.
            value: any real number.
            error: what is raised.

        Raises:
            TandemError: of class ``error``: the number is not in the interval.
        """
        if value not in self:
            raise error(f"{name} is {value}; give {self.words}")


SHARE: Final = RealRange("a share from 0 to below 1", 0, 1, without_most=True)
POSITIVE: Final = RealRange("a positive number", 0, math.inf, without_least=True, without_most=True)
NOT_NEGATIVE: Final = RealRange("zero or a positive number", 0, math.inf, without_most=True)
