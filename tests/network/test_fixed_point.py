"""The chip's number formats against plain integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tandem_hw.errors import NetworkError
from tandem_hw.network.fixed_point import (
    THRESHOLD_MANTISSA_MAX,
    VTH_MAX,
    bias_exponent,
    check_weights,
    floor_threshold,
    threshold_parts,
    weight_limit,
)

steady = settings(deadline=None, derandomize=True)

EVERY_THRESHOLD = sorted(
    {m << e for m in range(1, 256) for e in range(18) if m << e <= VTH_MAX + 1}
)


def test_limits_of_weights_are_those_of_symmetric_signed_integers() -> None:
    assert [weight_limit(bits) for bits in range(2, 9)] == [2, 6, 14, 30, 62, 126, 254]


def test_every_threshold_splits_into_mantissa_and_smallest_exponent() -> None:
    for threshold in EVERY_THRESHOLD:
        mantissa, exponent = threshold_parts(threshold)
        assert mantissa << exponent == threshold
        assert 1 <= mantissa <= THRESHOLD_MANTISSA_MAX
        assert exponent == 0 or threshold >> (exponent - 1) > THRESHOLD_MANTISSA_MAX


@steady
@given(st.one_of(st.integers(-10, 2 * VTH_MAX), st.sampled_from(EVERY_THRESHOLD)))
@example(0)
@example(1 << 17)
@example((1 << 17) + 1)
@example(257)
def test_only_a_threshold_that_no_register_holds_is_refused(threshold: int) -> None:
    if threshold in EVERY_THRESHOLD:
        mantissa, exponent = threshold_parts(threshold)
        assert mantissa << exponent == threshold
    else:
        with pytest.raises(NetworkError, match=str(threshold)):
            threshold_parts(threshold)


@steady
@given(st.one_of(st.floats(-1e3, 1e9), st.floats(0, 1000), st.integers(0, 2 * VTH_MAX)))
@example(float("inf"))
@example(256.99)
@example(131_071)
def test_floor_is_the_largest_threshold_that_is_not_above(value: float) -> None:
    allowed = [threshold for threshold in EVERY_THRESHOLD if threshold <= value]
    assert floor_threshold(value) == (allowed[-1] if allowed else 1)


def lists_of(integers: st.SearchStrategy[int]) -> st.SearchStrategy[list[int]]:
    """Lists of any integers, and lists of twice those, which what allows even ones only takes."""
    every = st.lists(integers, min_size=1, max_size=6)
    return st.one_of(every, every.map(lambda values: [2 * value for value in values]))


@steady
@given(lists_of(st.integers(-4200, 4200)))
@example([-4096, 4095])
@example([4096])
@example([4097])
@example([-8192, 8190])
@example([8192])
@example([-8194])
def test_bias_exponent_is_the_smallest_that_is_exact(values: list[int]) -> None:
    fitting = [
        exponent
        for exponent in (6, 7)
        if all(
            value % (1 << (exponent - 6)) == 0 and -4096 <= value >> (exponent - 6) <= 4095
            for value in values
        )
    ]
    if fitting:
        assert bias_exponent(np.array(values)) == fitting[0]
    else:
        with pytest.raises(NetworkError, match="13-bit"):
            bias_exponent(np.array(values))


@steady
@given(st.integers(2, 8), st.one_of(lists_of(st.integers(-3, 3)), lists_of(st.integers(-140, 140))))
@example(8, [-256, 254])
@example(8, [256])
@example(2, [-4, 2])
@example(2, [4])
def test_weights_are_even_and_of_their_bits(bits: int, values: list[int]) -> None:
    signed = range(-(1 << (bits - 1)), 1 << (bits - 1))
    if all(value % 2 == 0 and value // 2 in signed for value in values):
        check_weights(np.array(values), bits)
    else:
        with pytest.raises(NetworkError, match=r"even|fit"):
            check_weights(np.array(values), bits)


@pytest.mark.parametrize("bits", [0, 1, 9])
def test_widths_that_a_weight_cannot_have_are_refused(bits: int) -> None:
    with pytest.raises(NetworkError, match=f"weight_bits is {bits}"):
        check_weights(np.zeros(1, dtype=int), bits)
