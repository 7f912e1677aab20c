"""Augmentation of images in training: shift, small rotation and scale, flip, a policy, cutout.

What moves or blanks pixels alone serves events as well: all steps of a recording move alike.

Whole batches are changed at once, on their own device. The random numbers come from a generator on
the CPU, so that the same seed gives the same shifts on every machine.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tandem_hw.arithmetic.gpu.transfers import sent
from tandem_hw.errors import DataError
from tandem_hw.training.methods.auto_augment import auto_augmented
from tandem_hw.training.options import Augmentation


def augment(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Change every image of a batch in its own way.

    Args:
        images: uint8 (0 to 255) or floating point (0 to 1), [batch, channels, height, width], or
            events, uint8 [batch, num_steps, channels, height, width].
        augmentation: how far they may be changed.
        generator: of the random numbers, on the CPU.

    Returns:
        Images of the same shape, dtype and range; uint8 is rounded.

    Raises:
        DataError: the samples are no images, or events that would be turned.
    """
    if images.dim() == 5 and not augmentation.turns:
        steps = images.shape[1:3]
        moved = augment(images.flatten(1, 2), augmentation, generator)
        return moved.reshape(len(images), *steps, *moved.shape[2:])
    if images.dim() != 4:
        raise DataError(
            f"augmentation: samples have shape {tuple(images.shape[1:])}; images (channels, "
            f"height, width) are needed; train without augmentation"
        )
    if augmentation.turns:
        images = _turned(images, augmentation, generator)
    if augmentation.shift:
        images = _shifted(images, augmentation.shift, generator)
    if augmentation.flip:
        mirrored = torch.rand(len(images), generator=generator) < 0.5
        images = torch.where(
            sent(mirrored, images.device).reshape(-1, 1, 1, 1), images.flip(3), images
        )
    if augmentation.autoaugment:
        images = auto_augmented(images, generator)
    if augmentation.cutout:
        images = _cut(images, augmentation.cutout, generator)
    return images


def _turned(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Rotate and scale about the centre, bilinear, with 0 outside."""
    angle = _uniform(len(images), math.radians(augmentation.rotation), generator)
    factor = 1 + _uniform(len(images), augmentation.scale, generator)
    cosine, sine, zero = angle.cos() / factor, angle.sin() / factor, torch.zeros_like(angle)
    # The grid's axes run from -1 to 1 whatever the sides are: a rotation needs their ratio.
    ratio = images.shape[2] / images.shape[3]
    rows = [cosine, -sine * ratio, zero], [sine / ratio, cosine, zero]
    matrix = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
    grid = F.affine_grid(sent(matrix, images.device), list(images.shape), align_corners=False)
    real = images if images.is_floating_point() else images.to(torch.float32)
    turned = F.grid_sample(real, grid.to(real.dtype), align_corners=False)
    return turned if images.is_floating_point() else turned.round_().to(images.dtype)


def _shifted(images: Tensor, reach: int, generator: torch.Generator) -> Tensor:
    """Crop from an image that is padded with 0 on all sides."""
    batch, _, height, width = images.shape
    padded = F.pad(images, (reach,) * 4)
    offset = torch.randint(2 * reach + 1, (2, batch, 1), generator=generator)
    offset = sent(offset, images.device)
    rows = offset[0] + torch.arange(height, device=images.device)
    columns = offset[1] + torch.arange(width, device=images.device)
    sample = torch.arange(batch, device=images.device)
    # Indices on both sides of a slice put the slice's axis, the channels, last.
    shifted = padded[sample[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return shifted.permute(0, 3, 1, 2).contiguous()


def _cut(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Blank a square of every image."""
    inside = []
    for length in images.shape[2:]:
        centre = torch.randint(length, (len(images), 1), generator=generator)
        first = sent(centre - side // 2, images.device)
        position = torch.arange(length, device=images.device)
        inside.append((position >= first) & (position < first + side))
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images.masked_fill(hole, 0)


def _uniform(n: int, reach: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(n, generator=generator) * 2 - 1) * reach
