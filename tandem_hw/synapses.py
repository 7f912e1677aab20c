"""Weighted sums of spikes, exact in floating point.

Every product and every sum is an integer below 2^24 (``bounds.check_accumulator``), so float32
holds them exactly in whatever order they are added. That is true of direct sums only: a convolution
by Winograd's or Fourier's transform rounds on the way. PyTorch's CPU convolution is a direct sum;
cuDNN may choose a transform, so on other devices a convolution is a matrix product of unfolded
patches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class ConvGeometry:
    """Geometry of a two-dimensional convolution, every pair (y, x), as in ``torch.nn.Conv2d``."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


def dense(signal: Tensor, weight: Tensor) -> Tensor:
    """Return W s for a dense layer; a signal of more than one axis is flattened in C order.

    Args:
        signal: [batch, *in_shape], integers.
        weight: [out, in], integers of the same dtype.

    Returns:
        [batch, out].
    """
    return F.linear(signal.flatten(1), weight)


def convolve(signal: Tensor, weight: Tensor, geometry: ConvGeometry) -> Tensor:
    """Return the convolution of a signal of integers, by direct sums on every device.

    Args:
        signal: [batch, in, height, width], integers.
        weight: [out, in / groups, kernel_h, kernel_w], integers of the same dtype.
        geometry: stride, padding, dilation and groups.

    Returns:
        [batch, out, out_height, out_width].
    """
    if signal.device.type == "cpu":
        return F.conv2d(
            signal,
            weight,
            None,
            geometry.stride,
            geometry.padding,
            geometry.dilation,
            geometry.groups,
        )
    return _convolve_unfolded(signal, weight, geometry)


def _convolve_unfolded(signal: Tensor, weight: Tensor, geometry: ConvGeometry) -> Tensor:
    kernel = weight.shape[2:]
    lengths = [
        (
            signal.shape[2 + axis]
            + 2 * geometry.padding[axis]
            - geometry.dilation[axis] * (kernel[axis] - 1)
            - 1
        )
        // geometry.stride[axis]
        + 1
        for axis in range(2)
    ]
    patches = F.unfold(signal, tuple(kernel), geometry.dilation, geometry.padding, geometry.stride)
    batch, groups = signal.shape[0], geometry.groups
    grouped = patches.reshape(batch, groups, -1, patches.shape[-1])
    matrix = weight.reshape(groups, weight.shape[0] // groups, -1)
    return (matrix @ grouped).reshape(batch, weight.shape[0], *lengths)
