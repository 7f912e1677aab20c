"""Who fired when, in as many rows and columns as there is room for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Raster:
    """Spikes of a layer, neurons and steps put together where there are too many.

    Attributes:
        shares: float64 [rows, columns]: of the neurons of a row, times the steps of a column, the
            share that fired; 0 or 1 where a cell is one neuron in one step.
        neurons: the first neuron of each row, and behind them the number of all; flat indices.
        steps: the first step of each column from 0, and behind them the number of all.
    """

    shares: npt.NDArray[np.float64]
    neurons: tuple[int, ...]
    steps: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        """Whether each cell is one neuron in one step."""
        return self.shares.shape == (self.neurons[-1], self.steps[-1])

    @property
    def cell_words(self) -> str:
        """What a cell is, for a caption."""
        rows, columns = self.shares.shape
        many = -(-self.neurons[-1] // rows), -(-self.steps[-1] // columns)
        words = [
            f"up to {number} {what}s" if number > 1 else f"one {what}"
            for number, what in zip(many, ("neuron", "step"), strict=True)
        ]
        return f"{words[0]} in {words[1]}"


def raster_of(spikes: npt.NDArray[np.int8], rows: int, columns: int) -> Raster:
    """Put neighbouring neurons and steps together, so that no more rows and columns are left.

    Args:
        spikes: int8 [steps, *shape], 0 or 1.
        rows: the most rows, 1 or more.
        columns: the most columns, 1 or more.
    """
    flat = spikes.reshape(len(spikes), -1).T != 0
    neurons, steps = _starts(flat.shape[0], rows), _starts(flat.shape[1], columns)
    sums = np.add.reduceat(np.add.reduceat(flat.astype(np.float64), neurons, axis=0), steps, axis=1)
    ends = [*neurons, flat.shape[0]], [*steps, flat.shape[1]]
    sizes = np.outer(*(np.diff(end) for end in ends))
    return Raster(sums / sizes, tuple(ends[0]), tuple(ends[1]))


def _starts(number: int, most: int) -> list[int]:
    """Part so many things into groups of one size, the last one perhaps smaller."""
    return list(range(0, number, max(1, -(-number // most))))
