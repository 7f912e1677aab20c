"""A guard silences every state that it is said to silence, in numbers that registers hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem_hw.chip.guard import Guard, check_lowering, guard_for, inhibition_parts
from tandem_hw.conformance.layers import changed, dense_layer, network_of, one_to_one_layer
from tandem_hw.errors import NetworkError
from tandem_hw.network.bounds import StateBounds
from tandem_hw.network.fixed_point import (
    INHIBITORY_WEIGHT_MAX,
    STATE_LIMIT,
    WEIGHT_EXPONENT_MAX,
    floor_threshold,
)
from tandem_hw.network.layers import Layer
from tandem_hw.network.quantized import InputSpec
from tests.helpers.networks import small_network


def layer(threshold: int, bias: int = 0) -> Layer:
    return dense_layer("hidden", np.array([[2]]), 8, np.array([bias]), threshold, (1,))


def fits_registers(guard: Guard) -> bool:
    return (
        0 <= guard.mantissa <= INHIBITORY_WEIGHT_MAX
        and 0 <= guard.exponent <= WEIGHT_EXPONENT_MAX
        and guard.copies >= 1
    )


@given(
    low=st.integers(-STATE_LIMIT + 1, 0),
    high=st.integers(0, STATE_LIMIT - 1),
    threshold=st.integers(1, 30_000).map(floor_threshold),
    bias=st.integers(-4096, 4095),
)
def test_a_proven_guard_silences_every_state_without_a_wrap(
    low: int, high: int, threshold: int, bias: int
) -> None:
    bounds = StateBounds(min(low, bias), max(high, bias))
    guard = guard_for(layer(threshold, bias), bounds, "subtract", 7, 8)
    assert fits_registers(guard)
    if guard.proven:
        # What is highest fired last and has lost its threshold; or it is just below it.
        highest = max(bounds.high - threshold, threshold - 1)
        assert highest - guard.strength < threshold
        assert min(bounds.low - threshold, -guard.start) - guard.strength > -STATE_LIMIT
    else:
        assert guard.strength >= STATE_LIMIT // 2
        assert guard.strength < STATE_LIMIT // 2 + 3 * 128
    assert bias - guard.start < threshold


@given(
    low=st.integers(-STATE_LIMIT + 1, 0),
    high=st.integers(0, STATE_LIMIT - 1),
    threshold=st.integers(1, 30_000).map(floor_threshold),
    bias=st.integers(-4096, 4095),
)
def test_a_proven_guard_holds_every_state_of_a_layer_that_waits(
    low: int, high: int, threshold: int, bias: int
) -> None:
    bounds = StateBounds(min(low, bias), max(high, bias))
    guard = guard_for(layer(threshold, bias), bounds, "subtract", 7, 16, holds=True)
    assert fits_registers(guard)
    assert guard.holds
    assert guard.mantissa % 2 == 0  # weights of both signs have no lowest bit
    assert guard.clocks == (3 * guard.copies if guard.mantissa else 0)
    if guard.proven:
        assert bounds.high - guard.strength < threshold
        assert min(bounds.low - threshold, -guard.start) - guard.strength > -STATE_LIMIT
    else:
        assert guard.strength >= STATE_LIMIT // 2


@given(padding=st.integers(1, 16), bias=st.integers(-4096, 4095), threshold=st.integers(1, 255))
def test_a_guard_of_a_reset_to_zero_outlasts_the_bias(
    padding: int, bias: int, threshold: int
) -> None:
    bounds = StateBounds(-1000, 1000)
    guard = guard_for(layer(threshold, bias), bounds, "zero", 4, 4 + padding)
    assert fits_registers(guard)
    assert guard.proven
    assert threshold - 1 - guard.strength + padding * max(bias, 0) < threshold


def test_a_layer_that_cannot_fire_between_windows_has_no_inhibition() -> None:
    guard = guard_for(layer(100, -5), StateBounds(-50, 150), "subtract", 4, 5)
    assert guard.mantissa == guard.strength == guard.start == 0
    assert guard.proven


def test_biases_that_no_guard_outlasts_are_refused_with_the_way_out() -> None:
    with pytest.raises(NetworkError, match=r"hidden: a bias of 4095 in 60 steps.*num_steps"):
        guard_for(layer(100, 4095), StateBounds(0, 1), "zero", 4, 64)


def test_a_threshold_beyond_an_inhibitory_weight_is_refused_by_name() -> None:
    assert inhibition_parts(layer(255 << 7)) == (255, 7)
    with pytest.raises(NetworkError, match=r"hidden: threshold 33024 needs .* 8, .* 7"):
        inhibition_parts(layer(129 << 8))


def test_a_guard_outlasts_what_a_skip_path_adds() -> None:
    plain = [
        dense_layer(name, 8 * np.eye(3, dtype=int), 8, np.zeros(3, int), 8, (3,)) for name in "abc"
    ]
    skip = one_to_one_layer("skip", np.array([1024]), 8, np.zeros(1, int), None, (3,), source="a")
    guards = []
    for last in (plain[2], changed(plain[2], skips=(skip,))):
        layers = (plain[0], plain[1], last)
        network = network_of(InputSpec((3,), 1, 1.0), layers, 3, "subtract", "count")
        check_lowering(network, 4)
        guards.append(guard_for(last, network.bounds[2], "subtract", 3, 4))
    without, within = guards
    # A spike through the skip in each of 3 steps; the threshold comes off in two of them.
    assert without.strength < 8
    assert within.proven
    assert within.strength >= 3 * (1024 + 8) - 2 * 8 - 2 * 8 + 1


def test_lowering_of_a_network_is_checked_before_anything_is_built() -> None:
    network = small_network("subtract")
    check_lowering(network, 5)
    conv, hidden, readout = network.layers
    large = replace(network, layers=(changed(conv, threshold=40_960), hidden, readout))
    with pytest.raises(NetworkError, match="conv: threshold 40960"):
        check_lowering(large, 5)
    with pytest.raises(NetworkError, match="period of 4 steps is too short"):
        check_lowering(network, 4)
