"""The chip's number formats against plain integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem_hw.errors import NetworkError
from tandem_hw.fixed_point import (
    THRESHOLD_MANTISSA_MAX,
    VTH_MAX,
    bias_exponent,
    check_weights,
    floor_threshold,
    threshold_parts,
    weight_limit,
)

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


@given(st.integers(-10, 2 * VTH_MAX))
def test_threshold_that_no_register_holds_is_refused(threshold: int) -> None:
    if threshold in set(EVERY_THRESHOLD):
        threshold_parts(threshold)
    else:
        with pytest.raises(NetworkError, match=str(threshold)):
            threshold_parts(threshold)


@given(st.floats(-1e3, 1e9))
def test_floor_is_the_largest_threshold_that_is_not_above(value: float) -> None:
    allowed = [threshold for threshold in EVERY_THRESHOLD if threshold <= value]
    assert floor_threshold(value) == (allowed[-1] if allowed else 1)


@given(st.lists(st.integers(-8300, 8300), min_size=1, max_size=6))
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


@given(st.integers(2, 8), st.lists(st.integers(-300, 300), min_size=1, max_size=4))
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
