"""Weighted sums of spikes, exact in floating point.

Every product and every sum is an integer below 2^24 (``bounds.check_accumulator``), so float32
holds them exactly in whatever order they are added. That is true of direct sums only: a convolution
by Winograd's or Fourier's transform rounds on the way, and which algorithm PyTorch's libraries
choose depends on the machine, the build, the settings and the sizes. On a CPU their convolution is
tried first, then a matrix product of unfolded patches (a transposed convolution folds the product
up again). On CUDA cuDNN may choose a transform, and another time another one: what its convolution
gives is looked at each time. On other devices that product is used alone. Each is used only where
``exact_sums`` saw it to be exact.

cuDNN's convolutions of float32 run in TF32 unless ``torch.backends.cudnn.allow_tf32`` says no. That
has 11 bits for an operand and the 24 of float32 for a sum, and here an operand has 8: nothing is
lost. A matrix product of float32 runs in TF32 only where a setting of the process says so, which is
not ours to change; so on CUDA the one of a dense layer is a convolution of images of one point.

The functions called ``fast`` are for real values, where the last bit does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tandem_hw.arithmetic.exact_sums import exact_sum
from tandem_hw.arithmetic.integer_products import (
    convolve_bytes,
    multiply_bytes,
    multiply_bytes_as_points,
)
from tandem_hw.arithmetic.memory_order import ImageShape, MemoryOrder, columns_of_image
from tandem_hw.arithmetic.sum_trials import ByteWay, Way
from tandem_hw.network.synapses.convolutions import Conv1d, Conv2d, ConvTranspose2d
from tandem_hw.network.synapses.dense import Dense, OneToOne
from tandem_hw.network.synapses.geometry import Geometry, TransposedGeometry, row_geometry
from tandem_hw.network.synapses.kind import Synapses, row_of

#: From a signal and the weights to synaptic inputs, such as ``dense``.
Product = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class WeightedSynapse:
    """Synapses as a function of one step's signal.

    Attributes:
        function: from a signal and the weights to synaptic inputs, such as ``dense``.
        weight: the weights that it is called with.
    """

    function: Product
    weight: Tensor

    def __call__(self, signal: Tensor) -> Tensor:
        """Return the synaptic inputs of one step."""
        return self.function(signal, self.weight)


def synapse_of(synapses: Synapses, device: torch.device | str = "cpu") -> WeightedSynapse:
    """Return synapses of a quantized network as a function of one step's signal.

    Args:
        synapses: of one kind or another.
        device: where their weights are kept.

    Raises:
        NetworkError: a kind without an exact product here.
    """
    product = row_of(_PRODUCTS, synapses, "the arithmetic in PyTorch")(synapses)
    return WeightedSynapse(product, torch.from_numpy(synapses.weight.astype(np.float32)).to(device))


def dense(signal: Tensor, weight: Tensor) -> Tensor:
    """Return W s for a dense layer; a signal of more than one axis is flattened in C order.

    Args:
        signal: [batch, *in_shape], integers.
        weight: [out, in], integers of the same dtype.

    Returns:
        [batch, out].
    """
    order = MemoryOrder.of(signal)
    byte_ways = _DENSE_BYTES if _for_onednn(signal) else ()
    ways = (_dense_as_points, *_DENSE) if _for_cudnn(signal) else _DENSE
    return exact_sum(ways, order.flat(signal), weight, order.image_shape, byte_ways)


def dense_fast(signal: Tensor, weight: Tensor) -> Tensor:
    """Return W s for real values by the device's fastest algorithm; see ``dense``."""
    return F.linear(signal.flatten(1), weight)


def one_to_one(signal: Tensor, weight: Tensor) -> Tensor:
    """Return each input times the one weight of one-to-one synapses.

    Args:
        signal: [batch, *shape], integers.
        weight: [1], an integer of the same dtype.

    Returns:
        [batch, *shape].
    """
    return signal * weight


def largest_magnitude(product: Product, signal: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Return what no part of a layer's weighted sums exceeds in magnitude, at each position.

        max over groups, sum over i of (max over the group's outputs o of |W[o, i]|) s[i]

    Args:
        product: from a signal and weights to weighted sums.
        signal: [batch, *in_shape], integers.
        weight: as ``product`` takes it, output channels first; [1] of one-to-one synapses.
        groups: groups of a convolution, otherwise 1.

    Returns:
        [batch, 1, ...].
    """
    magnitude = weight.abs()
    if weight.dim() > 1:
        magnitude = magnitude.unflatten(0, (groups, -1)).amax(1)
    return product(signal, magnitude).amax(1, keepdim=True)


def convolve(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Return the convolution of a signal of integers, exactly on every device.

    Args:
        signal: [batch, in, height, width] or [batch, in, length], integers.
        weight: [out, in / groups, *kernel], integers of the same dtype.
        geometry: stride, padding, dilation and groups.

    Returns:
        [batch, out, out_height, out_width] or [batch, out, out_length].
    """
    ways = _ways(_CONVOLUTIONS, signal)
    if _for_cudnn(signal):
        if signal.dim() == 4:
            ways = (_convolve_channels_last, *ways[1:])
        return exact_sum(ways, signal, weight, geometry)
    if not _is_plain(weight, geometry):
        return exact_sum(ways, signal.contiguous(), weight.contiguous(), geometry)
    if not _for_onednn(signal):
        return exact_sum(ways, signal, weight, geometry)
    if signal.dim() == 4:
        ways = (_convolve_channels_last, *ways)
    # With one channel into each group, oneDNN's products of bytes are wrong for some strides.
    byte_ways = _CONVOLUTION_BYTES if weight.shape[1] > 1 else ()
    return exact_sum(ways, signal, weight, geometry, byte_ways)


def convolve_transposed(signal: Tensor, weight: Tensor, geometry: TransposedGeometry) -> Tensor:
    """Return the transposed convolution of a signal of integers, exactly on every device.

    Args:
        signal: [batch, in, height, width], integers.
        weight: [out, in / groups, kernel_h, kernel_w], integers of the same dtype.
        geometry: stride, padding, dilation, groups and output_padding.

    Returns:
        [batch, out, out_height, out_width].
    """
    return exact_sum(_ways(_TRANSPOSED, signal), signal, weight, geometry)


def convolve_fast(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Return a convolution of real values by the device's fastest algorithm; see ``convolve``."""
    function = F.conv1d if signal.dim() == 3 else F.conv2d
    return function(
        signal,
        weight,
        None,
        geometry.stride,
        geometry.padding,
        geometry.dilation,
        geometry.groups,
    )


def convolve_transposed_fast(
    signal: Tensor, weight: Tensor, geometry: TransposedGeometry
) -> Tensor:
    """Return a transposed convolution of real values by the device's fastest algorithm."""
    return F.conv_transpose2d(
        signal,
        inputs_first(weight, geometry.groups),
        None,
        geometry.stride,
        geometry.padding,
        geometry.output_padding,
        geometry.groups,
        geometry.dilation,
    )


def inputs_first(weight: Tensor, groups: int) -> Tensor:
    """Turn [out, in / groups, *kernel] into PyTorch's [in, out / groups, *kernel], or back.

    Args:
        weight: weights of a transposed convolution.
        groups: its groups.
    """
    per_group = weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2)
    return per_group.reshape(-1, *per_group.shape[2:])


def _convolve_channels_last(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Convolve images in the order of products of bytes, and of tensor cores; it is the faster one.

    So no layer has to bring what the one before it sends into another order.
    """
    last = torch.channels_last
    if signal.shape[1] == 1:  # in both orders at once, of which PyTorch would take the other one
        height, width = signal.shape[2:]
        signal = signal.contiguous().as_strided(signal.shape, (height * width, 1, width, 1))
    return convolve_fast(
        signal.contiguous(memory_format=last), weight.contiguous(memory_format=last), geometry
    )


def _convolve_unfolded(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    if signal.dim() == 3:  # an image of one row
        image, row = signal[:, :, None], row_geometry(geometry)
        return _convolve_unfolded(image, weight[:, :, None], row)[:, :, 0]
    kernel = weight.shape[2:]
    lengths = geometry.output_lengths(signal.shape[2:], kernel)
    patches = F.unfold(signal, tuple(kernel), geometry.dilation, geometry.padding, geometry.stride)
    batch, groups = signal.shape[0], geometry.groups
    grouped = patches.reshape(batch, groups, -1, patches.shape[-1])
    matrix = weight.reshape(groups, weight.shape[0] // groups, -1)
    return (matrix @ grouped).reshape(batch, weight.shape[0], *lengths)


def _fold_products(signal: Tensor, weight: Tensor, geometry: TransposedGeometry) -> Tensor:
    kernel, groups = weight.shape[2:], geometry.groups
    grouped = signal.reshape(signal.shape[0], groups, signal.shape[1] // groups, -1)
    matrix = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    matrix = matrix.permute(0, 1, 3, 2).reshape(groups, -1, weight.shape[1])
    products = (matrix @ grouped).reshape(signal.shape[0], -1, grouped.shape[-1])
    # All that is reached, and then what the padding leaves of it.
    whole = replace(geometry, padding=(0, 0), output_padding=(0, 0))
    reached = whole.output_lengths(signal.shape[2:], kernel)
    image = F.fold(
        products, (reached[0], reached[1]), tuple(kernel), geometry.dilation, 0, geometry.stride
    )
    margins: list[int] = []
    for axis in (1, 0):  # F.pad wants the last axis first
        padding = geometry.padding[axis]
        margins += [-padding, geometry.output_padding[axis] - padding]
    return F.pad(image, margins)


def _dense(signal: Tensor, weight: Tensor, geometry: ImageShape | None) -> Tensor:
    return F.linear(signal, columns_of_image(weight, geometry))


def _dense_as_points(signal: Tensor, weight: Tensor, geometry: ImageShape | None) -> Tensor:
    rows = columns_of_image(weight, geometry)
    return F.conv2d(_points(signal), _points(rows)).flatten(1)


def _points(rows: Tensor) -> Tensor:
    """Return [rows, columns] as images of one point whose channels are last, for PyTorch to see."""
    number, columns = rows.shape
    return rows.contiguous().as_strided((number, columns, 1, 1), (columns, 1, columns, columns))


#: Algorithms for the same sums, as ``exact_sum`` takes them.
_DENSE: tuple[Way, ...] = (_dense,)
_CONVOLUTIONS: tuple[Way, ...] = (convolve_fast, _convolve_unfolded)
_TRANSPOSED: tuple[Way, ...] = (convolve_transposed_fast, _fold_products)
#: Algorithms for a signal in bytes, likewise.
_DENSE_BYTES: tuple[ByteWay, ...] = (multiply_bytes, multiply_bytes_as_points)
_CONVOLUTION_BYTES: tuple[ByteWay, ...] = (convolve_bytes,)


#: The exact product of each kind of synapses.
_PRODUCTS: dict[type[Synapses], Callable[[Any], Product]] = {
    Conv2d: lambda synapses: partial(convolve, geometry=synapses.geometry),
    Conv1d: lambda synapses: partial(convolve, geometry=synapses.geometry),
    ConvTranspose2d: lambda synapses: partial(convolve_transposed, geometry=synapses.geometry),
    Dense: lambda _: dense,
    OneToOne: lambda _: one_to_one,
}


def _ways(ways: tuple[Way, ...], signal: Tensor) -> tuple[Way, ...]:
    """Leave out the libraries' own convolutions on devices of which nothing is known."""
    return ways if signal.device.type in ("cpu", "cuda") else ways[1:]


def _for_onednn(signal: Tensor) -> bool:
    return signal.device.type == "cpu" and bool(torch.backends.mkldnn.enabled)


def _for_cudnn(signal: Tensor) -> bool:
    return signal.device.type == "cuda"


def _is_plain(weight: Tensor, geometry: Geometry) -> bool:
    """Return whether a kernel has no holes and meets the image wherever it lies.

    Elsewhere oneDNN's convolutions of images whose channels are last may end the process (PyTorch
    2.3 and 2.13, found by random geometries).
    """
    axes = zip(geometry.padding, geometry.dilation, weight.shape[2:], strict=True)
    return all(dilation == 1 and padding < kernel for padding, dilation, kernel in axes)
