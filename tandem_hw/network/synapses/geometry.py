"""The geometry of convolutions: how many positions they give, and which positions meet.

Everything is said axis by axis, (y, x) or (l,), and follows ``torch.nn.Conv2d``, ``Conv1d`` and
``ConvTranspose2d``. Whoever takes a geometry checks that it suits (``convolutions.Convolution``).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

Shape = tuple[int, ...]
#: Limits on what a damaged or hostile file can ask a simulator for: a length, stride or other
#: number of an axis, and the values of a shape. They are far above any chip.
LENGTH_MAX: Final = 1 << 24
VALUES_MAX: Final = 1 << 28
#: The numbers that are given for each axis, with the least that they can be, which is what is plain
#: and goes without saying.
LEAST: Final = {"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
#: Output positions and the input positions that they meet, int64, one to one.
Meetings = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Geometry:
    """Geometry of a convolution, one number an axis.

    Attributes:
        stride: at least 1.
        padding: zeros on either side, at least 0.
        dilation: at least 1.
        groups: both channel counts are divisible by it.
    """

    stride: Shape = (1, 1)
    padding: Shape = (0, 0)
    dilation: Shape = (1, 1)
    groups: int = 1

    @classmethod
    def axis_names(cls) -> tuple[str, ...]:
        """Return the names of the fields that have a number for each axis."""
        return tuple(entry.name for entry in fields(cls) if entry.name != "groups")

    def output_lengths(self, lengths: Sequence[int], kernel: Sequence[int]) -> Shape:
        """Return the lengths that go out, below 1 where the kernel is too large.

        Args:
            lengths: of what comes in, without its channels.
            kernel: lengths of the kernel.
        """
        return tuple(
            self._output_length(axis, length, size)
            for axis, (length, size) in enumerate(zip(lengths, kernel, strict=True))
        )

    def meetings(self, axis: int, length: int, kernel: int) -> list[Meetings]:
        """Return which output positions meet which input positions along one axis.

        Args:
            axis: spatial axis, from 0.
            length: of what comes in.
            kernel: length of the kernel.

        Returns:
            For each place of the kernel the pairs that it joins; what meets padding is left out.
        """
        outputs = np.arange(self._output_length(axis, length, kernel), dtype=np.int64)
        starts = outputs * self.stride[axis] - self.padding[axis]
        places = [starts + place * self.dilation[axis] for place in range(kernel)]
        return [_inside(outputs, inputs, length) for inputs in places]

    def _output_length(self, axis: int, length: int, kernel: int) -> int:
        padded = length + 2 * self.padding[axis]
        return (padded - self._reach(axis, kernel)) // self.stride[axis] + 1

    def _reach(self, axis: int, kernel: int) -> int:
        return self.dilation[axis] * (kernel - 1) + 1


@dataclass(frozen=True)
class TransposedGeometry(Geometry):
    """Geometry of a transposed convolution, in which inputs and outputs change their parts.

    Attributes:
        output_padding: outputs that are added at the end, less than the stride or the dilation.
    """

    output_padding: Shape = (0, 0)

    @property
    def adds_too_much(self) -> bool:
        """Whether ``output_padding`` is neither below the stride nor below the dilation."""
        limits = map(max, self.stride, self.dilation)
        return any(map(operator.ge, self.output_padding, limits))

    def meetings(self, axis: int, length: int, kernel: int) -> list[Meetings]:
        """Return which output positions meet which input positions; see ``Geometry``."""
        inputs = np.arange(length, dtype=np.int64)
        starts = inputs * self.stride[axis] - self.padding[axis]
        places = [starts + place * self.dilation[axis] for place in range(kernel)]
        size = self._output_length(axis, length, kernel)
        return [_inside(inputs, outputs, size)[::-1] for outputs in places]

    def _output_length(self, axis: int, length: int, kernel: int) -> int:
        spread = (length - 1) * self.stride[axis] - 2 * self.padding[axis]
        return spread + self._reach(axis, kernel) + self.output_padding[axis]


SomeGeometry = TypeVar("SomeGeometry", bound=Geometry)


def row_geometry(geometry: SomeGeometry) -> SomeGeometry:
    """Return the geometry of one axis as that of an image of one row."""
    rows: dict[str, Any] = {
        name: (LEAST[name], *getattr(geometry, name)) for name in geometry.axis_names()
    }
    return replace(geometry, **rows)


def _inside(given: npt.NDArray[np.int64], reached: npt.NDArray[np.int64], length: int) -> Meetings:
    """Leave out the pairs whose reached position is none."""
    inside = (reached >= 0) & (reached < length)
    return given[inside], reached[inside]
