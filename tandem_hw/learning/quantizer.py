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
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

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
    floor_threshold,
    nearest_threshold,
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
        input_scale: real value of one incoming count.
    """

    weight: Tensor | None
    input_scale: float


@dataclass(frozen=True)
class IntegerParameters:
    """A layer on the deployment grid; the tensors hold whole numbers.

    Attributes:
        weights: per synapses, the main ones first, even integers in weight units, float64, in the
            shape of the real weights; of one-to-one synapses one positive integer, [1].
        bias: integers in weight units, float64 [out].
        threshold: firing threshold in weight units, or None for a readout.
        unit: real value of one weight unit.
    """

    weights: tuple[Tensor, ...]
    bias: Tensor
    threshold: int | None
    unit: float

    @property
    def weight(self) -> Tensor:
        """The main synapses' weights."""
        return self.weights[0]


@torch.no_grad()
def quantize_layer(
    weight: Tensor | None,
    bias: Tensor,
    *,
    input_scale: float,
    real_threshold: float | None,
    weight_bits: int,
    name: str,
    skips: Sequence[RealSynapses] = (),
    largest_potential: float = 0.0,
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

    Returns:
        Integers within every register of the chip.

    Raises:
        ConversionError: a weight or bias is infinite or not a number.
    """
    synapses = [RealSynapses(weight, input_scale), *skips]
    largest_bias = float(bias.abs().max())
    magnitudes = [float(one.weight.abs().max()) for one in synapses if one.weight is not None]
    if not math.isfinite(sum(magnitudes) + largest_bias):
        raise ConversionError(
            f"layer {name}: a weight or bias is infinite or not a number; lower the learning rate "
            f"or start from an earlier checkpoint"
        )
    largest_one_to_one = _ONE_TO_ONE_LIMIT if magnitudes else _ONE_TO_ONE_ALONE
    unit = max(
        largest_bias / _BIAS_LIMIT,
        largest_potential / STATE_LIMIT,
        *(_smallest_unit(one, weight_bits, largest_one_to_one) for one in synapses),
    )
    if unit == 0:
        unit = input_scale / weight_limit(weight_bits)
    threshold = None
    if real_threshold is None:
        unit = _round_up(unit)
    else:
        unit = max(unit, real_threshold / (VTH_MAX + 1))
        threshold = floor_threshold(real_threshold / unit)
        unit = real_threshold / threshold
    weights = tuple(_integer_weight(one, unit, weight_bits) for one in synapses)
    return IntegerParameters(weights, _integer_bias(bias / unit), threshold, unit)


def _smallest_unit(synapses: RealSynapses, bits: int, largest_one_to_one: int) -> float:
    """Return the smallest unit with which the weights fit, 0 where all of them are zero."""
    if synapses.weight is None:
        return synapses.input_scale / largest_one_to_one
    reach = float(synapses.weight.abs().max())
    if bits in OPTIMAL_RANGE:
        deviation = float(synapses.weight.square().mean().sqrt())
        reach = min(reach, OPTIMAL_RANGE[bits] * deviation)
    return reach * synapses.input_scale / weight_limit(bits)


def _integer_weight(synapses: RealSynapses, unit: float, bits: int) -> Tensor:
    if synapses.weight is None:
        whole = min(nearest_threshold(synapses.input_scale / unit), _ONE_TO_ONE_LIMIT)
        return torch.tensor([whole], dtype=torch.float64)
    limit = weight_limit(bits)
    steps = torch.round(synapses.weight * (synapses.input_scale / (WEIGHT_STEP * unit)))
    return (steps * WEIGHT_STEP).clamp_(-limit, limit)


def _round_up(unit: float) -> float:
    """Round up to 8 significant bits, so that the last bit of a float decides nothing."""
    mantissa, exponent = math.frexp(unit)
    return math.ldexp(math.ceil(mantissa * 256) / 256, exponent)


def _integer_bias(bias: Tensor) -> Tensor:
    """Round biases to integers, all of them to even ones where one needs the larger exponent."""
    rounded = torch.round(bias)
    if rounded.numel() and float(rounded.abs().max()) > BIAS_MANTISSA_MAX:
        rounded = (2 * torch.round(bias / 2)).clamp_(-_BIAS_LIMIT, _BIAS_LIMIT)
    return rounded
