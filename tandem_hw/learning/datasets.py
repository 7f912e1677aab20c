"""Data sets of images by name or from an npz file, and the split that validation data come from."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import DataError

Images = npt.NDArray[np.uint8] | npt.NDArray[np.float32] | npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Need = Literal["all", "test"]

_NPZ_PREFIX: Final = "npz:"
_DIGITS_TEST_FRACTION: Final = 0.2
#: Names of the classes in ``torchvision.datasets``; each of them has ten labels.
_TORCHVISION: Final = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10"}
#: What ``spec`` may be, for messages and for the command line's help.
KNOWN_SPECS: Final = ("digits", *_TORCHVISION, "npz:PATH")
#: A label above this is taken for a mistake: an output layer would get a neuron for each.
_CLASSES_MAX: Final = 1 << 16
#: Numbers of channels by which the axis order of four-dimensional images is told.
_CHANNELS: Final = range(1, 5)
#: What NumPy and zipfile raise for files that are damaged or something else.
_READ_ERRORS: Final = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Images and their labels, in two parts.

    Attributes:
        name: the spec that it was loaded by.
        x_train: uint8 (0 to 255), float32 or float64 (0.0 to 1.0), [N, C, H, W] or [N, features];
            no samples where only the test part was asked for.
        y_train: int64 labels [N], from 0.
        x_test: as ``x_train``.
        y_test: as ``y_train``.
        classes: number of labels.
    """

    name: str
    x_train: Images
    y_train: Labels
    x_test: Images
    y_test: Labels
    classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, (C, H, W) or (features,)."""
        return tuple(self.x_test.shape[1:])


def load_dataset(spec: str, *, need: Need = "all", folder: Path | None = None) -> ImageDataset:
    """Load a data set.

    Args:
        spec: "digits" (8x8, comes with scikit-learn), "mnist", "fashion-mnist", "cifar10" (through
            torchvision, downloaded once) or "npz:PATH". Such a file holds x_train, y_train, x_test
            and y_test; images are uint8 or floats in [0, 1], [N, H, W], [N, H, W, C],
            [N, C, H, W] or [N, features].
        need: "test" leaves the training part out, and an npz file need not have one.
        folder: where downloads are kept, by default ``.cache/tandem-hw`` in the home folder.

    Returns:
        The data set; images are channels first.

    Raises:
        DataError: the spec is unknown, or its data cannot be had, are damaged or do not fit.
    """
    if spec.startswith(_NPZ_PREFIX):
        return _load_npz(spec, Path(spec[len(_NPZ_PREFIX) :]), need)
    if spec == "digits":
        return _load_digits(spec, need)
    if spec in _TORCHVISION:
        return _load_torchvision(spec, need, folder or Path.home() / ".cache" / "tandem-hw")
    raise DataError(f'data set "{spec}" is unknown; known are {", ".join(KNOWN_SPECS)}')


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
    from sklearn.datasets import load_digits  # takes a second to import

    images, labels = load_digits(return_X_y=True)
    x = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    y = labels.astype(np.int64)
    train, test = split_validation(len(y), y, _DIGITS_TEST_FRACTION, seed=0)
    if need == "test":
        train = train[:0]
    return ImageDataset(spec, x[train], y[train], x[test], y[test], classes=10)


def _load_torchvision(spec: str, need: Need, folder: Path) -> ImageDataset:
    try:
        from torchvision import datasets
    # A torchvision that does not match the installed torch raises RuntimeError.
    except (ImportError, RuntimeError) as error:
        raise DataError(
            f'data set "{spec}" needs torchvision, which cannot be imported ({error}); install it '
            f'with: pip install "tandem-hw[vision]"'
        ) from error
    source = getattr(datasets, _TORCHVISION[spec])
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
    except _READ_ERRORS as error:
        raise DataError(
            f'data set "{spec}" could not be downloaded to {folder} or read from there ({error}); '
            f"without a connection, put the data into an npz file and give npz:PATH"
        ) from error
    return _check_images(images, spec, "images"), _check_labels(labels, len(images), spec, "labels")


def _load_npz(spec: str, path: Path, need: Need) -> ImageDataset:
    arrays = _read_npz(path, need)
    parts: dict[str, tuple[Images, Labels]] = {}
    for part in ("train", "test") if need == "all" else ("test",):
        images = _check_images(arrays[f"x_{part}"], path, f"x_{part}")
        labels = _check_labels(arrays[f"y_{part}"], len(images), path, f"y_{part}")
        parts[part] = images, labels
    x_test, y_test = parts["test"]
    x_train, y_train = parts.get("train", (x_test[:0], y_test[:0]))
    if x_train.shape[1:] != x_test.shape[1:] or x_train.dtype != x_test.dtype:
        raise DataError(
            f"{path}: x_train has samples {x_train.shape[1:]} of {x_train.dtype}, x_test "
            f"{x_test.shape[1:]} of {x_test.dtype}; they must be alike"
        )
    highest = int(y_test.max())
    if "y_train" in arrays:  # the test part alone may lack the last label
        every_label = _check_labels(arrays["y_train"], arrays["y_train"].size, path, "y_train")
        highest = max(highest, int(every_label.max()))
    return ImageDataset(spec, x_train, y_train, x_test, y_test, classes=highest + 1)


def _read_npz(path: Path, need: Need) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays that are needed, and y_train if it is there."""
    needed = ["x_test", "y_test"] if need == "test" else ["x_train", "y_train", "x_test", "y_test"]
    if not path.is_file():
        raise DataError(f"{path}: {'is a folder' if path.is_dir() else 'there is no such file'}")
    item = "the file"
    try:
        # A path is opened here, not by NumPy, which leaves it open when the archive is damaged.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: holds a single array; write one with numpy.savez")
            with archive:
                missing = [name for name in needed if name not in archive.files]
                if missing:
                    raise DataError(
                        f"{path}: has no array {missing[0]}; it holds {sorted(archive.files)}, "
                        f"needed are {needed}"
                    )
                arrays = {}
                for name in needed + ["y_train"] * ("y_train" in archive.files):
                    item = f"array {name}"
                    arrays[name] = np.asarray(archive[name])
                return arrays
    except _READ_ERRORS as error:
        raise DataError(
            f"{path}: {item} cannot be read ({error}); an npz file that numpy.savez wrote is needed"
        ) from error


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


def _check_labels(labels: npt.NDArray[Any], samples: int, where: object, name: str) -> Labels:
    if labels.dtype.kind not in "iu":
        raise DataError(f"{where}: {name} is {labels.dtype}; integer labels are needed")
    if labels.shape != (samples,):
        raise DataError(
            f"{where}: {name} has shape {labels.shape}; one label for each of the {samples} "
            f"samples is needed"
        )
    if samples == 0:
        raise DataError(f"{where}: {name} is empty")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= _CLASSES_MAX:
        raise DataError(
            f"{where}: {name} spans {low} to {high}; allowed are labels from 0 to "
            f"{_CLASSES_MAX - 1}"
        )
    return labels.astype(np.int64)
