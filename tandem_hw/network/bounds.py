"""Interval arithmetic: what the state of a neuron can reach, whatever the spikes.

A layer whose bounds lie within 24 bits is *proven*: its current never wraps and its voltage never
clips, so plain float32 additions are exact and no wrap has to be simulated.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import NetworkError
from tandem_hw.network.fixed_point import (
    ACCUMULATOR_LIMIT,
    DECAY_UNITY,
    STATE_FRACTION_BITS,
    STATE_LIMIT,
)

Int64Array = npt.NDArray[np.int64]
#: Lowest and highest synaptic input of each output channel in one step.
StepInterval = tuple[Int64Array, Int64Array]
#: The same as arrays of another library, such as PyTorch's tensors, on a device of theirs. What is
#: said to take them uses operators and methods that NumPy's arrays have as well.
AnyInterval = tuple[Any, Any]


@dataclass(frozen=True)
class StateBounds:
    """Proven bounds of a layer's state over a window, in weight units, bias included."""

    low: int
    high: int

    @property
    def proven(self) -> bool:
        """Whether every reachable state fits 24 bits, so that nothing wraps or clips."""
        return self.low > -STATE_LIMIT and self.high < STATE_LIMIT


def synaptic_interval(weight: npt.NDArray[np.integer[Any]], largest_input: int) -> StepInterval:
    """Return the least and the greatest weighted sum of inputs between 0 and ``largest_input``.

    Args:
        weight: integer weights, output channels first.
        largest_input: the largest value of one input in one step (1 for spikes).

    Returns:
        Two int64 arrays, one value per output channel, in weight units.
    """
    return weighted_interval(weight.astype(np.int64), largest_input)


def weighted_interval(weight: Any, largest_input: int) -> AnyInterval:
    """Return what ``synaptic_interval`` does, of an array of NumPy or of another library.

    Args:
        weight: whole numbers in a dtype that holds the sums, output channels first.
        largest_input: as there.

    Returns:
        Two arrays of the weights' kind and dtype.
    """
    rows = weight.reshape(weight.shape[0], -1)
    # By what all weights add up to, and their magnitudes: one pass over memory that stores less.
    total, magnitude = rows.sum(1), abs(rows).sum(1)
    high = (total + magnitude) * largest_input // 2
    return total * largest_input - high, high


def sum_intervals(intervals: Sequence[AnyInterval]) -> AnyInterval:
    """Return the interval of the sum of several synaptic inputs of the same neurons.

    Args:
        intervals: at least one, as ``synaptic_interval`` or ``weighted_interval`` gives them; one
            of a single value holds for all output channels.
    """
    low, high = intervals[0]
    for negative, positive in intervals[1:]:
        low, high = low + negative, high + positive
    return low, high


def reach(interval: StepInterval) -> int:
    """Return the largest magnitude of a weighted sum within an interval."""
    return max(-int(interval[0].min()), int(interval[1].max()))


def beyond(interval: AnyInterval, limit: int) -> Any:
    """Return whether a weighted sum within an interval can reach a limit in magnitude.

    Args:
        interval: as ``synaptic_interval`` or ``weighted_interval`` gives it.
        limit: in weight units.

    Returns:
        A bool of the interval's kind, which is not read from a device here.
    """
    low, high = interval
    return (low.min() <= -limit) | (high.max() >= limit)


def input_steps(
    interval: StepInterval, num_steps: int, sent: Container[int] | None
) -> list[StepInterval]:
    """Spread a layer's step interval over the window.

    Args:
        interval: as ``synaptic_interval`` gives it.
        num_steps: length of the window.
        sent: the steps in which something comes in (``InputSpec.sent_steps``), None for all, as
            from neurons.

    Returns:
        One interval a step; those of the other steps are zero.
    """
    if sent is None:
        return [interval] * num_steps
    nothing = np.zeros_like(interval[0])
    return [interval if step in sent else (nothing, nothing) for step in range(num_steps)]


def check_accumulator(name: str, interval: StepInterval) -> None:
    """Refuse a layer whose weighted sum of one step can leave the chip's 24-bit accumulator.

    Args:
        name: name of the layer, for the message.
        interval: as ``synaptic_interval`` gives it.

    Raises:
        NetworkError: a sum can reach 2^23 weight units.
    """
    if beyond(interval, ACCUMULATOR_LIMIT):
        raise NetworkError(
            f"layer {name}: the synaptic input of one step can reach {reach(interval)}, the "
            f"24-bit accumulator ends at {ACCUMULATOR_LIMIT - 1}; use fewer input bits or fewer "
            f"weight bits in this layer"
        )


def window_bounds(
    steps: Sequence[StepInterval],
    bias: Int64Array,
    threshold: int | None,
    reset: str,
    current_decay: int = DECAY_UNITY,
    voltage_decay: int = 0,
    firing_delay: int = 0,
) -> StateBounds:
    """Bound the state of a layer over a window by interval arithmetic.

    The interval of each step follows from the last one by the neuron's own equation, split in the
    case that it fired and the case that it did not; see ``tandem_hw.arithmetic.neurons`` for the
    equations.

    Args:
        steps: synaptic input of each step, as ``synaptic_interval`` gives it.
        bias: integer bias per output channel in weight units.
        threshold: firing threshold, or None for a readout that never fires.
        reset: "subtract" or "zero". A readout integrates as "subtract" does.
        current_decay: what the current of a firing layer loses a step, in 1/4096.
        voltage_decay: what its voltage loses a step, in 1/4096.
        firing_delay: steps before the first one in which a neuron may fire. In the steps behind the
            last input a state only comes nearer to zero.

    Returns:
        The lowest and the highest state of any neuron in any step, with and without the bias (Lava
        keeps both).
    """
    if threshold is not None and (current_decay, voltage_decay) != (DECAY_UNITY, 0):
        return _leaky_bounds(steps, bias, threshold, (current_decay, voltage_decay))
    zero = np.zeros_like(bias)
    per_step_bias = reset == "zero" and threshold is not None
    # With a reset by subtraction the bias is the potential that a window starts from.
    low, high = (zero, zero) if per_step_bias else (bias, bias)
    least, greatest = min(0, int(low.min())), max(0, int(high.max()))
    for index, (negative, positive) in enumerate(steps):
        if index > firing_delay:  # nothing has fired before, however large the bias
            low, high = _after_reset(low, high, threshold, reset)
        low = low + negative + (bias if per_step_bias else zero)
        high = high + positive + (bias if per_step_bias else zero)
        without_bias = (low, high) if per_step_bias else (low - bias, high - bias)
        least = min(least, int(low.min()), int(without_bias[0].min()), int(negative.min()))
        greatest = max(greatest, int(high.max()), int(without_bias[1].max()), int(positive.max()))
    return StateBounds(least, greatest)


def _after_reset(
    low: Int64Array, high: Int64Array, threshold: int | None, reset: str
) -> tuple[Int64Array, Int64Array]:
    """Return what remains of the interval [low, high] when the neurons that fired have reset."""
    if threshold is None:
        return low, high
    can_fire, can_stay = high >= threshold, low < threshold
    fired_low, fired_high = np.zeros_like(low), np.zeros_like(high)
    if reset == "subtract":
        fired_low, fired_high = np.maximum(low, threshold) - threshold, high - threshold
    stay_high = np.minimum(high, threshold - 1)
    new_low = np.where(can_stay, low, fired_low)
    new_low = np.where(can_fire, np.minimum(new_low, fired_low), new_low)
    new_high = np.where(can_stay, stay_high, fired_high)
    new_high = np.where(can_fire, np.maximum(new_high, fired_high), new_high)
    return new_low, new_high


def _leaky_bounds(
    steps: Sequence[StepInterval], bias: Int64Array, threshold: int, decays: tuple[int, int]
) -> StateBounds:
    """Bound current and voltage of a leaky layer, in Lava's units of 1/64 weight unit.

    A decay never turns the order of two states round, so the ends of an interval decay to the ends
    of what it becomes.
    """
    bias = bias << STATE_FRACTION_BITS
    vth = (threshold - 1) << STATE_FRACTION_BITS  # a neuron fires above it
    current_low = current_high = low = high = np.zeros_like(bias)
    least = greatest = 0
    for index, (negative, positive) in enumerate(steps):
        if index > 0:  # where a neuron may have fired, 0 is within the interval of what remains
            fires, stays = high > vth, low <= vth
            low = np.where(fires, np.where(stays, np.minimum(low, 0), 0), low)
            high = np.where(fires, np.where(stays, vth, 0), high)
        current_low = decayed(current_low, decays[0]) + (negative << STATE_FRACTION_BITS)
        current_high = decayed(current_high, decays[0]) + (positive << STATE_FRACTION_BITS)
        low = decayed(low, decays[1]) + current_low + bias
        high = decayed(high, decays[1]) + current_high + bias
        least = min(least, int(low.min()), int(current_low.min()))
        greatest = max(greatest, int(high.max()), int(current_high.max()))
    return StateBounds(least >> STATE_FRACTION_BITS, -(-greatest >> STATE_FRACTION_BITS))


def decayed(state: Int64Array, decay: int) -> Int64Array:
    """Return state * (4096 - decay) / 4096, rounded toward zero as Lava's ``subthr_dynamics`` does.

    Args:
        state: int64, in units of 1/64 weight unit.
        decay: 0 to 4096.
    """
    whole, rest = np.divmod(np.abs(state), DECAY_UNITY)  # apart, so that no product overflows
    kept = DECAY_UNITY - decay
    magnitude: Int64Array = whole * kept + rest * kept // DECAY_UNITY
    return np.sign(state) * magnitude
