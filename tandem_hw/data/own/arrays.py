"""Data sets made of arrays: images, signals, or rows of measurements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.data.dataset import ImageDataset, Labels, Targets, Wanted
from tandem_hw.data.npz_arrays import check_targets
from tandem_hw.data.own.class_names import given_labels, number_classes
from tandem_hw.data.own.layouts import Layout, Pixels, ValueRange, check_layout, in_range
from tandem_hw.data.own.layouts import check_samples as check_pixels
from tandem_hw.data.own.streamed import streamed_if_large
from tandem_hw.data.splits import split_validation
from tandem_hw.errors import DataError
from tandem_hw.ranges import RealRange

#: Share of the samples that is tested on where no test part is given, and the seed of that choice.
TEST_FRACTION: Final = 0.2
SPLIT_SEED: Final = 0
_FRACTION: Final = RealRange("a share above 0, below 1", 0, 1, True, True)
_IMAGES: Final = ("NHW", "NCHW", "NHWC")
_SIGNALS: Final = ("NCL", "NLC", "NL")
#: The parts of a data set, the one that is trained on first.
TRAIN, TEST = "train", "test"


def image_dataset(
    x_train: Any,
    y_train: Any,
    x_test: Any = None,
    y_test: Any = None,
    *,
    layout: Layout | None = None,
    value_range: ValueRange | None = None,
    test_fraction: float = TEST_FRACTION,
    seed: int = SPLIT_SEED,
    name: str = "images",
) -> ImageDataset:
    """Make a data set of images.

    Args:
        x_train: [N, H, W], [N, H, W, C] or [N, C, H, W], uint8 (0 to 255), or floats from 0.0 to
            1.0; with ``value_range`` any real numbers. A ``numpy.memmap`` stays in its file.
        y_train: [N] labels, whole numbers or texts, or floats, targets [N] or [N, values] of a
            regression. Labels other than 0 to K - 1 are sorted and numbered; ``Labels.names`` keeps
            what they were.
        x_test: images to test on, as ``x_train``. Without them a share of each class is kept for
            the test, always the same.
        y_test: their labels or targets.
        layout: what the axes are ("NCHW", "NHWC" or "NHW") where their lengths do not tell.
        value_range: (least, largest) value of a sample, which become 0.0 and 1.0.
        test_fraction: share that is tested on where ``x_test`` is not given, by default 0.2.
        seed: of the choice of these samples, 0 to 2^32 - 1.
        name: goes into checkpoints and messages.

    Returns:
        Samples [N, C, H, W] and what is wanted of them.

    Raises:
        DataError: samples or labels are something else, or do not fit each other.
    """
    given = _Given(name, value_range, test_fraction, seed)
    return given.dataset(x_train, y_train, x_test, y_test, layout, _IMAGES)


def signal_dataset(
    x_train: Any,
    y_train: Any,
    x_test: Any = None,
    y_test: Any = None,
    *,
    layout: Layout | None = None,
    value_range: ValueRange | None = None,
    test_fraction: float = TEST_FRACTION,
    seed: int = SPLIT_SEED,
    name: str = "signals",
) -> ImageDataset:
    """Make a data set of signals over time, which ``Conv1d`` takes.

    Args:
        x_train: [N, channels, length], or [N, length] of one channel; values as ``image_dataset``
            takes them. Signals around zero need ``value_range``.
        y_train: labels or targets, as ``image_dataset`` takes them.
        x_test: as for ``image_dataset``.
        y_test: as for ``image_dataset``.
        layout: "NLC" for [N, length, channels].
        value_range: as for ``image_dataset``; (-5.0, 5.0) for signals that stay within it.
        test_fraction: as for ``image_dataset``.
        seed: as for ``image_dataset``.
        name: goes into checkpoints and messages.

    Returns:
        Samples [N, channels, length] and what is wanted of them.

    Raises:
        DataError: samples or labels are something else, or do not fit each other.
    """
    given = _Given(name, value_range, test_fraction, seed)
    if layout is None:
        layout = _signal_layout(np.shape(x_train), name)
    return given.dataset(x_train, y_train, x_test, y_test, layout, _SIGNALS)


def array_dataset(
    x_train: Any,
    y_train: Any,
    x_test: Any = None,
    y_test: Any = None,
    *,
    value_range: ValueRange | None = None,
    test_fraction: float = TEST_FRACTION,
    seed: int = SPLIT_SEED,
    name: str = "arrays",
) -> ImageDataset:
    """Make a data set of rows of measurements.

    Args:
        x_train: [N, features], values as ``image_dataset`` takes them.
        y_train: labels or targets, as ``image_dataset`` takes them.
        x_test: as for ``image_dataset``.
        y_test: as for ``image_dataset``.
        value_range: as for ``image_dataset``.
        test_fraction: as for ``image_dataset``.
        seed: as for ``image_dataset``.
        name: goes into checkpoints and messages.

    Returns:
        Samples [N, features] and what is wanted of them.

    Raises:
        DataError: samples or labels are something else, or do not fit each other.
    """
    if np.ndim(x_train) > 2:
        raise DataError(
            f"{name}: x_train has shape {np.shape(x_train)}; array_dataset takes [samples, "
            f"features]: give images to image_dataset and signals to signal_dataset"
        )
    given = _Given(name, value_range, test_fraction, seed)
    return given.dataset(x_train, y_train, x_test, y_test, "NF", ("NF",))


def _signal_layout(shape: tuple[int, ...], name: str) -> Layout:
    """Return the layout of signals: time is longer than there are channels."""
    if len(shape) == 3 and shape[1] > shape[2]:
        raise DataError(
            f"{name}: x_train has shape {shape}, {counted(shape[1], 'channel')} of length "
            f"{shape[2]} if it is "
            f"[N, channels, length]; say layout NCL if that is meant, or NLC"
        )
    return "NL" if len(shape) == 2 else "NCL"


class _Given:
    """Arrays as somebody gave them, to be made a data set."""

    def __init__(
        self, name: str, value_range: ValueRange | None, test_fraction: float, seed: int
    ) -> None:
        self.name, self.value_range = name, value_range
        self.test_fraction, self.seed = test_fraction, seed

    def dataset(
        self,
        x_train: Any,
        y_train: Any,
        x_test: Any,
        y_test: Any,
        layout: Layout | None,
        allowed: tuple[str, ...],
    ) -> ImageDataset:
        """Check the arrays and make the data set; arguments as ``image_dataset`` has them."""
        if layout is not None and check_layout(layout, self.name) not in allowed:
            raise DataError(f"{self.name}: layout is {layout}; allowed are {', '.join(allowed)}")
        if (x_test is None) != (y_test is None):
            raise DataError(
                f"{self.name}: only one of x_test and y_test is given; give both, or none, and a "
                f"part of the training samples is kept for the test"
            )
        parts = {TRAIN: (x_train, y_train)}
        if x_test is not None:
            parts[TEST] = (x_test, y_test)
        samples = {part: self._samples(x, f"x_{part}", layout) for part, (x, _) in parts.items()}
        for part, (_, y) in parts.items():
            if len(np.asarray(y)) != len(samples[part]):
                raise DataError(
                    f"{self.name}: y_{part} has {counted(len(np.asarray(y)), 'label')} or targets "
                    f"for the {counted(len(samples[part]), 'sample')} of x_{part}; one for each is "
                    f"needed"
                )
        wanted = wanted_of({f"y_{part}": y for part, (_, y) in parts.items()}, self.name)
        if x_test is not None:
            return joined(
                *(self.name, samples[TRAIN], wanted["y_train"]),
                *(samples[TEST], wanted["y_test"]),
            )
        train, test = split_test(wanted["y_train"], self.name, self.test_fraction, self.seed)
        x, y = streamed_if_large(samples[TRAIN]), wanted["y_train"]
        return ImageDataset(self.name, x[train], y[train], x[test], y[test])

    def _samples(self, given: Any, name: str, layout: Layout | None) -> Pixels:
        """Return samples as a network takes them."""
        try:
            samples = given if isinstance(given, np.ndarray) else np.asarray(given)
        except ValueError as error:  # samples of unlike shapes
            raise DataError(
                f"{self.name}: {name} is no array of samples of one shape ({error})"
            ) from error
        if samples.dtype.kind == "O":
            raise DataError(
                f"{self.name}: {name} holds Python objects; give one array of numbers, all samples "
                f"of one shape"
            )
        if self.value_range is not None:
            samples = in_range(samples, self.value_range, self.name, name)
        elif samples.dtype.kind in "ib" or (samples.dtype.kind == "u" and samples.itemsize > 1):
            raise DataError(
                f"{self.name}: {name} is {samples.dtype}; give uint8 (0 to 255) or floats (0.0 to "
                f"1.0), or say value_range=(least, largest)"
            )
        elif samples.dtype.kind == "f" and samples.size and not _is_unit(samples):
            raise DataError(
                f"{self.name}: {name} spans {samples.min()} to {samples.max()}; give finite floats "
                f"from 0.0 to 1.0, or say value_range=(least, largest), the same for all data of a "
                f"network"
            )
        return check_pixels(samples, self.name, name, layout)


def _is_unit(samples: npt.NDArray[Any]) -> bool:
    return bool(samples.min() >= 0 and samples.max() <= 1)


def wanted_of(
    parts: Mapping[str, Any], where: object, *, from_zero: bool = False
) -> dict[str, Wanted]:
    """Return labels, numbered alike in all parts, or targets where the numbers are floats.

    Args:
        parts: what was given for each part, by its array's name; the first is trained on.
        where: the data, for messages.
        from_zero: as for ``number_classes``.

    Raises:
        DataError: they are neither, or one part has labels and the other targets.
    """
    arrays = {name: _array(values) for name, values in parts.items()}
    real = [name for name, values in arrays.items() if values.dtype.kind == "f"]
    if real and len(real) < len(arrays):
        raise DataError(
            f"{where}: {real[0]} holds floating-point targets, and the other part labels; give "
            f"both alike"
        )
    if real:
        return {
            name: Targets(check_targets(values, len(values), where, name))
            for name, values in arrays.items()
        }
    labels = {name: given_labels(values, where, name) for name, values in arrays.items()}
    return dict(number_classes(labels, where, from_zero=from_zero))


def _array(values: Any) -> npt.NDArray[Any]:
    """Return values as an array; NumPy would make text of what stands in a list beside text."""
    array = np.asarray(values)
    if array.dtype.kind == "U" and array.ndim == 1 and not isinstance(values, np.ndarray):
        return np.array(list(values), object)
    return array


def split_test(
    wanted: Wanted, where: object, fraction: float = TEST_FRACTION, seed: int = SPLIT_SEED
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Choose what is tested on where nobody said it: a share of every class.

    Args:
        wanted: labels or targets of all samples.
        where: the data, for messages.
        fraction: share of the samples.
        seed: 0 to 2^32 - 1.

    Returns:
        Indices of the training samples and of the test samples, int64, ascending.

    Raises:
        DataError: the share is out of range, or too small for a single test sample.
    """
    _FRACTION.check(f"{where}: test_fraction", fraction, DataError)
    count = len(wanted)
    labels = wanted.values if isinstance(wanted, Labels) else np.zeros(count, np.int64)
    train, test = split_validation(count, labels, fraction, seed)
    if not len(test):
        raise DataError(
            f"{where}: of {counted(count, 'sample')} none is left to test on, since each class "
            f"keeps one to "
            f"train on; give more samples, or a test part"
        )
    return train, test


def joined(
    name: str,
    x_train: Pixels,
    wanted_train: Wanted,
    x_test: Pixels,
    wanted_test: Wanted,
    where: object = None,
) -> ImageDataset:
    """Join both parts, whose samples have to be alike.

    Args:
        name: of the data set.
        x_train: as ``check_samples`` returns them.
        wanted_train: what is wanted of them.
        x_test: as ``x_train``.
        wanted_test: as ``wanted_train``.
        where: the file, for messages; by default the name.

    Raises:
        DataError: shape or type of a sample differs.
    """
    if x_train.shape[1:] != x_test.shape[1:] or x_train.dtype != x_test.dtype:
        raise DataError(
            f"{where or name}: x_train has samples {x_train.shape[1:]} of {x_train.dtype}, x_test "
            f"{x_test.shape[1:]} of {x_test.dtype}; they must be alike"
        )
    train, test = streamed_if_large(x_train), streamed_if_large(x_test)
    return ImageDataset(name, train, wanted_train, test, wanted_test)
