"""What a data set is: samples and what is wanted of them, in a training part and a test part."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from tandem_hw.data.catalogue import MOVING_DIGITS
from tandem_hw.data.npz_arrays import Labels
from tandem_hw.errors import DataError
from tandem_hw.network.choices import Encoding, Reset, default_encoding, encodings_for
from tandem_hw.network.inputs import check_brightness, quantize_inputs
from tandem_hw.network.quantized import InputSpec

Images = npt.NDArray[np.uint8] | npt.NDArray[np.float32] | npt.NDArray[np.float64]
Targets = npt.NDArray[np.float32]
#: Which parts are loaded.
Need = Literal["all", "test"]


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
    #: Whether samples are counts of events for every step of a window, otherwise they are images.
    holds_events: ClassVar[bool] = False

    @property
    def outputs(self) -> int:
        """Outputs that a network needs: one for each class, or for each value of a target."""
        return self.classes or math.prod(self.y_test.shape[1:])

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
                f"{spec.shape}"
            )

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
        if spec.takes_events:
            raise DataError(
                f"{self.name}: holds images, and the network takes events; give event data, for "
                f"instance {MOVING_DIGITS}, or train with encoding {encodings_for(events=False)}"
            )
        super().check_fit(spec, num_steps)
        for part, images in (("x_train", self.x_train), ("x_test", self.x_test)):
            if images.size:
                check_brightness(images, spec.bits, spec.scale, f"{self.name}: {part}")

    def integers(self, samples: Images, spec: InputSpec) -> npt.NDArray[np.uint8]:
        """Quantize images (``tandem_hw.quantize_inputs``)."""
        return quantize_inputs(samples, spec.bits, spec.scale)
