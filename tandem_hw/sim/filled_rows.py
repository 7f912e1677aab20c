"""An array of all samples that is filled batch by batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class FilledRows:
    """An array that is made once and filled from its first row on.

    A list of batches would take the memory twice as it is joined, and till then lie in pieces
    between what each batch needs and frees.

    Attributes:
        samples: rows that there will be.
    """

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self._array: npt.NDArray[Any] | None = None
        self._filled = 0

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Take in the next rows.

        Args:
            rows: [rows, ...]; shape of a row and data type are those of the first that come.
        """
        if self._array is None:
            self._array = np.empty((self.samples, *rows.shape[1:]), rows.dtype)
        assert rows.dtype == self._array.dtype
        self._array[self._filled : self._filled + len(rows)] = rows
        self._filled += len(rows)

    @property
    def array(self) -> npt.NDArray[Any]:
        """What has been filled, one row at least; the rest would show what was in memory before."""
        assert self._array is not None
        return self._array[: self._filled]
