"""The split that validation data, and the test data of sets without a test part, come from."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import DataError
from tandem_hw.ranges import SEEDS, SHARE, whole_number


def split_validation(
    n: int, labels: npt.NDArray[Any], fraction: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Choose validation samples, every class in proportion.

    round(n * fraction) samples are chosen; what the classes' rounded-down shares leave over goes to
    the largest remainders. A class keeps at least one sample for training.

    Args:
        n: number of samples.
        labels: integer labels [n].
        fraction: share of the samples, 0 or more and less than 1.
        seed: 0 to 2^32 - 1; the same seed gives the same split on every machine.

    Returns:
        Indices of the training samples and of the validation samples, int64, ascending.

    Raises:
        DataError: an argument is out of range, or the labels are not n integers.
    """
    if fraction not in SHARE:
        raise DataError(f"validation fraction is {fraction}; allowed are 0 and more, below 1")
    whole_number("seed", seed, SEEDS, DataError)
    labels = np.asarray(labels)
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise DataError(f"labels are {labels.dtype} {labels.shape}; {n} integers are needed")
    _, class_of, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    shares = _validation_shares(sizes, n, fraction)
    # RandomState's stream is frozen for good; that of NumPy's newer Generator may change.
    order = np.random.RandomState(seed).permutation(n)
    chosen = np.zeros(n, dtype=bool)
    for index, share in enumerate(shares):
        chosen[order[class_of[order] == index][:share]] = True
    return np.flatnonzero(~chosen).astype(np.int64), np.flatnonzero(chosen).astype(np.int64)


def _validation_shares(sizes: npt.NDArray[Any], n: int, fraction: float) -> npt.NDArray[np.int64]:
    """Return how many samples of each class are chosen."""
    exact = sizes * fraction
    shares: npt.NDArray[np.int64] = np.floor(exact).astype(np.int64)
    missing = round(n * fraction) - int(shares.sum())
    by_remainder = np.argsort(shares - exact, kind="stable")
    growing = [index for index in by_remainder if sizes[index] - shares[index] > 1][:missing]
    shares[growing] += 1
    return shares
