"""Numbers with what they count, for messages: one sample, two samples."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number and what it counts, in the singular where it is 1.

    Args:
        number: how many.
        one: what one of them is called, such as "sample"; a verb may follow.
        many: what several are called, where that is not ``one`` with an s.
    """
    return f"{number} {one if number == 1 else many or f'{one}s'}"
