"""Products of small integers in bytes, summed in 32 bits, through oneDNN on a CPU.

Spikes and inputs are unsigned bytes. Lava's weights are even where a matrix has both signs, so half
a weight is a signed byte, and the product is doubled as it leaves the sum:

    sum over i of W[i] s[i]  =  2 sum over i of (W[i] / 2) s[i]

Processors with VNNI or AMX add four such products in the time of one in float32. The operators are
those that PyTorch's own quantized networks run on (``torch.ops.onednn``). Whether they are there,
exact and faster for a geometry is for ``exact_sums`` to find out; here they only are called.

Each function takes a signal uint8, weights in floating point and a geometry, and returns sums in
float32, or None where half of a weight is no signed byte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch._ops
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from tandem_hw.arithmetic.memory_order import ImageShape, columns_of_image

#: A weight unit of a signed byte; see ``fixed_point.WEIGHT_STEP``.
_SCALE = 2.0
_ONEDNN: Any = torch._ops.ops.onednn


class _Packed(NamedTuple):
    """Weights in the order in memory that oneDNN wants for a signal of some shape."""

    weight: Tensor
    scales: Tensor
    zero_points: Tensor


def convolve_bytes(signal: Tensor, weight: Tensor, geometry: Any) -> Tensor | None:
    """Return a convolution, as ``synapses.convolve`` does.

    Args:
        signal: uint8 [batch, in, height, width] or [batch, in, length].
        weight: [out, in / groups, *kernel], integers.
        geometry: a ``synapses.Geometry``.
    """
    axes = len(geometry.stride)
    stride, padding, dilation = (
        _two_axes(numbers, fill)
        for numbers, fill in ((geometry.stride, 1), (geometry.padding, 0), (geometry.dilation, 1))
    )
    rows = signal.unsqueeze(2) if axes == 1 else signal

    def pack(halves: Tensor, scales: Tensor) -> Tensor:
        image = halves.unsqueeze(2) if axes == 1 else halves
        packed: Tensor = _ONEDNN.qconv_prepack(
            image, scales, 1.0, 0, stride, padding, dilation, geometry.groups, list(rows.shape)
        )
        return packed

    packed = _packed((convolve_bytes, geometry, rows.shape), weight, pack)
    if packed is None:
        return None
    found = _convolve(rows, packed, (stride, padding, dilation), geometry.groups)
    return found.squeeze(2) if axes == 1 else found


def multiply_bytes(signal: Tensor, weight: Tensor, shape: ImageShape | None) -> Tensor | None:
    """Return a matrix product.

    Args:
        signal: uint8 [batch, in].
        weight: [out, in], integers.
        shape: of the images that the signal is of, where their channels are last in memory; see
            ``memory_order.columns_of_image``.
    """

    def pack(halves: Tensor, scales: Tensor) -> Tensor:
        packed: Tensor = _ONEDNN.qlinear_prepack(
            columns_of_image(halves, shape), list(signal.shape)
        )
        return packed

    packed = _packed((multiply_bytes, signal.shape, shape), weight, pack)
    if packed is None:
        return None
    found: Tensor = _ONEDNN.qlinear_pointwise(
        signal, 1.0, 0, *packed, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return found


def multiply_bytes_as_points(
    signal: Tensor, weight: Tensor, shape: ImageShape | None
) -> Tensor | None:
    """Return a matrix product as a convolution of images of one point; see ``multiply_bytes``.

    Its weights are packed faster, and it is faster for few outputs.
    """
    ones, nothing = [1, 1], [0, 0]
    points = signal[:, :, None, None]

    def pack(halves: Tensor, scales: Tensor) -> Tensor:
        rows = columns_of_image(halves, shape)
        packed: Tensor = _ONEDNN.qconv_prepack(
            rows[:, :, None, None], scales, 1.0, 0, ones, nothing, ones, 1, list(points.shape)
        )
        return packed

    packed = _packed((multiply_bytes_as_points, signal.shape, shape), weight, pack)
    if packed is None:
        return None
    return _convolve(points, packed, (ones, nothing, ones), 1).flatten(1)


def _convolve(
    signal: Tensor, packed: _Packed, axes: tuple[list[int], list[int], list[int]], groups: int
) -> Tensor:
    found: Tensor = _ONEDNN.qconv2d_pointwise(
        signal, 1.0, 0, *packed, None, *axes, groups, 1.0, 0, torch.float32, "none", [], ""
    )
    return found


def _two_axes(numbers: tuple[int, ...], fill: int) -> list[int]:
    return [*[fill] * (2 - len(numbers)), *numbers]


#: By weights, what was packed of them, for a window is run in several parts, and a simulation in
#: many batches.
_PACKED: Any = WeakTensorKeyDictionary()  # type: ignore[no-untyped-call]


def _packed(
    key: tuple[object, ...], weight: Tensor, pack: Callable[[Tensor, Tensor], Tensor]
) -> _Packed | None:
    if weight.is_inference():  # nothing says whether it was changed since
        return _pack(weight, pack)
    version, known = _PACKED.get(weight, (None, {}))
    if version != weight._version:
        known = {}
        _PACKED[weight] = (weight._version, known)
    if key not in known:
        known[key] = _pack(weight, pack)
    packed: _Packed | None = known[key]
    return packed


def _pack(weight: Tensor, pack: Callable[[Tensor, Tensor], Tensor]) -> _Packed | None:
    halves = weight / _SCALE
    small = halves.to(torch.int8)
    if not torch.equal(small.to(halves.dtype), halves):
        return None
    outputs = weight.shape[0]
    scales = torch.full((outputs,), _SCALE, dtype=torch.float32)
    return _Packed(pack(small, scales), scales, torch.zeros(outputs, dtype=torch.int32))
