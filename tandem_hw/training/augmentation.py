"""How far images may be changed in training, and the usual settings.

``tandem_hw.training.image_changes`` does it. This is without PyTorch, since the options of the
command line are made from the presets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tandem_hw.errors import DataError


@dataclass(frozen=True)
class Augmentation:
    """How far images may be changed; every number is drawn evenly from its range.

    Attributes:
        shift: pixels up, down, left and right; what comes in from outside is 0.
        flip: mirror left and right, every second image.
        rotation: degrees to either side.
        scale: share by which an image may grow or shrink, 0 to below 1.
        cutout: side in pixels of a square that becomes 0; its centre lies within the image.

    Raises:
        DataError: a number is out of its range.
    """

    shift: int = 0
    flip: bool = False
    rotation: float = 0.0
    scale: float = 0.0
    cutout: int = 0

    def __post_init__(self) -> None:
        """Refuse what makes no image."""
        for name in ("shift", "cutout"):
            if getattr(self, name) < 0:
                raise DataError(
                    f"augmentation: {name} is {getattr(self, name)}; give 0 or more pixels"
                )
        if not 0 <= self.rotation <= 180:
            raise DataError(f"augmentation: rotation is {self.rotation}; give 0 to 180 degrees")
        if not 0 <= self.scale < 1:
            raise DataError(f"augmentation: scale is {self.scale}; give a share from 0 to below 1")

    @property
    def changes(self) -> bool:
        """Whether anything is changed at all."""
        return self != Augmentation()


#: Augmentations by name; ``cifar`` is the field's usual one for CIFAR-10.
PRESETS: Final = {
    "none": Augmentation(),
    "mnist": Augmentation(shift=2, rotation=10.0, scale=0.1),
    "cifar": Augmentation(shift=4, flip=True),
}
