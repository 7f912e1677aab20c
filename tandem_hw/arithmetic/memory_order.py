"""The order in memory in which a library leaves the values of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: Channels, height and width.
ImageShape = tuple[int, ...]


@dataclass(frozen=True)
class MemoryOrder:
    """How a layer's values lie in memory; the neurons do not care, so they are run as they lie.

    Attributes:
        shape: of one sample's values.
        channels_last: whether the channels of an image are next to each other.
    """

    shape: tuple[int, ...]
    channels_last: bool

    @classmethod
    def of(cls, values: Tensor) -> MemoryOrder:
        """Return the order of [batch, *shape]."""
        one = values[:1]
        last = (
            one.dim() == 4
            and not one.is_contiguous()
            and one.is_contiguous(memory_format=torch.channels_last)
        )
        return cls(tuple(values.shape[1:]), last)

    @property
    def image_shape(self) -> ImageShape | None:
        """Shape (channels, height, width) where the channels are last, otherwise None."""
        return self.shape if self.channels_last else None

    def flat(self, values: Tensor) -> Tensor:
        """Return [batch, *shape] as [batch, neurons] in this order, a view where they lie so."""
        return (values.movedim(1, -1) if self.channels_last else values).flatten(1)

    def flat_steps(self, steps: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Return what comes in step by step as ``flat`` does; what is one tensor stays one."""
        known = {id(one): self.flat(one) for one in steps if one is not None}
        return [None if one is None else known[id(one)] for one in steps]

    def image(self, flat: Tensor) -> Tensor:
        """Return a view [..., *shape] of [..., neurons]."""
        if not self.channels_last:
            return flat.view(*flat.shape[:-1], *self.shape)
        channels, *lengths = self.shape
        return flat.view(*flat.shape[:-1], *lengths, channels).movedim(-1, -1 - len(lengths))


def columns_of_image(weight: Tensor, shape: ImageShape | None) -> Tensor:
    """Put the columns of a matrix in the order of an image whose channels are last in memory.

    Args:
        weight: [out, in], its columns in C order of (channels, height, width).
        shape: of the image; None to leave the columns as they are.
    """
    if shape is None:
        return weight
    return weight.view(-1, *shape).movedim(1, -1).flatten(1)
