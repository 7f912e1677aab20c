"""Forward the integer network, backward the ordinary twin: the two places where they are joined."""

from __future__ import annotations

from typing import Any

import torch
import torch._ops
from torch import Tensor

#: Gradient of ``hardtanh``: passes where an activation is strictly between two limits.
_CLIPPED_GRADIENT: Any = torch._ops.ops.aten.hardtanh_backward


def replace_by_count(
    twin: Tensor, counts: Tensor, ceiling: float, value: float | Tensor = 1.0
) -> Tensor:
    """Return the spike counts with the gradient of the twin's activation.

    Args:
        twin: the twin's activation in units of which one spike has ``value``.
        counts: spike counts of the same shape.
        ceiling: the gradient passes where 0 < activation < ceiling, in spikes.
        value: real value of one spike, on a device a tensor [].
    """
    joined: Tensor = _ReplaceByCount.apply(  # type: ignore[no-untyped-call]
        twin, counts, ceiling, value
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
    def forward(
        ctx: Any, twin: Tensor, counts: Tensor, ceiling: float, value: float | Tensor
    ) -> Tensor:
        # The activation itself, and not where it is within the limits: PyTorch's operators on bool
        # take several times as long as its own gradient of a clipped activation.
        ctx.unchanged = not isinstance(value, Tensor) and value == 1
        ctx.save_for_backward(twin if ctx.unchanged else twin / value)
        ctx.ceiling, ctx.value = ceiling, value
        return counts

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (activation,) = ctx.saved_tensors
        gradient = gradients[0].to(activation.dtype)
        gradient = _CLIPPED_GRADIENT(gradient, activation, 0.0, ctx.ceiling)
        return gradient if ctx.unchanged else gradient.div_(ctx.value), None, None, None


class _ReplaceValue(torch.autograd.Function):
    """Forward the integer network's value, backward the gradient of the twin's."""

    @staticmethod
    def forward(ctx: Any, twin: Tensor, value: Tensor) -> Tensor:
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None
