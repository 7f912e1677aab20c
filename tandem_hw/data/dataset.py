"""What a data set is: samples and what is wanted of them, in a training part and a test part."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.data.catalogue import MOVING_DIGITS
from tandem_hw.data.own.streamed import StreamedSamples
from tandem_hw.errors import DataError
from tandem_hw.network.choices import Encoding, Reset, default_encoding, encodings_for
from tandem_hw.network.inputs import check_brightness, quantize_inputs
from tandem_hw.network.quantized import InputSpec

#: ``StreamedSamples`` stand in for an array: what is chosen of them is read by ``numpy.asarray``.
Images = npt.NDArray[np.uint8] | npt.NDArray[np.float32] | npt.NDArray[np.float64]
#: Streamed samples that are looked at together.
_READ_AT_ONCE: Final = 256
#: Which parts are loaded.
Need = Literal["all", "test"]


@dataclass(frozen=True, eq=False)
class Labels:
    """The class of each sample.

    Attributes:
        values: int64 [samples], from 0; integers of any type become that.
        classes: how many there are; the samples need not show all of them.
        names: what the user calls each class, by its number; None where they are called by it.

    Raises:
        DataError: the values are no labels of these classes, or the names are not theirs.
    """

    values: npt.NDArray[np.int64]
    classes: int
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        values = np.asarray(self.values)
        if values.dtype.kind not in "iu" or values.ndim != 1:
            raise DataError(
                f"labels are {values.dtype} of shape {values.shape}; give the whole number of its "
                f"class for each sample"
            )
        if values.size and not (int(values.min()) >= 0 and int(values.max()) < self.classes):
            raise DataError(
                f"labels span {values.min()} to {values.max()}; allowed are 0 to "
                f"{self.classes - 1}, for {counted(self.classes, 'class', 'classes')}"
            )
        object.__setattr__(self, "values", values.astype(np.int64, copy=False))
        if self.names is None:
            return
        object.__setattr__(self, "names", tuple(map(str, self.names)))
        if len(set(self.names)) != self.classes or len(self.names) != self.classes:
            raise DataError(
                f"labels have the class names {self.names}; {self.classes} different ones are "
                f"needed, one for each class"
            )

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.values)

    def __getitem__(self, rows: Any) -> Labels:
        """Return the labels of some samples, chosen by a slice or by indices."""
        return Labels(self.values[rows], self.classes, self.names)

    @property
    def outputs(self) -> int:
        """Outputs that a network needs: one for each class."""
        return self.classes


@dataclass(frozen=True, eq=False)
class Targets:
    """The real values that are wanted of each sample.

    Attributes:
        values: float32 [samples] or [samples, ...]; floating-point numbers of any type become that.

    Raises:
        DataError: the values are no floating-point numbers of samples.
    """

    values: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check the values."""
        values = np.asarray(self.values)
        if values.dtype.kind != "f" or not values.ndim:
            raise DataError(
                f"targets are {values.dtype} of shape {values.shape}; give floating-point numbers, "
                f"one or a row of them for each sample"
            )
        object.__setattr__(self, "values", values.astype(np.float32, copy=False))

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.values)

    def __getitem__(self, rows: Any) -> Targets:
        """Return the targets of some samples, chosen by a slice or by indices."""
        return Targets(self.values[rows])

    @property
    def outputs(self) -> int:
        """Outputs that a network needs: one for each value of a sample."""
        return math.prod(self.values.shape[1:])


#: What is wanted of the samples of a part.
Wanted: TypeAlias = Labels | Targets


@dataclass(frozen=True, eq=False)
class Dataset(ABC):
    """Samples and what is wanted of them, in two parts.

    Attributes:
        name: the spec that it was loaded by.
        x_train: samples [N, ...], as the kind of data set says; none where only the test part was
            asked for.
        wanted_train: their labels or targets.
        x_test: as ``x_train``.
        wanted_test: as ``wanted_train``.

    Raises:
        DataError: one part has labels and the other targets, or they need unlike outputs.
    """

    name: str
    x_train: Images
    wanted_train: Wanted
    x_test: Images
    wanted_test: Wanted
    #: Whether samples are counts of events for every step of a window, otherwise they are images.
    holds_events: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check that one network can be trained and tested."""
        train, test = self.wanted_train, self.wanted_test
        if type(train) is not type(test) or train.outputs != test.outputs:
            raise DataError(
                f"{self.name}: the training part has {type(train).__name__} for "
                f"{counted(train.outputs, 'output')}, the test part {type(test).__name__} for "
                f"{test.outputs}; give both labels of as many classes, or targets of as many values"
            )
        if isinstance(train, Labels) and isinstance(test, Labels) and train.names != test.names:
            raise DataError(
                f"{self.name}: the training part has the class names {train.names}, the test part "
                f"{test.names}; give both the same, in the same order"
            )

    @property
    def y_train(self) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
        """Labels, int64 [N], or targets, float32 [N] or [N, values], of the training samples."""
        return self.wanted_train.values

    @property
    def y_test(self) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
        """Labels or targets of the test samples, as ``y_train``."""
        return self.wanted_test.values

    @property
    def classes(self) -> int:
        """Number of classes; 0 with targets."""
        return self.wanted_test.classes if isinstance(self.wanted_test, Labels) else 0

    @property
    def outputs(self) -> int:
        """Outputs that a network needs: one for each class, or for each value of a target."""
        return self.wanted_test.outputs

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of what a network takes in one step, as ``InputSpec.shape`` has it."""

    def default_encoding(self, reset: Reset) -> Encoding:
        """Return how a network is sent these samples where nobody says how.

        Args:
            reset: what its neurons do when they fire.
        """
        return default_encoding(reset, events=self.holds_events)

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
                f"{spec.shape}{self._remedy(spec)}"
            )

    def _remedy(self, spec: InputSpec) -> str:
        """Return what to do: about signals that were taken for images, or about other data."""
        if tuple(self.shape) != (1, *spec.shape) or len(spec.shape) != 2:
            return "; give the data that it was made for (--data at the command line)"
        return "; if they are signals of several channels, say layout NCL (docs/data.md)"

    @abstractmethod
    def integers(self, samples: Images, spec: InputSpec) -> npt.NDArray[np.uint8]:
        """Return samples of this data set as the integers that a fitting network takes.

        Args:
            samples: some of ``x_train`` or ``x_test``.
            spec: what the network takes.

        Returns:
            uint8 [samples, *shape], of event data [samples, num_steps, *shape].
        """


@dataclass(frozen=True, eq=False)
class ImageDataset(Dataset):
    """Images, signals or measurements and what is wanted of them, in two parts.

    Attributes:
        name: the spec that it was loaded by.
        x_train: uint8 (0 to 255), float32 or float64 (0.0 to 1.0), [N, C, H, W], [N, C, length] or
            [N, features], in memory or streamed; no samples where only the test part was asked for.
        wanted_train: their labels, or targets [N] or [N, values].
        x_test: as ``x_train``.
        wanted_test: as ``wanted_train``.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, (C, H, W), (C, length) or (features,)."""
        return tuple(self.x_test.shape[1:])

    def check_fit(self, spec: InputSpec, num_steps: int) -> None:
        """Refuse a network that takes events or another shape, and images that are all dark."""
        if spec.takes_events:
            raise DataError(
                f"{self.name}: holds images, and the network takes events; give event data, for "
                f"instance {MOVING_DIGITS}, or train with encoding {encodings_for(events=False)}"
            )
        super().check_fit(spec, num_steps)
        for part, images in (("x_train", self.x_train), ("x_test", self.x_test)):
            if images.size:
                _check_brightness(images, spec, f"{self.name}: {part}")

    def integers(self, samples: Images, spec: InputSpec) -> npt.NDArray[np.uint8]:
        """Quantize images (``tandem_hw.quantize_inputs``)."""
        images: Any = np.asarray(samples)
        return quantize_inputs(images, spec.bits, spec.scale)


def _check_brightness(images: Images, spec: InputSpec, where: str) -> None:
    """Refuse images that are all dark; of streamed ones, no more are read than it takes."""
    if not isinstance(images, StreamedSamples):
        check_brightness(images, spec.bits, spec.scale, where)
        return
    for start in range(0, len(images), _READ_AT_ONCE):
        part = np.asarray(images[start : start + _READ_AT_ONCE])
        try:
            check_brightness(part, spec.bits, spec.scale, where)
        except DataError:
            if start + _READ_AT_ONCE >= len(images):
                raise
        else:
            return
