"""Data sets of images and of features by name: scikit-learn's and torchvision's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.data.catalogue import DIABETES, DIGITS, TORCHVISION
from tandem_hw.data.dataset import ImageDataset, Images, Labels, Need, Targets
from tandem_hw.data.npz_arrays import (
    LabelArray,
    check_labels,
)
from tandem_hw.data.own.layouts import check_samples
from tandem_hw.data.splits import split_validation
from tandem_hw.errors import DataError, how_to_install

#: Share of scikit-learn's data that is tested on.
_TEST_FRACTION: Final = 0.2
_DIABETES_LARGEST: Final = 346.0


def load_digits(need: Need) -> ImageDataset:
    """Load scikit-learn's images of 8x8 pixels, [N, 1, 8, 8]."""
    images, y, train, test = read_digits()
    x = (images / 16).astype(np.float32)[:, np.newaxis]
    if need == "test":
        train = train[:0]
    labels = Labels(y, classes=10)
    return ImageDataset(DIGITS, x[train], labels[train], x[test], labels[test])


def load_diabetes(need: Need) -> ImageDataset:
    """Load a regression: ten measurements, and how far a disease has got a year later."""
    from sklearn import datasets  # takes a second to import

    features, progression = datasets.load_diabetes(return_X_y=True, scaled=False)
    least, largest = features.min(axis=0), features.max(axis=0)
    x = ((features - least) / (largest - least)).astype(np.float32)
    y = (progression / _DIABETES_LARGEST).astype(np.float32)
    train, test = split_validation(len(y), np.zeros(len(y), int), _TEST_FRACTION, seed=0)
    if need == "test":
        train = train[:0]
    targets = Targets(y)
    return ImageDataset(DIABETES, x[train], targets[train], x[test], targets[test])


def read_digits() -> tuple[npt.NDArray[Any], LabelArray, LabelArray, LabelArray]:
    """Return scikit-learn's digits and how they are split, by the digit.

    Returns:
        Images [1797, 8, 8] of whole numbers 0 to 16, their labels, and the int64 indices of the
        training and of the test samples.
    """
    from sklearn import datasets  # takes a second to import

    images, labels = datasets.load_digits(return_X_y=True)
    y = labels.astype(np.int64)
    train, test = split_validation(len(y), y, _TEST_FRACTION, seed=0)
    return images.reshape(-1, 8, 8), y, train, test


def load_torchvision(spec: str, need: Need, folder: Path) -> ImageDataset:
    """Load a data set of torchvision's, downloaded once.

    Args:
        spec: a key of ``TORCHVISION``.
        need: "test" leaves the training part out.
        folder: where downloads are kept.

    Raises:
        DataError: torchvision is missing, or the data cannot be had.
    """
    try:
        from torchvision import datasets
    # A torchvision that does not match the installed torch raises RuntimeError.
    except (ImportError, RuntimeError) as error:
        raise DataError(
            f'data set "{spec}" needs torchvision, which cannot be imported ({error}): '
            f"{how_to_install('vision')}"
        ) from error
    name, _ = TORCHVISION[spec]
    source = getattr(datasets, name)
    test = _from_torchvision(spec, source, folder, train=False)
    if need == "test":
        train = test[0][:0], test[1][:0]
    else:
        train = _from_torchvision(spec, source, folder, train=True)
    return ImageDataset(spec, *train, *test)


def _from_torchvision(
    spec: str, source: Callable[..., Any], folder: Path, train: bool
) -> tuple[Images, Labels]:
    try:
        part = source(str(folder), train=train, download=True)
        images, labels = np.asarray(part.data), np.asarray(part.targets)
    except Exception as error:  # of whatever class, from a download or from damaged files
        raise DataError(
            f'data set "{spec}" could not be downloaded to {folder} or read from there ({error}); '
            f"without a connection, put the data into an npz file and give npz:PATH"
        ) from error
    checked = check_samples(images, spec, "images")
    _, classes = TORCHVISION[spec]
    return checked, Labels(check_labels(labels, len(images), spec, "labels"), classes)
