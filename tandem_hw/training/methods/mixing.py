"""Mixup and cutmix: every sample of a batch is mixed with another one, and so are their labels.

    mixup    x := m x + (1 - m) x',  rounded to the nearest integer
    cutmix   a rectangle of x' takes the place of that of x; m is the share of x that is left
    loss     m loss(outputs, y) + (1 - m) loss(outputs, y')

Integers are mixed, as they go forward, in integer arithmetic: m is a multiple of 1/256 for mixup,
and a number of pixels over all of them for cutmix. It is drawn evenly (Beta(1, 1)) once a batch.
Cross entropy is linear in what is wanted, so the loss is that of the mixed labels.

Sources: Zhang et al., arXiv 1710.09412; Yun et al., arXiv 1905.04899.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from tandem_hw.arithmetic.gpu.transfers import sent
from tandem_hw.training.methods.names import Mix

#: Into so many parts the share of a mixup is divided.
_PARTS: Final = 256


@dataclass(frozen=True)
class Mixture:
    """A batch whose samples are mixed in pairs.

    Attributes:
        inputs: uint8 [batch, *shape], the mixed integers.
        partner: int64 [batch], the sample that each one is mixed with, on the inputs' device.
        share: m above, 0 to 1.
    """

    inputs: Tensor
    partner: Tensor
    share: float


def mixed(inputs: Tensor, mix: Mix, generator: torch.Generator) -> Mixture:
    """Mix every sample of a batch with another one of it.

    Args:
        inputs: uint8 [batch, *shape]; for cutmix images [batch, channels, height, width].
        mix: "mixup" or "cutmix".
        generator: of the random numbers, on the CPU.
    """
    order = torch.randperm(len(inputs), generator=generator)
    partner = sent(order, inputs.device)
    others = inputs[partner]
    if mix == "mixup":
        parts = int(torch.randint(_PARTS + 1, (), generator=generator))
        whole = inputs.to(torch.int32) * parts + others.to(torch.int32) * (_PARTS - parts)
        rounded = (whole + _PARTS // 2) // _PARTS
        return Mixture(rounded.to(torch.uint8), partner, parts / _PARTS)
    rows, columns = _rectangle(inputs.shape[2], inputs.shape[3], generator)
    inputs = inputs.clone()
    inputs[:, :, rows, columns] = others[:, :, rows, columns]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return Mixture(inputs, partner, 1 - area / math.prod(inputs.shape[2:]))


def _rectangle(height: int, width: int, generator: torch.Generator) -> tuple[slice, slice]:
    """Draw a rectangle of the image's form around a point in it, cut off at the borders."""
    side = math.sqrt(float(torch.rand((), generator=generator, dtype=torch.float64)))
    found = []
    for length in (height, width):
        centre, reach = int(torch.randint(length, (), generator=generator)), round(length * side)
        first = centre - reach // 2
        found.append(slice(max(0, first), min(length, first + reach)))
    return found[0], found[1]
