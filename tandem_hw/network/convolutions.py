"""Layers whose synapses are a convolution, of one or two dimensions, or a transposed one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import NetworkError
from tandem_hw.network.layers import Layer, Shape


class Convolution(Layer):
    """What convolutions share, transposed ones included; see ``Conv2d``."""

    #: Number of spatial axes.
    rank: ClassVar[int]

    stride: Shape
    padding: Shape
    dilation: Shape
    groups: int

    def __post_init__(self) -> None:
        """Check the geometry."""
        super().__post_init__()
        self._plain("stride", "padding", "dilation", "groups")
        axes, kernel = (("H, W", "kernel_h, kernel_w"), ("L", "kernel"))[self.rank == 1]
        if len(self.input_shape) != 1 + self.rank or self.weight.ndim != 2 + self.rank:
            raise NetworkError(
                f"layer {self.name}: a convolution takes an input (C, {axes}) and weights [out, in "
                f"/ groups, {kernel}], found {self.input_shape} and {self.weight.shape}"
            )
        for name, least in self._least().items():
            values = getattr(self, name)
            if not isinstance(values, tuple) or len(values) != self.rank or min(values) < least:
                wanted = {1: "one", 2: "two"}[self.rank]
                raise NetworkError(
                    f"layer {self.name}: {name} {values} must be {wanted} of >= {least}"
                )
        out_channels, in_channels = self.weight.shape[0], self.input_shape[0]
        if self.groups < 1 or in_channels % self.groups or out_channels % self.groups:
            raise NetworkError(
                f"layer {self.name}: {self.groups} groups do not divide {in_channels} input and "
                f"{out_channels} output channels"
            )
        if self.weight.shape[1] != in_channels // self.groups:
            raise NetworkError(
                f"layer {self.name}: weights {self.weight.shape} take {self.weight.shape[1]} input "
                f"channels a group, the input {self.input_shape} has {in_channels // self.groups}"
            )
        if min(self.output_shape) < 1:
            raise NetworkError(
                f"layer {self.name}: the kernel {self.weight.shape[2:]} is larger than the padded "
                f"input {self.input_shape}"
            )

    def _least(self) -> dict[str, int]:
        """Return the smallest value of each field of the geometry."""
        return {"stride": 1, "padding": 0, "dilation": 1}

    @property
    def output_shape(self) -> Shape:
        """Shape of one sample that goes out, channels first."""
        return (self.weight.shape[0], *(self._output_length(axis) for axis in range(self.rank)))

    def _output_length(self, axis: int) -> int:
        reach = self.dilation[axis] * (self.weight.shape[2 + axis] - 1) + 1
        padded = self.input_shape[1 + axis] + 2 * self.padding[axis]
        return int((padded - reach) // self.stride[axis] + 1)

    @property
    def fan_out(self) -> npt.NDArray[np.int64]:
        """Synapses that one spike of each input reaches, in ``input_shape``."""
        image = np.full((), self.weight.shape[0] // self.groups, dtype=np.int64)
        for axis in range(self.rank):
            image = np.multiply.outer(image, self._targets(axis))
        return np.broadcast_to(image, self.input_shape)

    def _targets(self, axis: int) -> npt.NDArray[np.int64]:
        """Count the output positions along one axis that each input position contributes to."""
        length = self.input_shape[1 + axis]
        reached = self.taps(axis)
        inside = reached[(reached >= 0) & (reached < length)]
        return np.bincount(inside, minlength=length).astype(np.int64)

    def taps(self, axis: int) -> npt.NDArray[np.int64]:
        """Return the input positions along one axis that each output position takes in.

        Args:
            axis: spatial axis, from 0.

        Returns:
            int64 [outputs, kernel]; what is out of the input lies in the padding.
        """
        starts = np.arange(self._output_length(axis)) * self.stride[axis] - self.padding[axis]
        return starts[:, None] + np.arange(self.weight.shape[2 + axis]) * self.dilation[axis]


@dataclass(frozen=True, eq=False)
class Conv2d(Convolution):
    """Convolution as PyTorch defines it: weight [out, in / groups, kernel_h, kernel_w].

    Attributes:
        stride: (y, x), at least 1.
        padding: (y, x) zeros on either side, at least 0.
        dilation: (y, x), at least 1.
        groups: both channel counts are divisible by it.
    """

    rank: ClassVar[int] = 2

    stride: Shape = (1, 1)
    padding: Shape = (0, 0)
    dilation: Shape = (1, 1)
    groups: int = 1


@dataclass(frozen=True, eq=False)
class Conv1d(Convolution):
    """Convolution over (C, L) as PyTorch defines it: weight [out, in / groups, kernel].

    Attributes:
        stride: one number of at least 1, as a tuple.
        padding: one number of zeros on either side, at least 0.
        dilation: one number of at least 1.
        groups: both channel counts are divisible by it.
    """

    rank: ClassVar[int] = 1

    stride: Shape = (1,)
    padding: Shape = (0,)
    dilation: Shape = (1,)
    groups: int = 1


@dataclass(frozen=True, eq=False)
class ConvTranspose2d(Convolution):
    """Transposed convolution: weight [out, in / groups, kernel_h, kernel_w], output channels first.

    An input at position i reaches the outputs i * stride - padding + k * dilation for every k of
    the kernel, as in ``torch.nn.ConvTranspose2d``, whose weights have the input channels first.

    Attributes:
        stride: (y, x), at least 1.
        padding: (y, x) outputs that are cut off on either side, at least 0.
        dilation: (y, x), at least 1.
        groups: both channel counts are divisible by it.
        output_padding: (y, x) outputs that are added at the end, less than the stride or the
            dilation.
    """

    rank: ClassVar[int] = 2

    stride: Shape = (1, 1)
    padding: Shape = (0, 0)
    dilation: Shape = (1, 1)
    groups: int = 1
    output_padding: Shape = (0, 0)

    def __post_init__(self) -> None:
        """Check the geometry."""
        self._plain("output_padding")
        super().__post_init__()
        limits = map(max, self.stride, self.dilation)
        if any(added >= limit for added, limit in zip(self.output_padding, limits, strict=True)):
            raise NetworkError(
                f"layer {self.name}: output_padding {self.output_padding} must be less than the "
                f"stride {self.stride} or the dilation {self.dilation}"
            )

    def _least(self) -> dict[str, int]:
        return super()._least() | {"output_padding": 0}

    def _output_length(self, axis: int) -> int:
        reach = self.dilation[axis] * (self.weight.shape[2 + axis] - 1) + 1
        spread = (self.input_shape[1 + axis] - 1) * self.stride[axis]
        return int(spread - 2 * self.padding[axis] + reach + self.output_padding[axis])

    def _targets(self, axis: int) -> npt.NDArray[np.int64]:
        reached = self.taps(axis)
        inside = (reached >= 0) & (reached < self._output_length(axis))
        targets: npt.NDArray[np.int64] = inside.sum(axis=1, dtype=np.int64)
        return targets

    def taps(self, axis: int) -> npt.NDArray[np.int64]:
        """Return the output positions along one axis that each input position reaches.

        Args:
            axis: spatial axis, from 0.

        Returns:
            int64 [inputs, kernel]; what is out of the output is cut off.
        """
        starts = np.arange(self.input_shape[1 + axis]) * self.stride[axis] - self.padding[axis]
        return starts[:, None] + np.arange(self.weight.shape[2 + axis]) * self.dilation[axis]
