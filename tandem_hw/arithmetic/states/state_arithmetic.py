"""What Lava's neurons do to a current or a voltage: decay, wrap and clip, on whole numbers.

Tensors are float64, in weight units or in Lava's units of 1/64 weight unit (docs/arithmetic.md).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from tandem_hw.network.fixed_point import (
    DECAY_UNITY,
    INT32_SPAN,
    STATE_FRACTION_BITS,
    STATE_LIMIT,
    VOLTAGE_LIMIT,
)

#: Lava's units in a weight unit.
STATE_FRACTION = 1 << STATE_FRACTION_BITS


def decay_(state: Tensor, decay: int) -> Tensor:
    """Take a share of decay / 4096 off a state in place and round toward zero, as Loihi does.

    Source: ``AbstractPyLifModelFixed.subthr_dynamics``, which shifts the magnitude and keeps the
    sign.

    Args:
        state: float64, any shape, in units of 1/64 weight unit, below 2^32 in magnitude, so that
            the product with a decay is exact.
        decay: 0 to 4096.

    Returns:
        The same tensor.
    """
    if decay == 0:
        return state
    return state.mul_((DECAY_UNITY - decay) / DECAY_UNITY).trunc_()


def changed_by(limit: Callable[[Tensor], Tensor], state: Tensor) -> Tensor:
    """Limit a state in place and return where that changed it."""
    before = state.clone()
    return before != limit(state)


def subtract_threshold_(state: Tensor, fired: Tensor, threshold: int | Tensor) -> None:
    """Take the threshold off the states that fired, in place.

    Args:
        state: floating point, any shape.
        fired: zeros and ones of the same shape and dtype.
        threshold: a number, or a tensor [] of the same device.
    """
    if isinstance(threshold, Tensor):
        state.addcmul_(fired, threshold.to(state.dtype), value=-1)
    else:
        state.sub_(fired, alpha=threshold)


def clip_voltage_(voltage: Tensor) -> Tensor:
    """Clip a voltage in units of 1/64 weight unit in place."""
    return voltage.clamp_(-VOLTAGE_LIMIT, VOLTAGE_LIMIT)


def wrap_and_clip_voltage_(voltage: Tensor) -> Tensor:
    """Clip a voltage that was added in 32-bit integers, which a current that stays can leave."""
    _wrap_int32_(voltage, INT32_SPAN * STATE_FRACTION)
    return clip_voltage_(voltage)


def _wrap_int32_(value: Tensor, span: int) -> None:
    """Wrap whole numbers to half a span on either side in place, as 32-bit integers do."""
    value.add_(span // 2).remainder_(span).sub_(span // 2)


def wrap_current_(current: Tensor, unit: int = 1) -> Tensor:
    """Wrap a current to 24 bits in place, the way Lava's CPU model does it.

    Lava adds in 32-bit integers and then takes 2^24 off once if the sum is above 2^23, or adds it
    once if the sum is at or below -2^23 (``AbstractPyLifModelFixed.subthr_dynamics``); so 2^23
    itself stays, and a sum more than one span away stays outside.

    Args:
        current: float64, any shape, whole numbers.
        unit: how many of them make a weight unit, 1 or 64.

    Returns:
        The same tensor.
    """
    limit = STATE_LIMIT * unit
    _wrap_int32_(current, INT32_SPAN * unit)
    above, below = current > limit, current <= -limit
    current.sub_(above.to(current.dtype), alpha=2 * limit)
    current.add_(below.to(current.dtype), alpha=2 * limit)
    return current
