"""Max pooling as neurons that take in a whole window before they fire, exactly.

Counts are never negative, and a neuron of threshold w with the weights +w and -w that takes in two
whole counts fires as often as one exceeds the other:

    max(a, b) = a + relu(b - a)

The larger of two windows that may overlap is the maximum of both together, so along an axis windows
double, level by level, until they are as long as the pooling's:

    m[1] = x        m[n + k](q) = m[n](q) + r(q),   r(q) = relu(m[n](q + k) - m[n](q)),   k <= n

A maximum is thus a sum of counts of x and of one layer r a level, each of which takes in the layers
below through fixed kernels with one -w and one +w a channel. The last layer adds all of them up,
and so does one between two axes where it saves synapses. Where no window reaches, counts are 0,
which is as good as the padding of a max pooling.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from tandem_hw.network.layers import Input, Layer, Neurons
from tandem_hw.network.synapses.convolutions import Conv1d, Conv2d
from tandem_hw.network.synapses.dense import OneToOne
from tandem_hw.network.synapses.geometry import Geometry, Shape
from tandem_hw.network.synapses.kind import Synapses

#: Weights and threshold: the least that the chip has.
_WEIGHT: Final = 2
_WEIGHT_BITS: Final = 2
_ONE_TO_ONE_BITS: Final = 8
#: Behind more than one level along an axis what was found so far is added up before the next axis.
#: It takes a layer more, and the layers behind it far fewer synapses and relays.
_ONE_LEVEL: Final = 2
#: What the axes of a sample are called, by their number.
_AXES: Final = {1: ("length",), 2: ("height", "width")}
_CONVOLUTIONS: Final = {1: Conv1d, 2: Conv2d}


@dataclass(frozen=True)
class PoolingWindow:
    """The windows of a max pooling along one axis, as ``torch.nn.MaxPool2d`` has them.

    Attributes:
        length: of what comes in.
        kernel: number of values of a window, 1 or more.
        stride: from window to window.
        padding: how far the first window starts before the first value.
        dilation: from value to value of a window.
        ceil_mode: whether a last window may reach beyond the padding.
    """

    length: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    ceil_mode: bool

    @property
    def number(self) -> int:
        """How many windows there are; below 1 where the kernel is too long."""
        rest = self.length + 2 * self.padding - self.dilation * (self.kernel - 1) - 1
        found = (rest + (self.stride - 1 if self.ceil_mode else 0)) // self.stride + 1
        # A window has to start at a value or in the padding before the first one.
        if self.ceil_mode and (found - 1) * self.stride >= self.length + self.padding:
            found -= 1
        return found

    @property
    def sees_nothing(self) -> bool:
        """Whether a window takes in padding alone, as a dilated one can."""
        if self.dilation <= self.length:
            return False  # the padding is half the kernel at most, so it reaches what is beyond
        ends = min(0, self.number * self.stride - self.padding)
        starts = range(-self.padding, ends, self.stride)
        return any(start % self.dilation >= self.length for start in starts)


class _Grid(NamedTuple):
    """Places along an axis, in steps of the values that come in: start + i * step, i < number."""

    start: int
    step: int
    number: int


@dataclass(frozen=True)
class _Sent:
    """Counts that are part of the maximum: who sends them, and which places they belong to."""

    name: str
    channels: int
    grids: tuple[_Grid, ...]

    @property
    def shape(self) -> Shape:
        return (self.channels, *(grid.number for grid in self.grids))


@dataclass
class _Maximum:
    """A maximum on its way: the sum of what these send."""

    name: str
    sent: list[_Sent]
    layers: list[Layer] = field(default_factory=list)

    def add(self, name: str, grids: tuple[_Grid, ...], terms: Sequence[tuple[Shape, int]]) -> None:
        """Add a layer that takes in the maximum so far, at some offsets and with some signs.

        Args:
            name: of the layer.
            grids: where its neurons are, an axis each.
            terms: offsets along the axes in steps of the values that come in, and a sign.
        """
        shape = (self.sent[0].channels, *(grid.number for grid in grids))
        names = (name, *(f"{name}.skip{number}" for number in range(1, len(self.sent))))
        inputs = tuple(
            Input(one.name, _fixed_synapses(own, one, grids, shape, terms))
            for own, one in zip(names, self.sent, strict=True)
        )
        biases = np.zeros(inputs[0].synapses.weight.shape[0], np.int32)
        self.layers.append(Layer(name, Neurons(biases, _WEIGHT), inputs))
        self.sent.append(_Sent(name, shape[0], grids))


def max_pooling_layers(
    name: str, source: str, channels: int, windows: Sequence[PoolingWindow]
) -> tuple[Layer, ...]:
    """Return the layers whose last one fires as often as the most active neuron of each window.

    Args:
        name: of the last layer; the others' names start with it.
        source: name of the layer that is pooled.
        channels: which it has.
        windows: along each of its axes, one or two.

    Returns:
        The layers in order. They have to take in a whole window before they fire
        (``QuantizedNetwork.firing_delay``), and to reset by subtraction.

    Raises:
        NetworkError: a window is longer than what comes in.
    """
    grids = [_Grid(0, 1, window.length) for window in windows]
    maximum = _Maximum(name, [_Sent(source, channels, tuple(grids))])
    axes = list(enumerate(zip(_AXES[len(windows)], windows, strict=True)))
    for axis, (word, window) in reversed(axes):
        for size, grid, offset in _levels(window):
            grids[axis] = grid
            here, there = (
                tuple(shift if one == axis else 0 for one in range(len(grids)))
                for shift in (0, offset)
            )
            maximum.add(f"{name}.{word}{size}", tuple(grids), [(here, -1), (there, 1)])
        grids[axis] = _Grid(-window.padding, window.stride, window.number)
        further = any(one.kernel > 1 for _, (_, one) in axes[:axis])
        if window.kernel > _ONE_LEVEL and further:
            maximum.add(f"{name}.{word}", tuple(grids), [((0,) * len(grids), 1)])
            del maximum.sent[:-1]
    maximum.add(name, tuple(grids), [((0,) * len(grids), 1)])
    return tuple(maximum.layers)


def _levels(window: PoolingWindow) -> Iterator[tuple[int, _Grid, int]]:
    """Yield the levels along an axis: the size of their windows, where they are, and the offset.

    Those of the last level are where the pooling's are, those before it wherever the next need one.
    """
    sizes = [1]
    while sizes[-1] < window.kernel:
        sizes.append(min(2 * sizes[-1], window.kernel))
    offsets = [
        (size - before) * window.dilation for before, size in itertools.pairwise(sizes)
    ]  # of the second of the two windows that a level puts together
    for level, (size, offset) in enumerate(zip(sizes[1:], offsets, strict=True)):
        later = offsets[level + 1 :]
        step = math.gcd(window.stride if window.number > 1 else 0, *later) or 1
        reach = (window.number - 1) * window.stride + sum(later)
        yield size, _Grid(-window.padding, step, reach // step + 1), offset


def _fixed_synapses(
    name: str,
    source: _Sent,
    grids: Sequence[_Grid],
    shape: Shape,
    terms: Sequence[tuple[Shape, int]],
) -> Synapses:
    """Return synapses that take in a source's counts at some offsets, with some signs."""
    kernels = []
    for axis, (grid, own) in enumerate(zip(grids, source.grids, strict=True)):
        first = [(grid.start + offsets[axis] - own.start) // own.step for offsets, _ in terms]
        stride = grid.step // own.step if grid.number > 1 else 1
        kernels.append(_kernel(own.number, grid.number, stride, first))
    plain = all(kernel.size == kernel.stride == 1 and not kernel.padding for kernel in kernels)
    if plain and source.shape == shape and len(terms) == 1:
        weight = np.array([_WEIGHT], np.int32)
        return OneToOne(name, weight, _ONE_TO_ONE_BITS, source.shape)
    weights = np.zeros((source.channels, 1, *(kernel.size for kernel in kernels)), np.int16)
    for number, (_, sign) in enumerate(terms):
        place = (slice(None), 0, *(kernel.places[number] for kernel in kernels))
        weights[place] = sign * _WEIGHT
    geometry = Geometry(
        tuple(kernel.stride for kernel in kernels),
        tuple(kernel.padding for kernel in kernels),
        tuple(kernel.dilation for kernel in kernels),
        groups=source.channels,
    )
    return _CONVOLUTIONS[len(grids)](name, weights, _WEIGHT_BITS, source.shape, geometry)


class _Kernel(NamedTuple):
    """A kernel along one axis: its geometry, and where in it each term is."""

    size: int
    stride: int
    padding: int
    dilation: int
    places: tuple[int, ...]


def _kernel(length: int, outputs: int, stride: int, first: Sequence[int]) -> _Kernel:
    """Return the smallest kernel with which some outputs meet given inputs, and no others come out.

    Args:
        length: of the axis that is taken in.
        outputs: how many there are.
        stride: from output to output.
        first: for each term, which input the first output meets; one outside of the axis is 0.
    """
    least, most = min(first), max(first)
    apart = math.gcd(*(one - least for one in first)) or 1
    # Zeros of a dilated kernel cost nothing, but it does not always give as many outputs.
    padding = max(0, -least)
    if padding + least == 0:
        size = (most - least) // apart + 1
        while (length + 2 * padding - apart * (size - 1) - 1) // stride + 1 > outputs:
            size += 1
        if (length + 2 * padding - apart * (size - 1) - 1) // stride + 1 == outputs:
            places = tuple((one + padding) // apart for one in first)
            return _Kernel(size, stride, padding, apart if size > 1 else 1, places)
    padding = max(padding, (outputs - 1) * stride + most + 1 - length)
    size = max(padding + most + 1, length + 2 * padding - outputs * stride + 1)
    return _Kernel(size, stride, padding, 1, tuple(one + padding for one in first))
