"""Synapses that are a convolution, of one or two dimensions, or a transposed one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.errors import NetworkError
from tandem_hw.network.synapses.geometry import (
    LEAST,
    Geometry,
    Meetings,
    Shape,
    TransposedGeometry,
)
from tandem_hw.network.synapses.kind import Synapses, plain_integers

_IMAGE_AXES = ("out", "in / groups", "kernel_h", "kernel_w")


@dataclass(frozen=True, eq=False)
class Convolution(Synapses):
    """What convolutions share, transposed ones included; see ``Conv2d``."""

    #: Number of spatial axes.
    rank: ClassVar[int]

    geometry: Geometry

    def __post_init__(self) -> None:
        """Check the geometry."""
        super().__post_init__()
        axes, kernel = (("H, W", "kernel_h, kernel_w"), ("L", "kernel"))[self.rank == 1]
        if len(self.input_shape) != 1 + self.rank or self.weight.ndim != 2 + self.rank:
            raise NetworkError(
                f"layer {self.name}: a convolution takes an input (C, {axes}) and weights [out, in "
                f"/ groups, {kernel}], found {self.input_shape} and {self.weight.shape}"
            )
        self._check_geometry()
        out_channels, in_channels = self.weight.shape[0], self.input_shape[0]
        groups = self.geometry.groups
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise NetworkError(
                f"layer {self.name}: {groups} groups do not divide {in_channels} input and "
                f"{out_channels} output channels"
            )
        if self.weight.shape[1] != in_channels // groups:
            raise NetworkError(
                f"layer {self.name}: weights {self.weight.shape} take "
                f"{counted(self.weight.shape[1], 'input channel')} a group, the input "
                f"{self.input_shape} has {in_channels // groups}"
            )
        if min(self.output_shape) < 1:
            raise NetworkError(
                f"layer {self.name}: the kernel {self.kernel} is larger than the padded "
                f"input {self.input_shape}"
            )

    def _check_geometry(self) -> None:
        geometry, owner = self.geometry, f"layer {self.name}: "
        if type(geometry) is not self.geometry_type:
            raise NetworkError(
                f"{owner}its geometry is a {type(geometry).__name__}; a {type(self).__name__} "
                f"needs a {self.geometry_type.__name__ if self.geometry_type else None}"
            )
        plain_integers(geometry, owner, *(entry.name for entry in fields(geometry)))
        for name, values in self.geometry_numbers.items():
            least = LEAST[name]
            if not isinstance(values, tuple) or len(values) != self.rank or min(values) < least:
                wanted = {1: "one", 2: "two"}[self.rank]
                raise NetworkError(f"{owner}{name} {values} must be {wanted} of >= {least}")

    @property
    def geometry_numbers(self) -> dict[str, Shape]:
        """The numbers of the geometry that are given for each axis, by name."""
        return {name: getattr(self.geometry, name) for name in self.geometry.axis_names()}

    @property
    def kernel(self) -> Shape:
        """Lengths of the kernel."""
        return self.weight.shape[2:]

    @property
    def output_shape(self) -> Shape:
        """Shape of the neurons that they reach, channels first."""
        lengths = self.geometry.output_lengths(self.input_shape[1:], self.kernel)
        return (self.weight.shape[0], *lengths)

    def meetings(self, axis: int) -> list[Meetings]:
        """Return which outputs meet which inputs along an axis, for each place of the kernel."""
        return self.geometry.meetings(axis, self.input_shape[1 + axis], self.kernel[axis])

    @property
    def fan_out(self) -> npt.NDArray[np.int64]:
        """Synapses that one spike of each input reaches, in ``input_shape``."""
        image = np.full((), self.weight.shape[0] // self.geometry.groups, dtype=np.int64)
        for axis, length in enumerate(self.input_shape[1:]):
            met = np.concatenate([inputs for _, inputs in self.meetings(axis)])
            image = np.multiply.outer(image, np.bincount(met, minlength=length))
        return np.broadcast_to(image.astype(np.int64), self.input_shape)

    @property
    def title(self) -> str:
        """The kernel, and what of the geometry is not plain."""
        return ", ".join([f"{self._word} {_pair(self.kernel)}", *self._not_plain()])

    _word: ClassVar[str] = "conv"

    def _not_plain(self) -> Iterator[str]:
        for name, values in self.geometry_numbers.items():
            if set(values) != {LEAST[name]}:
                shown = values[0] if len(set(values)) == 1 else _pair(values)
                yield f"{name.replace('_', ' ')} {shown}"
        if self.geometry.groups != 1:
            yield f"{self.geometry.groups} groups"


def _pair(values: Shape) -> str:
    return "×".join(map(str, values))


@dataclass(frozen=True, eq=False)
class Conv2d(Convolution):
    """Convolution as PyTorch defines it: weight [out, in / groups, kernel_h, kernel_w]."""

    rank: ClassVar[int] = 2
    file_type: ClassVar[str] = "conv"
    weight_axes: ClassVar[tuple[str, ...]] = _IMAGE_AXES
    geometry_type: ClassVar[type[Geometry]] = Geometry

    geometry: Geometry = field(default_factory=Geometry)


@dataclass(frozen=True, eq=False)
class Conv1d(Convolution):
    """Convolution over (C, L) as PyTorch defines it: weight [out, in / groups, kernel]."""

    rank: ClassVar[int] = 1
    file_type: ClassVar[str] = "conv1d"
    weight_axes: ClassVar[tuple[str, ...]] = ("out", "in / groups", "kernel")
    geometry_type: ClassVar[type[Geometry]] = Geometry

    geometry: Geometry = field(default_factory=lambda: Geometry((1,), (0,), (1,)))


@dataclass(frozen=True, eq=False)
class ConvTranspose2d(Convolution):
    """Transposed convolution: weight [out, in / groups, kernel_h, kernel_w], output channels first.

    An input at position i reaches the outputs i * stride - padding + k * dilation for every k of
    the kernel, as in ``torch.nn.ConvTranspose2d``, whose weights have the input channels first.
    """

    rank: ClassVar[int] = 2
    file_type: ClassVar[str] = "convT"
    weight_axes: ClassVar[tuple[str, ...]] = _IMAGE_AXES
    geometry_type: ClassVar[type[Geometry]] = TransposedGeometry
    _word: ClassVar[str] = "transposed conv"

    geometry: Geometry = field(default_factory=TransposedGeometry)

    def _check_geometry(self) -> None:
        super()._check_geometry()
        geometry = self.geometry
        assert isinstance(geometry, TransposedGeometry)
        if geometry.adds_too_much:
            raise NetworkError(
                f"layer {self.name}: output_padding {geometry.output_padding} must be less than "
                f"the stride {geometry.stride} or the dilation {geometry.dilation}"
            )


#: Every kind of convolution.
CONVOLUTIONS: tuple[type[Convolution], ...] = (Conv2d, Conv1d, ConvTranspose2d)
