"""The one quantizer: from real weights to the integers of the deployment grid.

The training forward, ``model.eval()`` and the exporter all call ``quantize_layer``; there is no
other way from a float to an integer weight.

One *unit* is the real value of one weight unit. With an incoming count worth ``input_scale`` and a
firing threshold of ``real_threshold``:

    W = 2 round(w * input_scale / (2 unit)),   theta = real_threshold / unit,   B = round(b / unit)

Synapses onto the same neurons share the unit. One-to-one synapses, which add a source's spikes as
they are, have the weight input_scale / unit rounded to the nearest of the form m * 2^e.

The unit is the smallest one with which the weights, the threshold and the biases all fit the chip's
registers, and what the membrane is known to reach fits its 24 bits, so nothing is clipped at 8
bits; below 8 bits the weights' range is that of the uniform
quantizer that is optimal for a normal distribution (Max, IRE Trans. Inf. Theory 6, 1960).

All of it is computed in float64 where the weights are, and nothing is read from there: on a GPU no
step of a training waits for a layer's integers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import torch
from torch import Tensor

from tandem_hw.arithmetic.deferred_checks import DeferredChecks
from tandem_hw.errors import ConversionError
from tandem_hw.network.fixed_point import (
    BIAS_EXPONENT_MAX,
    BIAS_MANTISSA_MAX,
    STATE_FRACTION_BITS,
    STATE_LIMIT,
    THRESHOLD_MANTISSA_MAX,
    VTH_MAX,
    WEIGHT_EXPONENT_MAX,
    WEIGHT_STEP,
    threshold_spacing,
    weight_limit,
)

#: Largest weight over standard deviation at which a uniform symmetric quantizer of so many bits has
#: the least mean squared error on a normal distribution (Max 1960, table II: step * (levels-1)/2).
OPTIMAL_RANGE = {2: 1.224, 3: 1.953, 4: 2.474, 5: 2.94, 6: 3.29, 7: 3.61}
#: Biases up to this many weight units fit a 13-bit mantissa with the larger exponent.
_BIAS_LIMIT = BIAS_MANTISSA_MAX << (BIAS_EXPONENT_MAX - STATE_FRACTION_BITS)


#: Largest one-to-one weight, and the one that is chosen where no other synapses set the unit.
_ONE_TO_ONE_LIMIT = THRESHOLD_MANTISSA_MAX << WEIGHT_EXPONENT_MAX
_ONE_TO_ONE_ALONE = 128


@dataclass(frozen=True)
class RealSynapses:
    """Real weights of synapses and what comes in through them.

    Attributes:
        weight: float64 real weights, output channels first, batch normalisation already folded in;
            None for one-to-one synapses, which add what comes in as it is.
        input_scale: real value of one incoming count, where it is on a device a tensor [].
    """

    weight: Tensor | None
    input_scale: float | Tensor


@dataclass(frozen=True)
class IntegerParameters:
    """A layer on the deployment grid; the tensors hold whole numbers.

    Attributes:
        weights: per synapses, the main ones first, even integers in weight units, float64, in the
            shape of the real weights; of one-to-one synapses one positive integer, [1].
        bias: integers in weight units, float64 [out].
        threshold_tensor: ``threshold`` where the weights are, float64 [].
        unit_tensor: ``unit`` where the weights are, float64 [].
    """

    weights: tuple[Tensor, ...]
    bias: Tensor
    threshold_tensor: Tensor | None
    unit_tensor: Tensor

    @property
    def weight(self) -> Tensor:
        """The main synapses' weights."""
        return self.weights[0]

    @cached_property
    def threshold(self) -> int | None:
        """Firing threshold in weight units, or None for a readout; a GPU is waited for."""
        return None if self.threshold_tensor is None else int(self.threshold_tensor)

    @cached_property
    def unit(self) -> float:
        """Real value of one weight unit; a GPU is waited for."""
        return float(self.unit_tensor)


def scalar(value: float | Tensor, like: Tensor) -> Tensor:
    """Return a number as a tensor [] of float64 where another one is.

    A GPU divides by a tensor as IEEE 754 says, while PyTorch turns a division by a number of Python
    into a product there.

    Args:
        value: a number, or a tensor [].
        like: a tensor on the device that is meant.
    """
    if isinstance(value, Tensor):
        return value.to(like.device, torch.float64)
    return _constant(value, like.device)


@cache  # all of them are kept: a recorded pass (``tandem_hw.learning.passes``) reads them again
def _constant(value: float, device: torch.device) -> Tensor:
    return torch.full((), value, dtype=torch.float64, device=device)


@torch.no_grad()
def quantize_layer(
    weight: Tensor | None,
    bias: Tensor,
    *,
    input_scale: float | Tensor,
    real_threshold: float | Tensor | None,
    weight_bits: int,
    name: str,
    skips: Sequence[RealSynapses] = (),
    largest_potential: float | Tensor = 0.0,
    checks: DeferredChecks | None = None,
) -> IntegerParameters:
    """Put a layer on the deployment grid.

    Args:
        weight: float64 real weights of the main synapses, see ``RealSynapses``.
        bias: float64 [out], the real bias that enters at once (with reset "zero", in each step).
        input_scale: real value of one incoming count.
        real_threshold: real value of one outgoing spike, or None for a readout.
        weight_bits: width of the signed weights, 2 to 8.
        name: name of the layer, for the message.
        skips: further synapses onto the same neurons.
        largest_potential: magnitude in real units that the membrane shall be able to reach without
            leaving the chip's 24 bits; a wide layer gets coarser weights for it.
        checks: takes up whether all is finite, which is read here otherwise.

    Returns:
        Integers within every register of the chip, where the bias is.

    Raises:
        ConversionError: a weight, a bias or the potential is infinite or not a number.
    """
    synapses = [
        RealSynapses(
            None if one.weight is None else one.weight.to(bias.device),
            scalar(one.input_scale, bias),
        )
        for one in (RealSynapses(weight, input_scale), *skips)
    ]
    largest_bias = bias.abs().max()
    reaches = [None if one.weight is None else one.weight.abs().max() for one in synapses]
    magnitudes = [reach for reach in reaches if reach is not None]
    potential = scalar(largest_potential, bias)
    finite = torch.stack([largest_bias, potential, *magnitudes]).sum() < math.inf
    if checks is not None:
        checks.fail_if(~finite)
    elif not finite:
        raise ConversionError(
            f"layer {name}: a weight or bias is infinite or not a number; lower the learning rate "
            f"or start from an earlier checkpoint"
        )
    largest_one_to_one = _ONE_TO_ONE_LIMIT if magnitudes else _ONE_TO_ONE_ALONE
    least_units = [
        largest_bias / scalar(_BIAS_LIMIT, bias),
        potential / scalar(STATE_LIMIT, bias),
        *(
            _smallest_unit(one, reach, weight_bits, largest_one_to_one)
            for one, reach in zip(synapses, reaches, strict=True)
        ),
    ]
    alone = synapses[0].input_scale / scalar(weight_limit(weight_bits), bias)
    unit = torch.stack(least_units).max()
    unit = torch.where(unit == 0, alone, unit)
    threshold = None
    if real_threshold is None:
        unit = _round_up(unit)
    else:
        real_threshold = scalar(real_threshold, bias)
        unit = torch.maximum(unit, real_threshold / scalar(VTH_MAX + 1, bias))
        threshold = _floor_threshold(real_threshold / unit)
        unit = real_threshold / threshold
    weights = tuple(_integer_weight(one, unit, weight_bits) for one in synapses)
    return IntegerParameters(weights, _integer_bias(bias / unit), threshold, unit)


def _smallest_unit(
    synapses: RealSynapses, reach: Tensor | None, bits: int, largest_one_to_one: int
) -> Tensor:
    """Return the smallest unit with which the weights fit, 0 where all of them are zero.

    Args:
        synapses: whose weights they are.
        reach: the largest magnitude of a weight, None of one-to-one synapses.
        bits: width of a weight.
        largest_one_to_one: the largest weight of one-to-one synapses.
    """
    scale = synapses.input_scale
    assert isinstance(scale, Tensor)  # quantize_layer made it one
    if synapses.weight is None or reach is None:
        return scale / scalar(largest_one_to_one, scale)
    if bits in OPTIMAL_RANGE:
        deviation = synapses.weight.square().mean().sqrt()
        reach = torch.minimum(reach, OPTIMAL_RANGE[bits] * deviation)
    return reach * scale / scalar(weight_limit(bits), scale)


def _integer_weight(synapses: RealSynapses, unit: Tensor, bits: int) -> Tensor:
    if synapses.weight is None:
        nearest = _nearest_threshold(synapses.input_scale / unit)
        return nearest.clamp_max(_ONE_TO_ONE_LIMIT).reshape(1)
    limit = weight_limit(bits)
    steps = synapses.weight * (synapses.input_scale / (WEIGHT_STEP * unit))
    return steps.round_().mul_(WEIGHT_STEP).clamp_(-limit, limit)


def _floor_threshold(threshold: Tensor) -> Tensor:
    """Return ``fixed_point.floor_threshold`` of a tensor."""
    whole = threshold.clamp(1, VTH_MAX + 1).floor()
    spacing: Tensor = threshold_spacing(whole, torch.frexp).clamp_min(1)
    return whole - whole.remainder(spacing)


def _nearest_threshold(threshold: Tensor) -> Tensor:
    """Return the threshold m * 2^e that is nearest to a value; values under 1 give 1."""
    least = _floor_threshold(threshold)
    step: Tensor = threshold_spacing(least, torch.frexp).clamp_min(1)
    steps = ((threshold - least) / step).round().clamp_min(0)
    return (least + step * steps).clamp_max(VTH_MAX + 1)


def _round_up(unit: Tensor) -> Tensor:
    """Round up to 8 significant bits, so that the last bit of a float decides nothing."""
    mantissa, _ = torch.frexp(unit)
    return (mantissa * 256).ceil() / 256 * (unit / mantissa)


def _integer_bias(bias: Tensor) -> Tensor:
    """Round biases to integers, all of them to even ones where one needs the larger exponent."""
    rounded = torch.round(bias)
    even = (2 * torch.round(bias / 2)).clamp_(-_BIAS_LIMIT, _BIAS_LIMIT)
    return torch.where(rounded.abs().max() > BIAS_MANTISSA_MAX, even, rounded)
