"""Interval arithmetic bounds every state that the oracle reaches."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem_hw.conformance import oracle
from tandem_hw.network.bounds import (
    StateBounds,
    beyond,
    decayed,
    reach,
    synaptic_interval,
    weighted_interval,
    window_bounds,
)
from tandem_hw.network.fixed_point import STATE_LIMIT
from tandem_hw.network.quantized import QuantizedNetwork
from tests.helpers.networks import networks, random_inputs


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    network=st.one_of(networks(), networks(overflowing=True)),
    seed=st.integers(0, 99),
    extreme=st.booleans(),
)
def test_no_layer_leaves_its_bounds_and_a_proven_one_never_wraps(
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
                assert not result.clipped
                assert result.peak <= max(-bounds.low, bounds.high)
            if not result.wrapped:
                assert bounds.low * 64 <= result.low
                assert result.high <= bounds.high * 64


def test_interval_of_a_sum_is_reached_by_the_inputs_that_favour_it() -> None:
    weight = np.array([[4, -6, 2], [-2, -2, -2]])
    low, high = synaptic_interval(weight, 15)
    assert low.tolist() == [-90, -90]
    assert high.tolist() == [90, 0]
    assert reach((low, high)) == 90
    assert beyond((low, high), 90)
    assert not beyond((low, high), 91)


def test_an_interval_of_pytorch_is_that_of_numpy() -> None:
    weight = 2 * np.random.default_rng(0).integers(-128, 128, (5, 3, 4, 2))
    there = torch.from_numpy(weight).double()
    for found, expected in zip(
        weighted_interval(there, 15), synaptic_interval(weight, 15), strict=True
    ):
        assert isinstance(found, torch.Tensor)
        assert np.array_equal(found.numpy(), expected)
    interval = synaptic_interval(weight, 15)
    for limit in (reach(interval), reach(interval) + 1):
        wide = beyond(weighted_interval(there, 15), limit)
        assert isinstance(wide, torch.Tensor)
        assert bool(wide) == bool(beyond(interval, limit)) == (limit == reach(interval))


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


@pytest.mark.parametrize("threshold", [None, 1, 4])
@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("bias", [-3, 0, 3])
@pytest.mark.parametrize("voltage_decay", [0, 1, 1024, 4096])
def test_bounds_are_reached_where_a_synaptic_input_can_be_any_integer(
    threshold: int | None, reset: str, bias: int, voltage_decay: int
) -> None:
    leak = (4096, voltage_decay if reset == "zero" and threshold is not None else 0)
    low, high = -2, 3
    neurons = []
    for train in itertools.product(range(low, high + 1), repeat=3):
        neuron = oracle.Neuron(bias, threshold, reset, *leak)
        for synaptic_input in train:
            neuron.step(synaptic_input)
        neurons.append(neuron)
    step = (np.array([low]), np.array([high]))
    bounds = window_bounds([step] * 3, np.array([bias]), threshold, reset, *leak)
    assert bounds.low == min(neuron.low for neuron in neurons) // 64
    assert bounds.high == -(-max(neuron.high for neuron in neurons) // 64)


def test_bounds_of_a_current_that_stays_grow_by_each_step() -> None:
    # Currents of 10, 20, 30 give voltages of 10, 30, 60 below a threshold that none reaches.
    step = (np.array([-1]), np.array([10]))
    assert window_bounds([step] * 3, np.array([0]), 1000, "zero", 0, 0) == StateBounds(-6, 60)
    # With half of the current and of the voltage lost in a step: 10, 15, 17.5 and 10, 20, 27.5.
    assert window_bounds([step] * 3, np.array([0]), 1000, "zero", 2048, 2048).high == 28


def test_bounds_of_the_longest_window_do_not_overflow() -> None:
    step = (np.array([-(1 << 23) + 1]), np.array([(1 << 23) - 1]))
    bounds = window_bounds([step] * 4096, np.array([0]), 1, "zero", 0, 0)
    assert bounds.low == -((1 << 23) - 1) * 4096 * 4097 // 2
    assert not bounds.proven


@given(st.integers(-(1 << 53), 1 << 53), st.integers(0, 4096))
@settings(deadline=None, derandomize=True)
def test_a_decay_rounds_toward_zero(state: int, decay: int) -> None:
    expected = int(math.copysign(1, state)) * (abs(state) * (4096 - decay) // 4096)
    assert decayed(np.array([state]), decay).tolist() == [expected]


def test_a_bias_above_the_threshold_does_not_fire_before_the_first_step() -> None:
    step = (np.array([0]), np.array([2]))
    assert window_bounds([step], np.array([4]), 1, "subtract") == StateBounds(0, 6)


def test_the_limit_itself_is_not_proven() -> None:
    assert StateBounds(1 - STATE_LIMIT, STATE_LIMIT - 1).proven
    assert not StateBounds(-STATE_LIMIT, 0).proven
    assert not StateBounds(0, STATE_LIMIT).proven
