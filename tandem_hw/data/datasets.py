"""Data sets by name or from a file, and the split that validation data come from."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from tandem_hw.data.catalogue import (
    DIABETES,
    DIGITS,
    EVENTS_PREFIX,
    KNOWN_SPECS,
    MOVING_DIGITS,
    NPZ_PREFIX,
    TONIC,
    TORCHVISION,
    downloads,
    path_in,
)
from tandem_hw.data.npz_arrays import (
    READ_ERRORS,
    Labels,
    check_labels,
    check_targets,
    count_classes,
    read_arrays,
)
from tandem_hw.errors import DataError
from tandem_hw.network.inputs import check_brightness, quantize_inputs
from tandem_hw.network.quantized import InputSpec

Images = npt.NDArray[np.uint8] | npt.NDArray[np.float32] | npt.NDArray[np.float64]
Targets = npt.NDArray[np.float32]
Need = Literal["all", "test"]

_DIGITS_TEST_FRACTION: Final = 0.2
_DIABETES_LARGEST: Final = 346.0
#: Numbers of channels by which the axis order of four-dimensional images is told.
_CHANNELS: Final = range(1, 5)


@dataclass(frozen=True, eq=False)
class Dataset(ABC):
    """Samples and their labels, in two parts.

    Attributes:
        name: the spec that it was loaded by.
        x_train: samples [N, ...], as the kind of data set says; none where only the test part was
            asked for.
        y_train: int64 labels [N], from 0, or float32 targets [N] or [N, values].
        x_test: as ``x_train``.
        y_test: as ``y_train``.
        classes: number of labels; 0 with targets.
    """

    name: str
    x_train: Images
    y_train: Labels | Targets
    x_test: Images
    y_test: Labels | Targets
    classes: int

    @property
    def outputs(self) -> int:
        """Outputs that a network needs: one for each class, or for each value of a target."""
        return self.classes or math.prod(self.y_test.shape[1:])

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of what a network takes in one step, as ``InputSpec.shape`` has it."""

    def check_fit(self, spec: InputSpec, num_steps: int) -> None:
        """Refuse a network that cannot take these samples.

        Args:
            spec: what the network takes.
            num_steps: length T of its window.

        Raises:
            DataError: the shape, or what an event data set fixes besides, is another.
        """
        if tuple(self.shape) != spec.shape:
            raise DataError(
                f"{self.name}: samples have shape {tuple(self.shape)}; the network takes "
                f"{spec.shape}"
            )

    @abstractmethod
    def integers(self, samples: Images, spec: InputSpec) -> npt.NDArray[np.uint8]:
        """Return samples of this data set as the integers that a fitting network takes.

        Args:
            samples: some of ``x_train`` or ``x_test``.
            spec: what the network takes.

        Returns:
            uint8 [samples, *shape], with encoding "events" [samples, num_steps, *shape].
        """


@dataclass(frozen=True, eq=False)
class ImageDataset(Dataset):
    """Images and their labels, in two parts.

    Attributes:
        name: the spec that it was loaded by.
        x_train: uint8 (0 to 255), float32 or float64 (0.0 to 1.0), [N, C, H, W] or [N, features];
            no samples where only the test part was asked for.
        y_train: int64 labels [N], from 0, or float32 targets [N] or [N, values].
        x_test: as ``x_train``.
        y_test: as ``y_train``.
        classes: number of labels; 0 with targets.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, (C, H, W) or (features,)."""
        return tuple(self.x_test.shape[1:])

    def check_fit(self, spec: InputSpec, num_steps: int) -> None:
        """Refuse a network that takes events or another shape, and images that are all dark."""
        if spec.encoding == "events":
            raise DataError(
                f"{self.name}: holds images, and the network takes events; give event data, for "
                f'instance {MOVING_DIGITS}, or train with encoding "first_step" or "constant"'
            )
        super().check_fit(spec, num_steps)
        for part, images in (("x_train", self.x_train), ("x_test", self.x_test)):
            if images.size:
                check_brightness(images, spec.bits, spec.scale, f"{self.name}: {part}")

    def integers(self, samples: Images, spec: InputSpec) -> npt.NDArray[np.uint8]:
        """Quantize images (``tandem_hw.quantize_inputs``)."""
        return quantize_inputs(samples, spec.bits, spec.scale)


def load_dataset(
    spec: str,
    *,
    need: Need = "all",
    folder: Path | None = None,
    num_steps: int | None = None,
    input_bits: int | None = None,
) -> Dataset:
    """Load a data set.

    Args:
        spec: images: "digits" (8x8, comes with scikit-learn), "mnist", "fashion-mnist", "cifar10"
            (through torchvision, downloaded once) or "npz:PATH". Such a file holds x_train,
            y_train, x_test and y_test; images are uint8 or floats in [0, 1], [N, H, W],
            [N, H, W, C], [N, C, H, W] or [N, features]. Events: "moving-digits" (made here),
            "nmnist", "dvs-gesture", "cifar10-dvs", "shd" (through tonic, downloaded once) or
            "events:PATH" (``tandem_hw.data.event_file``).
        need: "test" leaves the training part out, and a file need not have one.
        folder: where downloads are kept, by default ``.cache/tandem-hw`` in the home folder.
        num_steps: with events, which need it, the length T of the window and the number of bins;
            images do not look at it.
        input_bits: with events, which need it, the width of a count, 1 to 8.

    Returns:
        An ``ImageDataset``, channels first, or an ``EventDataset``.

    Raises:
        DataError: the spec is unknown, or its data cannot be had, are damaged or do not fit.
    """
    folder = folder or downloads()
    if spec.startswith(NPZ_PREFIX):
        return _load_npz(spec, path_in(spec), need)
    if spec == DIGITS:
        return _load_digits(spec, need)
    if spec == DIABETES:
        return _load_diabetes(spec, need)
    if spec in TORCHVISION:
        return _load_torchvision(spec, need, folder)
    if spec in (MOVING_DIGITS, *TONIC) or spec.startswith(EVENTS_PREFIX):
        if num_steps is None or input_bits is None:
            raise DataError(
                f"{spec}: events are counted in bins; give num_steps, the network's, and input_bits"
            )
        return _load_events(spec, need, folder, num_steps, input_bits)
    raise DataError(f'data set "{spec}" is unknown; known are {", ".join(KNOWN_SPECS)}')


def _load_events(spec: str, need: Need, folder: Path, num_steps: int, input_bits: int) -> Dataset:
    # These modules are built on this one; tonic itself is imported where it is used.
    from tandem_hw.data import event_file, moving_digits, tonic_datasets

    if spec == MOVING_DIGITS:
        return moving_digits.moving_digits(num_steps, input_bits, need=need)
    if spec in TONIC:
        return tonic_datasets.load_named(spec, folder, num_steps, input_bits, need)
    return event_file.load_event_file(path_in(spec), num_steps, input_bits, need, name=spec)


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
    if not 0 <= fraction < 1:
        raise DataError(f"validation fraction is {fraction}; allowed are 0 and more, below 1")
    if not 0 <= seed < 1 << 32:
        raise DataError(f"seed is {seed}; allowed are 0 to {(1 << 32) - 1}")
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


# The sources -------------------------------------------------------------------------------------


def _load_digits(spec: str, need: Need) -> ImageDataset:
    images, y, train, test = read_digits()
    x = (images / 16).astype(np.float32)[:, np.newaxis]
    if need == "test":
        train = train[:0]
    return ImageDataset(spec, x[train], y[train], x[test], y[test], classes=10)


def _load_diabetes(spec: str, need: Need) -> ImageDataset:
    from sklearn.datasets import load_diabetes  # takes a second to import

    features, progression = load_diabetes(return_X_y=True, scaled=False)
    least, largest = features.min(axis=0), features.max(axis=0)
    x = ((features - least) / (largest - least)).astype(np.float32)
    y = (progression / _DIABETES_LARGEST).astype(np.float32)
    train, test = split_validation(len(y), np.zeros(len(y), int), _DIGITS_TEST_FRACTION, seed=0)
    if need == "test":
        train = train[:0]
    return ImageDataset(spec, x[train], y[train], x[test], y[test], classes=0)


def read_digits() -> tuple[npt.NDArray[Any], Labels, Labels, Labels]:
    """Return scikit-learn's digits and how they are split, by the digit.

    Returns:
        Images [1797, 8, 8] of whole numbers 0 to 16, their labels, and the int64 indices of the
        training and of the test samples.
    """
    from sklearn.datasets import load_digits  # takes a second to import

    images, labels = load_digits(return_X_y=True)
    y = labels.astype(np.int64)
    train, test = split_validation(len(y), y, _DIGITS_TEST_FRACTION, seed=0)
    return images.reshape(-1, 8, 8), y, train, test


def _load_torchvision(spec: str, need: Need, folder: Path) -> ImageDataset:
    try:
        from torchvision import datasets
    # A torchvision that does not match the installed torch raises RuntimeError.
    except (ImportError, RuntimeError) as error:
        raise DataError(
            f'data set "{spec}" needs torchvision, which cannot be imported ({error}); install it '
            f'with: pip install "tandem-hw[vision]"'
        ) from error
    source = getattr(datasets, TORCHVISION[spec])
    x_test, y_test = _from_torchvision(spec, source, folder, train=False)
    if need == "test":
        x_train, y_train = x_test[:0], y_test[:0]
    else:
        x_train, y_train = _from_torchvision(spec, source, folder, train=True)
    return ImageDataset(spec, x_train, y_train, x_test, y_test, classes=10)


def _from_torchvision(
    spec: str, source: Callable[..., Any], folder: Path, train: bool
) -> tuple[Images, Labels]:
    try:
        part = source(str(folder), train=train, download=True)
        images, labels = np.asarray(part.data), np.asarray(part.targets)
    except READ_ERRORS as error:
        raise DataError(
            f'data set "{spec}" could not be downloaded to {folder} or read from there ({error}); '
            f"without a connection, put the data into an npz file and give npz:PATH"
        ) from error
    return _check_images(images, spec, "images"), check_labels(labels, len(images), spec, "labels")


def _load_npz(spec: str, path: Path, need: Need) -> ImageDataset:
    train_names = ["x_train", "y_train"] if need == "all" else []
    arrays = read_arrays(path, [*train_names, "x_test", "y_test"], optional=["y_train"])
    parts: dict[str, tuple[Images, Labels | Targets]] = {}
    for part in ("train", "test") if need == "all" else ("test",):
        images = _check_images(arrays[f"x_{part}"], path, f"x_{part}")
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
    classes = 0 if y_test.dtype.kind == "f" else count_classes(arrays, path)
    return ImageDataset(spec, x_train, y_train, x_test, y_test, classes)


# Checks ------------------------------------------------------------------------------------------


def _check_images(images: npt.NDArray[Any], where: object, name: str) -> Images:
    """Check data type and range, and put the channels first."""
    native = images.dtype.newbyteorder("=")
    if native not in (np.uint8, np.float32, np.float64):
        raise DataError(
            f"{where}: {name} is {images.dtype}; uint8 (0 to 255), float32 or float64 (0.0 to 1.0) "
            f"is needed"
        )
    if images.size == 0:
        raise DataError(f"{where}: {name} has shape {images.shape}: there are no samples")
    if native != np.uint8:
        low, high = images.min(), images.max()
        if not (low >= 0 and high <= 1):  # not a number compares false
            raise DataError(
                f"{where}: {name} spans {low} to {high}; floats must be finite and in 0.0 to 1.0"
            )
    if images.ndim == 3:
        images = images[:, np.newaxis]
    elif images.ndim == 4:
        images = _channels_first(images, where, name)
    elif images.ndim != 2:
        raise DataError(
            f"{where}: {name} has shape {images.shape}; allowed are [N, H, W], [N, H, W, C], "
            f"[N, C, H, W] and [N, features]"
        )
    return np.ascontiguousarray(images, native)


def _channels_first(images: npt.NDArray[Any], where: object, name: str) -> npt.NDArray[Any]:
    first, last = images.shape[1] in _CHANNELS, images.shape[3] in _CHANNELS
    if first == last:
        raise DataError(
            f"{where}: {name} has shape {images.shape}, which is ambiguous: exactly one of axis 1 "
            f"and axis 3 must have 1 to 4 entries, the channels"
        )
    return images if first else images.transpose(0, 3, 1, 2)
