"""Windows in 16 bits against the definition, at their limits and beyond."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tandem_hw.arithmetic.neurons import (
    Incoming,
    LayerActivity,
    NeuronParameters,
    SpikeTrain,
    simulate_layer,
)
from tandem_hw.arithmetic.spikes.counted_spikes import CountedSpikes
from tandem_hw.arithmetic.states.exact_states import ExactState
from tandem_hw.arithmetic.states.fast_states import FastState
from tandem_hw.arithmetic.states.short_states import ShortStates
from tandem_hw.network.fixed_point import STATE_LIMIT
from tandem_hw.network.layers import Input, Layer, Neurons
from tandem_hw.network.synapses.dense import Dense

UNPROVEN = (-STATE_LIMIT, STATE_LIMIT)


def run(
    values: Tensor, sent: range | None, steps: int, neurons: NeuronParameters
) -> tuple[LayerActivity, list[Tensor], ExactState]:
    """Run a window of one sample, and the definition beside it.

    Args:
        values: synaptic inputs [num_steps, neurons], or of one image [1, neurons].
        sent: steps in which an image is sent.
        steps: length of the window.
        neurons: of the layer.
    """
    signal = torch.zeros(1, 1) if sent is not None else torch.zeros(steps, 1, 1)
    train = SpikeTrain(signal.to(torch.uint8), sent)
    activity = simulate_layer([Incoming(train, lambda _: values)], neurons, steps, follow_peak=True)
    exact = ExactState(neurons, neurons.bias, True)
    spikes = []
    for index in range(steps + neurons.firing_delay):
        nothing = index >= steps or (sent is not None and index not in sent)
        step = None if nothing else values[None, 0 if sent is not None else index]
        fired = exact.step(step, silent=index < neurons.firing_delay)
        if fired is not None:
            spikes.append(fired.clone())
    return activity, spikes, exact


def check(activity: LayerActivity, spikes: list[Tensor], exact: ExactState, dtype: Any) -> None:
    (state,) = activity.states
    assert isinstance(state, FastState)
    assert state.membrane.dtype == dtype
    assert activity.spikes is not None
    assert activity.counts is not None
    assert torch.equal(activity.spikes.double(), torch.stack(spikes))
    assert torch.equal(activity.counts.double(), torch.stack(spikes).sum(0))
    assert torch.equal(activity.final_state(), exact.final())
    assert torch.equal(activity.saturated(), exact.saturated())
    assert exact.extremes is not None
    low, high = (int(extreme) for extreme in exact.extremes)
    assert activity.peak == max(-low, high)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    seed=st.integers(0, 1 << 16),
    steps=st.integers(1, 19),
    reset=st.sampled_from(["subtract", "zero"]),
    threshold=st.integers(1, 900),
    sent=st.sampled_from([None, range(1), range(3), range(19)]),
    bias=st.integers(-150, 150),
    delay=st.integers(0, 3),
)
def test_a_window_in_16_bits_is_what_the_definition_says(
    seed: int, steps: int, reset: str, threshold: int, sent: range | None, bias: int, delay: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    rows = steps if sent is None else 1
    values = torch.randint(-700, 1400, (rows, 40), generator=random).float()
    biases = torch.linspace(bias, 2 * bias, 40).round()
    short = ShortStates(1400, 300, threshold, UNPROVEN)
    neurons = NeuronParameters(biases, threshold, reset, True, 1400, short=short)
    neurons = replace(neurons, firing_delay=min(delay, steps - 1))
    activity, spikes, exact = run(values, sent, steps, neurons)
    assert torch.stack(spikes).any()
    # With a reset by subtraction a state may leave 16 bits; then it is no longer tried.
    # And one that has taken in all before its first spike is counted at once.
    tried = short.worth_trying and not isinstance(activity.train, CountedSpikes)
    check(activity, spikes, exact, torch.int16 if tried else torch.float32)
    assert short.worth_trying or activity.peak is None or activity.peak > 31_067


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("beyond", [0, 1])
def test_what_comes_within_a_step_of_the_limit_is_run_again(
    reset: str, sign: int, beyond: int
) -> None:
    # The first step may go as far as 2^15 - 1 - 4000; from there on the next one is right.
    short = ShortStates(4000, 0, 32_000, UNPROVEN)
    room = 32_767 - 4000
    values = torch.zeros(9, 3)
    values[:, 0] = 4000
    values[7] = room + beyond - 7 * 4000
    values[8] = 0
    values[:, 0] *= sign
    neurons = NeuronParameters(torch.zeros(()), 32_000, reset, True, 4000, short=short)
    activity, spikes, exact = run(values, None, 9, neurons)
    assert activity.peak == room + beyond
    check(activity, spikes, exact, torch.float32 if beyond else torch.int16)
    assert short.worth_trying == (beyond == 0)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize(("low", "high"), [(-60_000, 5000), (-3000, 62_000), (-64_000, 1000)])
def test_proven_bounds_that_16_bits_hold_are_shifted_into_them(
    reset: str, low: int, high: int
) -> None:
    # A neuron that only falls, one that rises, and one that fires now and then.
    values = torch.tensor([[low / 5, high / 5, 400.0]]).trunc().expand(5, 3).clone()
    threshold = 534 if high < 5000 else 2000
    if reset == "subtract" and high < 62_000:
        values[:, 1] = threshold / 2
    reach = int(values.abs().max())
    short = ShortStates(reach, 0, threshold, (low, high))
    assert short.worth_trying
    assert short.offset != 0
    neurons = NeuronParameters(torch.zeros(()), threshold, reset, True, reach, short=short)
    activity, spikes, exact = run(values, None, 5, neurons)
    assert torch.stack(spikes).any()
    assert activity.peak is not None
    assert activity.peak > 32_767 or high > 5000
    check(activity, spikes, exact, torch.int16)


@pytest.mark.parametrize(
    ("numbers", "tried"),
    [
        ((32_767, 0, 32_767, UNPROVEN), True),
        ((32_768, 0, 1, UNPROVEN), False),
        ((1, 0, 32_768, UNPROVEN), False),
        ((30_000, 2768, 1, UNPROVEN), False),
        ((30_000, 2768, 1, (-32_767, 32_767)), True),
        ((1, 1, 1, (-60_000, 5534)), True),
        ((1, 1, 6000, (-60_000, 5534)), False),
        ((1, 6000, 1, (-60_000, 5534)), False),
    ],
)
def test_numbers_that_need_more_are_not_tried(numbers: Any, tried: bool) -> None:
    assert ShortStates(*numbers).worth_trying == tried


def test_a_layer_without_bounds_or_with_a_leak_is_not_tried() -> None:
    synapses = Dense("one", np.full((2, 3), 2, np.int16), 8, (3,))
    tried = []
    for threshold, decay, bounds in (
        (5, 0, (-30, 30)),
        (5, 0, None),
        (None, 0, (-30, 30)),
        (5, 70, (-30, 30)),
    ):
        neurons = Neurons(np.array([-1, 2], np.int32), threshold, voltage_decay=decay)
        layer = Layer("one", neurons, (Input("input", synapses),))
        found = NeuronParameters.of_layer(layer, "zero", proven=True, input_reach=6, bounds=bounds)
        tried.append(found.short is not None and found.short.worth_trying)
    assert tried == [True, False, False, False]
