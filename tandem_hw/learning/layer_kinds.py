"""The kinds of tandem layers: convolutions, fully connected layers, pooling, sums, and dropout."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tandem_hw.arithmetic.synapses import (
    ConvGeometry,
    TransposedGeometry,
    convolve,
    convolve_fast,
    convolve_transposed,
    convolve_transposed_fast,
    dense,
    dense_fast,
    one_to_one,
)
from tandem_hw.learning.layers import SpikingOptions, TandemLayer, TandemSignal


class TandemConv(TandemLayer):
    """Tandem layer of a convolution over one or two axes; weights [out, in / groups, *kernel]."""

    def __init__(self, *arguments: Any, geometry: ConvGeometry) -> None:
        super().__init__(*arguments)
        self.geometry = geometry

    def synaptic_input(self, signal: Tensor, weight: Tensor) -> Tensor:
        """Return the convolution of a signal [batch, in, *lengths]."""
        return convolve(signal, weight, self.geometry)

    def twin_input(self, counts: Tensor, weight: Tensor) -> Tensor:
        """Return the convolution of real weights by the device's fastest algorithm."""
        return convolve_fast(counts, weight, self.geometry)

    def bias_image(self, bias: Tensor) -> Tensor:
        """Shape a per-channel vector [out] as [out, 1, 1], or [out, 1]."""
        return bias.reshape(-1, *([1] * len(self.geometry.stride)))


class TandemAvgPool(TandemConv):
    """Average pooling as spiking neurons: each channel is convolved with a constant kernel.

    An average of counts that are never negative needs no ReLU; its neurons fire as often as the
    average says, rounded as in any other layer. The kernel is not learnt.
    """

    def __init__(
        self,
        name: str,
        options: SpikingOptions,
        channels: int,
        kernel: tuple[int, ...],
        geometry: ConvGeometry,
    ) -> None:
        weight = torch.full((channels, 1, *kernel), 1 / math.prod(kernel), dtype=torch.float32)
        super().__init__(name, options, weight, None, None, True, geometry=geometry)
        assert self.weight is not None
        self.weight.requires_grad_(False)


class TandemConvTranspose2d(TandemLayer):
    """Tandem layer of a transposed convolution; weights [out, in / groups, kernel_h, kernel_w]."""

    def __init__(self, *arguments: Any, geometry: TransposedGeometry) -> None:
        super().__init__(*arguments)
        self.geometry = geometry

    def synaptic_input(self, signal: Tensor, weight: Tensor) -> Tensor:
        """Return the transposed convolution of a signal [batch, in, height, width]."""
        return convolve_transposed(signal, weight, self.geometry)

    def twin_input(self, counts: Tensor, weight: Tensor) -> Tensor:
        """Return the transposed convolution by the device's fastest algorithm."""
        return convolve_transposed_fast(counts, weight, self.geometry)

    def bias_image(self, bias: Tensor) -> Tensor:
        """Shape a per-channel vector [out] as [out, 1, 1]."""
        return bias.reshape(-1, 1, 1)


class TandemLinear(TandemLayer):
    """Tandem layer of an ordinary linear layer; weights [out, in].

    Attributes:
        pool: window (y, x) of an average pooling that is folded into the weights, or (1, 1).
        input_shape: shape of one sample that comes in, before the pooling.
    """

    def __init__(
        self, *arguments: Any, pool: tuple[int, ...] = (1, 1), input_shape: tuple[int, ...] = ()
    ) -> None:
        super().__init__(*arguments)
        self.pool = pool
        self.input_shape = input_shape

    @property
    def real_weight(self) -> Tensor | None:
        """Real weights [out, in]; behind a pooling every input has its share of a weight."""
        assert self.weight is not None
        if math.prod(self.pool) == 1:
            return self.weight
        channels, *lengths = self.input_shape
        pooled = [length // window for length, window in zip(lengths, self.pool, strict=True)]
        weight = self.weight.reshape(-1, channels, *pooled) / math.prod(self.pool)
        for axis, window in enumerate(self.pool, start=2):
            weight = weight.repeat_interleave(window, axis)
        rests = [
            length - size for length, size in zip(lengths, weight.shape[2:], strict=True)
        ]  # inputs at the end that no window takes in
        margins = [margin for rest in reversed(rests) for margin in (0, rest)]
        return F.pad(weight, margins).flatten(1)

    def synaptic_input(self, signal: Tensor, weight: Tensor) -> Tensor:
        """Return W s; a signal of images is flattened."""
        return dense(signal, weight)

    def twin_input(self, counts: Tensor, weight: Tensor) -> Tensor:
        """Return W c; counts of images are flattened."""
        return dense_fast(counts, weight)

    def bias_image(self, bias: Tensor) -> Tensor:
        """Return the vector itself."""
        return bias


class TandemOneToOne(TandemLayer):
    """Tandem layer that adds what comes in as it is: the identity of a skip path, or a sum."""

    def __init__(self, name: str, options: SpikingOptions, fires: bool) -> None:
        super().__init__(name, options, None, None, None, fires)

    def synaptic_input(self, signal: Tensor, weight: Tensor) -> Tensor:
        """Return every input times the one weight."""
        return one_to_one(signal, weight)

    def twin_input(self, counts: Tensor, weight: Tensor) -> Tensor:
        """Return the counts; they have no weight of their own."""
        return counts

    def bias_image(self, bias: Tensor) -> Tensor:
        """Return the vector [1] itself."""
        return bias


class TandemDropout(nn.Module):
    """Dropout for whole windows: a dropped neuron sends nothing in any step.

    The counts stay integers, so the compensation 1 / (1 - p) goes into the real value of a count,
    which the next layer folds into its weights.

    Attributes:
        p: probability of dropping a neuron, 0 to below 1.
        channels: drop whole channels, as ``torch.nn.Dropout2d`` does.
    """

    def __init__(self, p: float, channels: bool = False) -> None:
        super().__init__()
        self.p = p
        self.channels = channels

    def forward(self, signal: TandemSignal) -> TandemSignal:
        """Drop neurons in training; do nothing in evaluation."""
        if not self.training or self.p == 0:
            return signal
        counts = signal.counts
        shape = counts.shape[:2] + (1,) * (counts.dim() - 2) if self.channels else counts.shape
        kept = torch.rand(shape, dtype=torch.float32, device=counts.device) >= self.p
        train, value = signal.train, signal.graph_scale
        return replace(
            signal,
            counts=counts * kept,
            train=None if train is None else train.kept(kept),
            scale=signal.scale / (1 - self.p),
            graph_scale=None if value is None else value / (1 - self.p),
        )
