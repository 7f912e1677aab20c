"""Tandem layers that are a convolution: with weights of their own, an average, or transposed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from tandem_hw.arithmetic.synapses import (
    convolve,
    convolve_fast,
    convolve_transposed,
    convolve_transposed_fast,
    inputs_first,
)
from tandem_hw.counted import counted
from tandem_hw.errors import ConversionError
from tandem_hw.learning.architecture import LayerSpec
from tandem_hw.learning.kinds.normalisation import make_norm
from tandem_hw.learning.layers import SpikingOptions, TandemLayer
from tandem_hw.network.synapses.convolutions import Conv1d, Conv2d, Convolution, ConvTranspose2d
from tandem_hw.network.synapses.geometry import Geometry, Shape, TransposedGeometry

#: By the number of spatial axes, a convolution of PyTorch and of a quantized network.
_CONVOLUTIONS: Final[dict[int, tuple[Any, type[Convolution]]]] = {
    1: (nn.Conv1d, Conv1d),
    2: (nn.Conv2d, Conv2d),
}


class TandemConv(TandemLayer):
    """Tandem layer of a convolution over one or two axes; weights [out, in / groups, *kernel]."""

    short_name: ClassVar[str] = "conv"

    def __init__(self, *arguments: Any, geometry: Geometry) -> None:
        super().__init__(*arguments)
        self.geometry = geometry

    @classmethod
    def output_shape(cls, spec: LayerSpec, shape: Shape) -> Shape:
        """Return (out, *lengths)."""
        return (spec.out, *_geometry(spec).output_lengths(shape[1:], spec.kernel))

    @classmethod
    def from_spec(
        cls, spec: LayerSpec, name: str, shape: Shape, options: SpikingOptions, fires: bool
    ) -> TandemConv:
        """Make one; see ``LayerKind``."""
        axes = len(spec.kernel)
        if axes not in _CONVOLUTIONS:
            raise ConversionError(
                f"layer {name}: a convolution over {counted(axes, 'axis', 'axes')} is not possible"
            )
        make, _ = _CONVOLUTIONS[axes]
        conv = make(
            shape[0],
            spec.out,
            spec.kernel,
            groups=spec.groups,
            bias=spec.bias,
            dtype=torch.float32,
        )
        norm = make_norm(spec, axes)
        weights = (conv.weight.data, conv.bias)
        return cls(name, options, *weights, norm, fires, geometry=_geometry(spec))

    @property
    def groups(self) -> int:
        """Groups of the geometry."""
        return self.geometry.groups

    def synaptic_input(self, signal: Tensor, weight: Tensor) -> Tensor:
        """Return the convolution of a signal [batch, in, *lengths]."""
        return convolve(signal, weight, self.geometry)

    def twin_input(self, counts: Tensor, weight: Tensor) -> Tensor:
        """Return the convolution of real weights by the device's fastest algorithm."""
        return convolve_fast(counts, weight, self.geometry)

    def bias_image(self, bias: Tensor) -> Tensor:
        """Shape a per-channel vector [out] as [out, 1, 1], or [out, 1]."""
        return bias.reshape(-1, *([1] * len(self.geometry.stride)))

    def integer_synapses(self, weight: Tensor, input_shape: Shape) -> Convolution:
        """Return the convolution of integers."""
        _, kind = _CONVOLUTIONS[len(self.geometry.stride)]
        integers = self.whole(weight, "weights")
        return kind(self.name, integers, self.options.weight_bits, input_shape, self.geometry)


class TandemAvgPool(TandemConv):
    """Average pooling as spiking neurons: each channel is convolved with a constant kernel.

    An average of counts that are never negative needs no ReLU; its neurons fire as often as the
    average says, rounded as in any other layer. The kernel is not learnt.
    """

    short_name: ClassVar[str] = "pool"

    def __init__(
        self,
        name: str,
        options: SpikingOptions,
        channels: int,
        kernel: tuple[int, ...],
        geometry: Geometry,
        fires: bool = True,
    ) -> None:
        weight = torch.full((channels, 1, *kernel), 1 / math.prod(kernel), dtype=torch.float32)
        super().__init__(name, options, weight, None, None, fires, geometry=geometry)
        assert self.weight is not None
        self.weight.requires_grad_(False)

    @classmethod
    def output_shape(cls, spec: LayerSpec, shape: Shape) -> Shape:
        """Return (channels, *lengths)."""
        return (shape[0], *_geometry(spec).output_lengths(shape[1:], spec.kernel))

    @classmethod
    def from_spec(
        cls, spec: LayerSpec, name: str, shape: Shape, options: SpikingOptions, fires: bool
    ) -> TandemAvgPool:
        """Make one; see ``LayerKind``."""
        geometry = replace(_geometry(spec), groups=shape[0])
        return cls(name, options, shape[0], spec.kernel, geometry, fires)


class TandemConvTranspose2d(TandemLayer):
    """Tandem layer of a transposed convolution; weights [out, in / groups, kernel_h, kernel_w]."""

    short_name: ClassVar[str] = "convt"

    def __init__(self, *arguments: Any, geometry: TransposedGeometry) -> None:
        super().__init__(*arguments)
        self.geometry = geometry

    @classmethod
    def output_shape(cls, spec: LayerSpec, shape: Shape) -> Shape:
        """Return (out, height, width)."""
        return (spec.out, *_transposed_geometry(spec).output_lengths(shape[1:], spec.kernel))

    @classmethod
    def from_spec(
        cls, spec: LayerSpec, name: str, shape: Shape, options: SpikingOptions, fires: bool
    ) -> TandemConvTranspose2d:
        """Make one; see ``LayerKind``."""
        if len(spec.kernel) != 2:
            raise ConversionError(
                f"layer {name}: a transposed convolution has two axes, found {len(spec.kernel)}"
            )
        conv = nn.ConvTranspose2d(
            shape[0],
            spec.out,
            (spec.kernel[0], spec.kernel[1]),
            groups=spec.groups,
            bias=spec.bias,
            dtype=torch.float32,
        )
        norm = make_norm(spec, axes=2)
        weights = (inputs_first(conv.weight.data, spec.groups), conv.bias)
        return cls(name, options, *weights, norm, fires, geometry=_transposed_geometry(spec))

    @property
    def groups(self) -> int:
        """Groups of the geometry."""
        return self.geometry.groups

    def synaptic_input(self, signal: Tensor, weight: Tensor) -> Tensor:
        """Return the transposed convolution of a signal [batch, in, height, width]."""
        return convolve_transposed(signal, weight, self.geometry)

    def twin_input(self, counts: Tensor, weight: Tensor) -> Tensor:
        """Return the transposed convolution by the device's fastest algorithm."""
        return convolve_transposed_fast(counts, weight, self.geometry)

    def bias_image(self, bias: Tensor) -> Tensor:
        """Shape a per-channel vector [out] as [out, 1, 1]."""
        return bias.reshape(-1, 1, 1)

    def integer_synapses(self, weight: Tensor, input_shape: Shape) -> ConvTranspose2d:
        """Return the transposed convolution of integers."""
        integers, bits = self.whole(weight, "weights"), self.options.weight_bits
        return ConvTranspose2d(self.name, integers, bits, input_shape, self.geometry)


def _geometry(spec: LayerSpec) -> Geometry:
    """Return the geometry of a convolution or pooling.

    Raises:
        ConversionError: it does not have one number for each axis of the kernel.
    """
    for name in ("stride", "padding", "dilation"):
        _check_axes(spec, name)
    return Geometry(spec.stride, spec.padding, spec.dilation, spec.groups)


def _transposed_geometry(spec: LayerSpec) -> TransposedGeometry:
    """Return the geometry of a transposed convolution; see ``_geometry``."""
    _check_axes(spec, "output_padding")
    geometry = TransposedGeometry(**vars(_geometry(spec)), output_padding=spec.output_padding)
    if geometry.adds_too_much:
        raise ConversionError(
            f"a layer of kind {spec.kind} has the output_padding {spec.output_padding}; it must be "
            f"less than the stride {spec.stride} or the dilation {spec.dilation}"
        )
    return geometry


def _check_axes(spec: LayerSpec, name: str) -> None:
    numbers = getattr(spec, name)
    if len(numbers) != len(spec.kernel):
        raise ConversionError(
            f"a layer of kind {spec.kind} has the kernel {spec.kernel} and the {name} {numbers}; "
            f"there must be as many numbers"
        )
