"""Samples that are read when they are asked for, and never all of them together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tandem_hw.data.large_samples import are_large


class SampleSource(Protocol):
    """What samples are read from.

    Attributes:
        shape: [N, ...], of all samples.
        dtype: uint8, float32 or float64.
        workers: processes that read ahead in a training; 0 for none.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of all samples."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the data type of a value."""

    @property
    def workers(self) -> int:
        """Return how many processes read ahead."""

    def read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return some samples.

        Args:
            rows: which ones, [batch].
        """


class StreamedSamples:
    """Samples [N, ...] in a source: their shape is known, and a choice of them reads nothing.

    ``numpy.asarray`` reads what is chosen; so does the index of a single sample.
    """

    def __init__(self, source: SampleSource, rows: npt.NDArray[np.int64] | None = None) -> None:
        """Choose samples.

        Args:
            source: what they are read from.
            rows: which ones, in this order; all by default.
        """
        self.source = source
        self.rows = np.arange(source.shape[0]) if rows is None else rows

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all samples together."""
        return (len(self.rows), *self.source.shape[1:])

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.source.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of a value."""
        return self.source.dtype

    @property
    def workers(self) -> int:
        """Processes that read ahead in a training."""
        return self.source.workers

    def __getitem__(self, chosen: Any) -> Any:
        """Return a choice of samples, or, by its number, a single sample as an array."""
        rows = self.rows[chosen]
        if np.ndim(rows):
            return StreamedSamples(self.source, rows)
        return self.source.read(np.array([rows]))[0]

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        """Read the samples."""
        if not len(self.rows):
            return np.empty(self.shape, dtype or self.dtype)
        return self.source.read(self.rows).astype(dtype or self.dtype, copy=False)

    def __repr__(self) -> str:
        """Name shape and source."""
        return f"StreamedSamples({type(self.source).__name__}, shape={self.shape}, {self.dtype})"


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Samples in an array that lies in a file.

    Attributes:
        array: [N, ...], a ``numpy.memmap`` or a view of one.
        workers: none; the system reads ahead.
    """

    array: npt.NDArray[Any]
    workers: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all samples."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of a value."""
        return self.array.dtype

    def read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return some samples, in memory.

        Args:
            rows: which ones, [batch].
        """
        return np.ascontiguousarray(self.array[rows])


def streamed_if_large(samples: npt.NDArray[Any]) -> Any:
    """Return samples to be read part by part, where they are many and lie in a file.

    Args:
        samples: [N, ...].

    Returns:
        ``StreamedSamples``, or the array itself.
    """
    if isinstance(samples, np.memmap) and are_large(samples.nbytes):
        return StreamedSamples(ArraySource(samples))
    return samples
