"""Widths of weights, one for all layers or one for each; without PyTorch.

At the command line: ``8``, or ``8,4,4,8`` for the layers with weights in order, or by name
``conv1=8,dense5=8,others=4``; layers that are not named have 8 bits, or those of ``others``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tandem_hw.errors import ConversionError
from tandem_hw.network.fixed_point import WEIGHT_BITS_RANGE
from tandem_hw.ranges import whole_number

#: For all layers, for each layer with weights in order, or by the name of a layer.
WeightBits = int | Sequence[int] | Mapping[str, int]
#: Stands for the layers that are not named.
OTHERS: Final = "others"
WIDEST: Final = WEIGHT_BITS_RANGE[-1]


def parse_widths(text: str) -> WeightBits:
    """Return widths as the command line has them.

    Args:
        text: a number, numbers, or names with numbers, with commas between them.

    Raises:
        ConversionError: it is none of these, or a number is out of range.
    """
    entries = [entry.partition("=") for entry in text.split(",")]
    named = [bool(sign) for _, sign, _ in entries]
    numbers = [number.strip() if sign else name.strip() for name, sign, number in entries]
    names = [name.strip() for name, _, _ in entries]
    if any(named) != all(named) or not all(number.isdecimal() for number in numbers):
        raise ConversionError(
            f'weight_bits is "{text}"; give one number, as many as there are layers with weights '
            f"(8,4,8), or names of layers (conv1=8,{OTHERS}=4)"
        )
    if not named[0]:
        widths = tuple(map(int, numbers))
        return check_widths(widths[0] if len(widths) == 1 else widths)
    if len(set(names)) < len(names):
        raise ConversionError(f'weight_bits is "{text}", which names a layer twice')
    return check_widths(dict(zip(names, map(int, numbers), strict=True)))


def check_widths(widths: Any) -> WeightBits:
    """Return widths of whose numbers each is in range.

    Raises:
        ConversionError: names the first one that is not.
    """
    if isinstance(widths, Mapping):
        return {
            name: whole_number(f"weight_bits of {name}", bits, WEIGHT_BITS_RANGE, ConversionError)
            for name, bits in widths.items()
        }
    if isinstance(widths, Sequence) and not isinstance(widths, str):
        return tuple(
            whole_number(f"weight_bits of layer {number}", bits, WEIGHT_BITS_RANGE, ConversionError)
            for number, bits in enumerate(widths, start=1)
        )
    return whole_number("weight_bits", widths, WEIGHT_BITS_RANGE, ConversionError)


def common_width(widths: Any) -> int:
    """Return the width of layers that have none of their own.

    Args:
        widths: ``WeightBits``.

    Raises:
        ConversionError: a number is out of range.
    """
    widths = check_widths(widths)
    if isinstance(widths, int):
        return widths
    return widths.get(OTHERS, WIDEST) if isinstance(widths, Mapping) else WIDEST
