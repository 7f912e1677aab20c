"""Tandem layers without a geometry: fully connected, and sums of what comes in as it is."""

from __future__ import annotations

import math
import operator
from typing import Any, ClassVar, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tandem_hw.arithmetic.synapses import dense, dense_fast, one_to_one
from tandem_hw.counted import counted
from tandem_hw.errors import ConversionError
from tandem_hw.learning.architecture import LayerSpec
from tandem_hw.learning.kinds.normalisation import make_norm
from tandem_hw.learning.layers import SpikingOptions, TandemLayer
from tandem_hw.network.synapses.dense import Dense, OneToOne
from tandem_hw.network.synapses.geometry import Shape

#: Weights of a linear layer behind a pooling that is folded into them, which multiplies them.
FOLDED_MAX: Final = 1 << 25


class TandemLinear(TandemLayer):
    """Tandem layer of an ordinary linear layer; weights [out, in].

    Attributes:
        pool: window (y, x) of an average pooling that is folded into the weights, or (1, 1).
        pooled_to: lengths that an adaptive average pooling gives which is folded into them, or ().
        input_shape: shape of one sample that comes in, before the pooling.
    """

    short_name: ClassVar[str] = "dense"

    def __init__(
        self,
        *arguments: Any,
        pool: tuple[int, ...] = (1, 1),
        pooled_to: tuple[int, ...] = (),
        input_shape: tuple[int, ...] = (),
    ) -> None:
        super().__init__(*arguments)
        self.pool = pool
        self.pooled_to = pooled_to
        self.input_shape = input_shape

    @classmethod
    def output_shape(cls, spec: LayerSpec, shape: Shape) -> Shape:
        """Return (out,)."""
        return (spec.out,)

    @classmethod
    def from_spec(
        cls, spec: LayerSpec, name: str, shape: Shape, options: SpikingOptions, fires: bool
    ) -> TandemLinear:
        """Make one; see ``LayerKind``."""
        _check_pool(spec, name, shape)
        pooled = [n // window for n, window in zip(shape[1:], spec.pool, strict=False)]
        if spec.pooled_to:
            _check_pooled_to(spec, name, shape)
            pooled = list(spec.pooled_to)
        features = math.prod((shape[0], *pooled))
        folded = spec.out * math.prod(shape)
        if folded > FOLDED_MAX and (spec.pooled_to or math.prod(spec.pool) > 1):
            raise ConversionError(
                f"layer {name}: the pooling before it makes {counted(folded, 'weight')} of it; at "
                f"most {FOLDED_MAX} can be: put an activation behind the pooling"
            )
        linear = nn.Linear(features, spec.out, spec.bias, dtype=torch.float32)
        norm = make_norm(spec, axes=0)
        weights = (linear.weight.data, linear.bias)
        return cls(
            name,
            options,
            *weights,
            norm,
            fires,
            pool=spec.pool,
            pooled_to=spec.pooled_to,
            input_shape=shape,
        )

    @property
    def real_weight(self) -> Tensor | None:
        """Real weights [out, in]; behind a pooling every input has its share of a weight."""
        assert self.weight is not None
        if self.pooled_to:
            return self._before_adaptive_pooling(self.weight)
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

    def _before_adaptive_pooling(self, weight: Tensor) -> Tensor:
        """Give every input of the pooling its share of the weights of what the pooling gives."""
        channels, *lengths = self.input_shape
        weight = weight.reshape(-1, channels, *self.pooled_to)
        for axis, (length, size) in enumerate(zip(lengths, self.pooled_to, strict=True), start=2):
            one_each = torch.eye(length, dtype=weight.dtype, device=weight.device)
            shares = F.adaptive_avg_pool1d(one_each[None], size)[0]  # [length, size]
            weight = torch.tensordot(weight, shares, dims=([axis], [1])).movedim(-1, axis)
        return weight.flatten(1)

    def synaptic_input(self, signal: Tensor, weight: Tensor) -> Tensor:
        """Return W s; a signal of images is flattened."""
        return dense(signal, weight)

    def twin_input(self, counts: Tensor, weight: Tensor) -> Tensor:
        """Return W c; counts of images are flattened."""
        return dense_fast(counts, weight)

    def bias_image(self, bias: Tensor) -> Tensor:
        """Return the vector itself."""
        return bias

    def integer_synapses(self, weight: Tensor, input_shape: Shape) -> Dense:
        """Return all-to-all synapses of integers."""
        integers = self.whole(weight, "weights")
        return Dense(self.name, integers, self.options.weight_bits, input_shape)


def _check_pool(spec: LayerSpec, name: str, shape: Shape) -> None:
    lengths = shape[1:]
    if math.prod(spec.pool) > 1 and (
        len(spec.pool) != len(lengths) or any(map(operator.gt, spec.pool, lengths))
    ):
        raise ConversionError(
            f"layer {name}: a pooling of windows {spec.pool} cannot be folded into it for samples "
            f"of shape {shape}"
        )


def _check_pooled_to(spec: LayerSpec, name: str, shape: Shape) -> None:
    sizes = spec.pooled_to
    if len(sizes) != len(shape) - 1 or min(sizes) < 1 or math.prod(spec.pool) > 1:
        raise ConversionError(
            f"layer {name}: an adaptive pooling to {sizes} and one of windows {spec.pool} cannot "
            f"be folded into it for samples of shape {shape}"
        )


class TandemOneToOne(TandemLayer):
    """Tandem layer that adds what comes in as it is: the identity of a skip path, or a sum."""

    short_name: ClassVar[str] = "sum"

    def __init__(self, name: str, options: SpikingOptions, fires: bool) -> None:
        super().__init__(name, options, None, None, None, fires)

    @classmethod
    def output_shape(cls, spec: LayerSpec, shape: Shape) -> Shape:
        """Return the shape that comes in."""
        return shape

    @classmethod
    def from_spec(
        cls, spec: LayerSpec, name: str, shape: Shape, options: SpikingOptions, fires: bool
    ) -> TandemOneToOne:
        """Make one; see ``LayerKind``."""
        return cls(name, options, fires)

    def synaptic_input(self, signal: Tensor, weight: Tensor) -> Tensor:
        """Return every input times the one weight."""
        return one_to_one(signal, weight)

    def twin_input(self, counts: Tensor, weight: Tensor) -> Tensor:
        """Return the counts; they have no weight of their own."""
        return counts

    def bias_image(self, bias: Tensor) -> Tensor:
        """Return the vector [1] itself."""
        return bias

    def integer_synapses(self, weight: Tensor, input_shape: Shape) -> OneToOne:
        """Return one-to-one synapses with one integer weight, whatever the other weights' width."""
        return OneToOne(self.name, self.whole(weight, "weights"), 8, input_shape)
