"""Data sets of images and of features: scikit-learn's, torchvision's, and npz files."""

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
    check_targets,
    count_classes,
    read_arrays,
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


def load_npz(path: Path, need: Need, *, name: str) -> ImageDataset:
    """Load images, and labels or targets, from an npz file (``load_dataset`` says which arrays).

    Args:
        path: the file.
        need: "test" leaves the training part out, and the file need not have one; test images that
            are large then stay in the file (``NpzFile.read``).
        name: the spec.

    Raises:
        DataError: the file cannot be read, or an array does not fit.
    """
    train_names = ["x_train", "y_train"] if need == "all" else []
    # A test alone goes through the samples part by part.
    left_in_file = ["x_test"] if need == "test" else []
    names = [*train_names, "x_test", "y_test"]
    arrays = read_arrays(path, names, optional=["y_train"], left_in_file=left_in_file)
    parts: dict[str, tuple[Images, npt.NDArray[Any]]] = {}
    for part in ("train", "test") if need == "all" else ("test",):
        images = check_samples(arrays[f"x_{part}"], path, f"x_{part}")
        check = check_targets if arrays[f"y_{part}"].dtype.kind == "f" else check_labels
        parts[part] = images, check(arrays[f"y_{part}"], len(images), path, f"y_{part}")
    x_test, y_test = parts["test"]
    x_train, y_train = parts.get("train", (x_test[:0], y_test[:0]))
    if x_train.shape[1:] != x_test.shape[1:] or x_train.dtype != x_test.dtype:
        raise DataError(
            f"{path}: x_train has samples {x_train.shape[1:]} of {x_train.dtype}, x_test "
            f"{x_test.shape[1:]} of {x_test.dtype}; they must be alike"
        )
    if y_train.dtype != y_test.dtype or y_train.shape[1:] != y_test.shape[1:]:
        raise DataError(
            f"{path}: y_train is {y_train.dtype} {y_train.shape}, y_test {y_test.dtype} "
            f"{y_test.shape}; both hold labels, or targets with as many values a sample"
        )
    # The numbers of the file say what they are; from here on their type does.
    if y_test.dtype.kind == "f":
        return ImageDataset(name, x_train, Targets(y_train), x_test, Targets(y_test))
    classes = count_classes(arrays, path)
    return ImageDataset(name, x_train, Labels(y_train, classes), x_test, Labels(y_test, classes))
