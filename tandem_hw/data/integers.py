"""The integers of many samples: in memory, or in a file where they are more than that may hold."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from tandem_hw.data.dataset import Dataset, Images
from tandem_hw.data.large_samples import are_large, in_unnamed_file
from tandem_hw.errors import DataError
from tandem_hw.network.quantized import InputSpec
from tandem_hw.user_warnings import InputWarning

#: Integers, a byte each, that are made at a time where they go into a file.
_PART: Final = 1 << 26


def integers_of(dataset: Dataset, samples: Images, spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Return samples as the integers that a fitting network takes, as ``Dataset.integers`` does.

    A GiB and more of them lie in a file (``tandem_hw.data.large_samples``).

    Args:
        dataset: where the samples come from; it has checked that they fit.
        samples: some of them; they may be in a file as well.
        spec: what the network takes.

    Returns:
        uint8 [samples, ...].

    Raises:
        DataError: the folder for temporary files has no room for them, or cannot be written to.
    """
    if not are_large(samples.size):
        return dataset.integers(samples, spec)
    rows = max(1, _PART * len(samples) // samples.size)
    held = in_unnamed_file(
        _parts(dataset, samples, spec, rows),
        samples.shape,
        f"{dataset.name}: {samples.size} bytes of integers",
        "give fewer samples",
    )
    return held.view(np.ndarray)


def _parts(dataset: Dataset, samples: Images, spec: InputSpec, rows: int) -> Iterator[memoryview]:
    """Yield the integers of some samples after the others."""
    for start in range(0, len(samples), rows):
        with warnings.catch_warnings():
            # Some of many samples may well be dark; that all are has been looked at.
            warnings.simplefilter("ignore", InputWarning)
            part = dataset.integers(samples[start : start + rows], spec)
        yield np.ascontiguousarray(part).data


def training_integers(
    dataset: Dataset, spec: InputSpec, num_steps: int, count: int
) -> npt.NDArray[np.uint8]:
    """Return training samples from all over the training part, which may be sorted by class.

    Args:
        dataset: where they come from.
        spec: what the network takes.
        num_steps: length T of its window.
        count: how many, or fewer where there are no more.

    Returns:
        uint8 [samples, ...].

    Raises:
        DataError: the data do not fit the network, or have no training part.
    """
    dataset.check_fit(spec, num_steps)
    found = len(dataset.x_train)
    if not found:
        raise DataError(f"{dataset.name}: has no training samples to measure with")
    chosen = np.linspace(0, found - 1, min(count, found)).astype(np.int64)
    return dataset.integers(dataset.x_train[chosen], spec)
