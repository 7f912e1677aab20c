"""Forward the integer network, backward the ordinary twin: the two places where they are joined."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def replace_by_count(activation: Tensor, counts: Tensor, ceiling: float) -> Tensor:
    """Return the spike counts with the gradient of the twin's activation.

    Args:
        activation: the twin's, in spikes.
        counts: spike counts of the same shape.
        ceiling: the gradient passes where 0 < activation < ceiling.
    """
    joined: Tensor = _ReplaceByCount.apply(  # type: ignore[no-untyped-call]
        activation, counts, ceiling
    )
    return joined


def replace_value(twin: Tensor, value: Tensor) -> Tensor:
    """Return the integer network's value with the gradient of the twin's.

    Args:
        twin: the twin's value.
        value: the integer network's, of the same shape.
    """
    joined: Tensor = _ReplaceValue.apply(twin, value)  # type: ignore[no-untyped-call]
    return joined


class _ReplaceByCount(torch.autograd.Function):
    """Forward the spike count, backward the gradient of the twin's activation."""

    @staticmethod
    def forward(ctx: Any, activation: Tensor, counts: Tensor, ceiling: float) -> Tensor:
        ctx.save_for_backward((activation > 0) & (activation < ceiling))
        return counts

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        return gradients[0] * mask, None, None


class _ReplaceValue(torch.autograd.Function):
    """Forward the integer network's value, backward the gradient of the twin's."""

    @staticmethod
    def forward(ctx: Any, twin: Tensor, value: Tensor) -> Tensor:
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None
