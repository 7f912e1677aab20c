"""Augmentation of images in training: shift, small rotation and scale, flip, and cutout.

Whole batches are changed at once, on their own device. The random numbers come from a generator on
the CPU, so that the same seed gives the same shifts on every machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

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

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Change every image of a batch in its own way.

        Args:
            images: uint8 (0 to 255) or floating point (0 to 1), [batch, channels, height, width].
            generator: of the random numbers, on the CPU.

        Returns:
            Images of the same shape, dtype and range; uint8 is rounded.

        Raises:
            DataError: the samples are no images.
        """
        if images.dim() != 4:
            raise DataError(
                f"augmentation: samples have shape {tuple(images.shape[1:])}; images (channels, "
                f"height, width) are needed; train without augmentation"
            )
        if self.rotation or self.scale:
            images = self._turn(images, generator)
        if self.shift:
            images = self._shift(images, generator)
        if self.flip:
            mirrored = torch.rand(len(images), generator=generator) < 0.5
            images = torch.where(
                mirrored.to(images.device).reshape(-1, 1, 1, 1), images.flip(3), images
            )
        if self.cutout:
            images = self._cut(images, generator)
        return images

    def _turn(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Rotate and scale about the centre, bilinear, with 0 outside."""
        angle = _uniform(len(images), math.radians(self.rotation), generator)
        factor = 1 + _uniform(len(images), self.scale, generator)
        cosine, sine, zero = angle.cos() / factor, angle.sin() / factor, torch.zeros_like(angle)
        # The grid's axes run from -1 to 1 whatever the sides are: a rotation needs their ratio.
        ratio = images.shape[2] / images.shape[3]
        rows = [cosine, -sine * ratio, zero], [sine / ratio, cosine, zero]
        matrix = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
        grid = F.affine_grid(matrix.to(images.device), list(images.shape), align_corners=False)
        real = images if images.is_floating_point() else images.to(torch.float32)
        turned = F.grid_sample(real, grid.to(real.dtype), align_corners=False)
        return turned if images.is_floating_point() else turned.round_().to(images.dtype)

    def _shift(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Crop from an image that is padded with 0 on all sides."""
        batch, _, height, width = images.shape
        padded = F.pad(images, (self.shift,) * 4)
        offset = torch.randint(2 * self.shift + 1, (2, batch, 1), generator=generator)
        rows = (offset[0] + torch.arange(height)).to(images.device)
        columns = (offset[1] + torch.arange(width)).to(images.device)
        sample = torch.arange(batch, device=images.device)
        # Indices on both sides of a slice put the slice's axis, the channels, last.
        shifted = padded[sample[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        return shifted.permute(0, 3, 1, 2).contiguous()

    def _cut(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Blank a square of every image."""
        inside = []
        for side in images.shape[2:]:
            centre = torch.randint(side, (len(images), 1), generator=generator)
            first = centre - self.cutout // 2
            position = torch.arange(side)
            inside.append((position >= first) & (position < first + self.cutout))
        hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        return images.masked_fill(hole.to(images.device), 0)


def _uniform(n: int, reach: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(n, generator=generator) * 2 - 1) * reach


#: Augmentations by name; ``cifar`` is the field's usual one for CIFAR-10.
PRESETS: Final = {
    "none": Augmentation(),
    "mnist": Augmentation(shift=2, rotation=10.0, scale=0.1),
    "cifar": Augmentation(shift=4, flip=True),
}
