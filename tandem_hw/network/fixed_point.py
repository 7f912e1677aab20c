"""Loihi 2's number formats: every limit once, with its unit and its source.

The unit of all quantities is the *weight unit*, one step of a Lava weight. Lava itself keeps
``STATE_FRACTION_BITS`` more fractional bits (it shifts activations and thresholds left by 6), so a
24-bit state spans +-2^17 weight units.

Sources: ``lava/proc/lif/models.py`` (``AbstractPyLifModelFixed``), ``lava/proc/dense/models.py``,
``lava/proc/conv/models.py`` and ``lava/utils/weightutils.py`` of lava-nc 0.10.0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from tandem_hw.errors import NetworkError
from tandem_hw.ranges import whole_number

if TYPE_CHECKING:  # the options of the command line take limits from here, and NumPy takes time
    import numpy as np
    import numpy.typing as npt

    IntArray = npt.NDArray[np.integer[Any]]

#: Fractional bits that Lava's LIF adds to activations and thresholds (``act_shift``,
#: ``vth_shift``).
STATE_FRACTION_BITS: Final = 6
#: Width of the current u and the voltage v in bits, sign included (``uv_bitwidth``).
STATE_BITS: Final = 24
#: Half the span of a 24-bit state in weight units: the current wraps and the voltage clips there.
STATE_LIMIT: Final = 1 << (STATE_BITS - 1 - STATE_FRACTION_BITS)
#: The largest voltage in units of 1/64 weight unit (``pos_voltage_limit``); the smallest is its
#: negative.
VOLTAGE_LIMIT: Final = (1 << (STATE_BITS - 1)) - 1
#: Span in weight units of the 32-bit integers in which Lava's CPU model adds before it wraps.
INT32_SPAN: Final = 1 << (32 - STATE_FRACTION_BITS)
#: A sum of synaptic inputs in one step stays below this many weight units in magnitude: Lava's
#: ``Conv`` keeps 24 bits of it (``signed_clamp(x, bits=24)``), and float32 holds such sums exactly
#: in whatever order they are added.
ACCUMULATOR_LIMIT: Final = 1 << 23

#: Weights are signed and have 2 to 8 bits.
WEIGHT_BITS_RANGE: Final = range(2, 9)
#: A matrix with both signs drops the lowest bit of a Lava weight (``truncate_weights``), so a
#: signed weight q is stored as the Lava weight 2q.
WEIGHT_STEP: Final = 2

#: ``LIF.vth`` is an unsigned 17-bit register (its docstring: 0 to 131071). A neuron fires when its
#: voltage exceeds vth, and ours at the threshold itself, so vth is the threshold minus one.
VTH_MAX: Final = (1 << 17) - 1
#: Largest mantissa of a threshold m * 2^e: the self-inhibition of the reset by subtraction is a
#: purely inhibitory weight of magnitude m.
THRESHOLD_MANTISSA_MAX: Final = 255
#: Largest magnitude of a purely inhibitory weight (``SignMode.INHIBITORY``: -255 to 0).
INHIBITORY_WEIGHT_MAX: Final = 255
#: Largest ``weight_exp`` that is taken for granted: it was 3 bits and a sign on Loihi 1, and the
#: public users of Lava on Loihi 2 stay within that (-8 to 7).
WEIGHT_EXPONENT_MAX: Final = 7
#: ``LIF.bias_mant`` has 13 bits with its sign.
BIAS_MANTISSA_MIN: Final = -(1 << 12)
BIAS_MANTISSA_MAX: Final = (1 << 12) - 1
#: ``LIF.bias_exp`` has 3 bits; the exponents 6 and 7 give whole weight units.
BIAS_EXPONENT_MIN: Final = STATE_FRACTION_BITS
BIAS_EXPONENT_MAX: Final = 7
#: One in the units of a decay (``decay_unity``): a neuron that leaks keeps (4096 - decay) / 4096 of
#: its current or voltage a step, rounded toward zero. 0 keeps all, 4096 forgets at once.
DECAY_UNITY: Final = 1 << 12
DECAY_RANGE: Final = range(DECAY_UNITY + 1)
#: Inputs are unsigned integers of 1 to 8 bits, sent as graded spikes.
INPUT_BITS_RANGE: Final = range(1, 9)
#: Steps of a window. Nothing in the arithmetic needs the upper end; it bounds what a damaged file
#: can ask for.
NUM_STEPS_RANGE: Final = range(1, 4097)


def weight_limit(weight_bits: int) -> int:
    """Return the largest magnitude of a symmetric signed weight, 2 * (2^(bits-1) - 1).

    Args:
        weight_bits: width of the signed weight, 2 to 8.

    Returns:
        The limit in weight units (254 for 8 bits).
    """
    return WEIGHT_STEP * ((1 << (weight_bits - 1)) - 1)


def check_threshold(threshold: int) -> None:
    """Check that a threshold fits Lava's register.

    Args:
        threshold: threshold in weight units.

    Raises:
        NetworkError: it is not within 1 to 2^17.
    """
    if not 1 <= threshold <= VTH_MAX + 1:
        raise NetworkError(
            f"threshold {threshold} is outside 1 to {VTH_MAX + 1} weight units (vth is a 17-bit "
            f"register); scale the layer down"
        )


def check_decay(current_decay: int, voltage_decay: int) -> None:
    """Check that decays fit Lava's registers, ``du = current_decay - 1`` and ``dv``.

    Args:
        current_decay: what the current loses a step, in 1/4096.
        voltage_decay: what the voltage loses a step, in 1/4096.

    Raises:
        NetworkError: one of them is not within 0 to 4096.
    """
    for name, decay in (("current_decay", current_decay), ("voltage_decay", voltage_decay)):
        if decay not in DECAY_RANGE:
            raise NetworkError(
                f"{name} is {decay}; allowed are 0 (keeps all) to {DECAY_UNITY} (forgets at once)"
            )


def threshold_parts(threshold: int) -> tuple[int, int]:
    """Split a threshold into a mantissa that fits a Lava weight and an exponent, m * 2^e.

    Args:
        threshold: threshold in weight units, 1 to 2^17.

    Returns:
        The mantissa m, 1 to 255, and the smallest exponent e that makes it fit.

    Raises:
        NetworkError: the threshold is out of range or has too many significant bits.
    """
    check_threshold(threshold)
    exponent = max(0, threshold.bit_length() - THRESHOLD_MANTISSA_MAX.bit_length())
    mantissa = threshold >> exponent
    if mantissa << exponent != threshold:
        raise NetworkError(
            f"threshold {threshold} has more than 8 significant bits, so the self-inhibition that "
            f"resets by subtraction cannot carry it; round it to a multiple of {1 << exponent}"
        )
    return mantissa, exponent


def floor_threshold(threshold: float) -> int:
    """Return the largest threshold m * 2^e that the chip can hold and that is not above a value.

    Args:
        threshold: the wanted threshold in weight units; values under 1 give 1.

    Returns:
        A threshold that ``threshold_parts`` accepts.
    """
    whole = int(min(max(threshold, 1), VTH_MAX + 1))
    return whole - whole % max(1, int(threshold_spacing(whole)))


def threshold_spacing(threshold: Any, frexp: Callable[[Any], Any] = math.frexp) -> Any:
    """Return how far the numbers m * 2^e with the longest mantissas m lie apart at a threshold.

    Args:
        threshold: a whole number from 1 to 2^17, or a tensor of such numbers.
        frexp: splits such a number into a mantissa and an exponent.

    Returns:
        2^e, of the same kind in floating point; below 1 where every whole number is one of them.
    """
    mantissa, _ = frexp(threshold)
    return threshold / mantissa / (THRESHOLD_MANTISSA_MAX + 1)


def bias_exponent(bias: IntArray) -> int:
    """Return the exponent with which a layer's biases fit 13-bit mantissas.

    A bias of B weight units is ``bias_mant << bias_exp`` in Lava's state, so B = bias_mant *
    2^(bias_exp - 6).

    Args:
        bias: integer biases of one layer in weight units, any shape.

    Returns:
        ``bias_exp``, 6 or 7: the smallest with which every bias is exact.

    Raises:
        NetworkError: a bias is out of range, or odd where only even ones fit.
    """
    low, high = (int(bias.min()), int(bias.max())) if bias.size else (0, 0)
    for exponent in range(BIAS_EXPONENT_MIN, BIAS_EXPONENT_MAX + 1):
        shift = exponent - STATE_FRACTION_BITS
        fits = BIAS_MANTISSA_MIN << shift <= low and high <= BIAS_MANTISSA_MAX << shift
        if fits and not (bias & ((1 << shift) - 1)).any():
            return exponent
    limit = BIAS_MANTISSA_MAX << (BIAS_EXPONENT_MAX - STATE_FRACTION_BITS)
    raise NetworkError(
        f"biases from {low} to {high} weight units do not fit a 13-bit mantissa: up to "
        f"{BIAS_MANTISSA_MAX} any integer is allowed, up to {limit} only even ones; scale the "
        f"layer down"
    )


def check_weights(weight: IntArray, weight_bits: int) -> None:
    """Check that every weight is an even integer of at most ``weight_bits`` signed bits.

    Args:
        weight: weights in weight units (twice the signed integer), any shape.
        weight_bits: width of the signed integer, 2 to 8.

    Raises:
        NetworkError: a weight is odd or out of range.
    """
    whole_number("weight_bits", weight_bits, WEIGHT_BITS_RANGE, NetworkError)
    if (weight & 1).any():
        raise NetworkError(
            "weights must be even: Lava drops the lowest bit of a matrix with both signs"
        )
    low, high = -WEIGHT_STEP << (weight_bits - 1), weight_limit(weight_bits)
    if weight.size and not (low <= int(weight.min()) and int(weight.max()) <= high):
        raise NetworkError(
            f"weights from {int(weight.min())} to {int(weight.max())} do not fit {weight_bits} "
            f"signed bits, which span {low} to {high} weight units"
        )
