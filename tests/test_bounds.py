"""Interval arithmetic bounds every state that the oracle reaches."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import networks, random_inputs

from tandem_hw.bounds import StateBounds, reach, synaptic_interval, window_bounds
from tandem_hw.fixed_point import STATE_LIMIT
from tandem_hw.network import QuantizedNetwork


@settings(max_examples=100, deadline=None)
@given(
    network=st.one_of(networks(), networks(overflowing=True)),
    seed=st.integers(0, 99),
    extreme=st.booleans(),
)
def test_a_proven_layer_never_wraps_and_stays_within_its_bounds(
    network: QuantizedNetwork, seed: int, extreme: bool
) -> None:
    inputs = random_inputs(network, 2, seed)
    if extreme:
        inputs = np.where(inputs > network.input.largest // 2, network.input.largest, 0)
    for sample in inputs:
        results = oracle.run_sample(network, sample.reshape(-1).tolist())
        for result, bounds in zip(results, network.bounds, strict=True):
            if bounds.proven:
                assert not result.wrapped
                assert result.peak <= max(-bounds.low, bounds.high)


def test_interval_of_a_sum_is_reached_by_the_inputs_that_favour_it() -> None:
    weight = np.array([[4, -6, 2], [-2, -2, -2]])
    low, high = synaptic_interval(weight, 15)
    assert low.tolist() == [-90, -90]
    assert high.tolist() == [90, 0]
    assert reach((low, high)) == 90


@pytest.mark.parametrize(
    ("threshold", "reset", "expected"),
    [
        # The potential is within 3 + [-4, 10], then 8 comes off where it was reached, and so on;
        # without its bias it is 3 lower.
        (8, "subtract", StateBounds(-13 - 3, 21)),
        # The bias acts in every step, and what is left of a reset is below the threshold.
        (8, "zero", StateBounds(-4, 7 + 10 + 3)),
        (None, "subtract", StateBounds(-16, 3 + 4 * 10)),
        (None, "zero", StateBounds(-16, 3 + 4 * 10)),
    ],
)
def test_bounds_of_a_single_neuron(
    threshold: int | None, reset: str, expected: StateBounds
) -> None:
    step = (np.array([-4]), np.array([10]))
    assert window_bounds([step] * 4, np.array([3]), threshold, reset) == expected


def test_a_bias_above_the_threshold_does_not_fire_before_the_first_step() -> None:
    step = (np.array([0]), np.array([2]))
    assert window_bounds([step], np.array([4]), 1, "subtract") == StateBounds(0, 6)


def test_the_limit_itself_is_not_proven() -> None:
    assert StateBounds(1 - STATE_LIMIT, STATE_LIMIT - 1).proven
    assert not StateBounds(-STATE_LIMIT, 0).proven
    assert not StateBounds(0, STATE_LIMIT).proven
