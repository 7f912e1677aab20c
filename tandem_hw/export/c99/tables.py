"""Where the spikes of an image go: along each axis a row of outputs for every input position.

An input position reaches outputs through some places of the kernel. Along one axis they are a
progression: with the places in the right order, an output, one a fixed number of positions further,
and so on, through places that follow each other. So three small numbers a position are enough, with
any stride, padding and dilation, transposed or not. The order is found from the positions that meet
(``Geometry.meetings``), which are defined once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tandem_hw.network.synapses.geometry import Meetings


@dataclass(frozen=True)
class AxisTable:
    """Which outputs the positions of one axis reach.

    Attributes:
        order: places of the kernel in the order in which they are stored.
        rows: int64 [positions, 3]: the first output that a position reaches, where the place that
            leads there is stored, and through how many places, from there on, it reaches outputs.
        stride: outputs from one of them to the next.
    """

    order: tuple[int, ...]
    rows: npt.NDArray[np.int64]
    stride: int


def axis_table(meetings: Sequence[Meetings], length: int) -> AxisTable:
    """Return the table of one axis.

    Args:
        meetings: as ``Geometry.meetings`` gives them, for each place of the kernel.
        length: positions of what comes in.
    """
    reached: list[list[tuple[int, int]]] = [[] for _ in range(length)]
    for place, (outputs, inputs) in enumerate(meetings):
        for output, position in zip(outputs.tolist(), inputs.tolist(), strict=True):
            reached[position].append((output, place))
    after: dict[int, int] = {}
    strides: set[int] = set()
    for pairs in reached:
        pairs.sort()
        for (output, place), (next_output, next_place) in pairwise(pairs):
            assert after.setdefault(place, next_place) == next_place
            strides.add(next_output - output)
    assert len(strides) <= 1
    order = _chained(after, len(meetings))
    stored = {place: index for index, place in enumerate(order)}
    rows = [
        (pairs[0][0], stored[pairs[0][1]], len(pairs)) if pairs else (0, 0, 0) for pairs in reached
    ]
    return AxisTable(order, np.array(rows, dtype=np.int64), strides.pop() if strides else 1)


def _chained(after: dict[int, int], places: int) -> tuple[int, ...]:
    """Return all places so that each is followed by the one that comes after it."""
    order: list[int] = []
    followers = set(after.values())
    for first in range(places):
        place: int | None = None if first in followers else first
        while place is not None:
            order.append(place)
            place = after.get(place)
    assert len(order) == places
    return tuple(order)
