"""The neurons over a window: hand-made examples, and float32 against the exact path."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Neuron

from tandem_hw.fixed_point import STATE_LIMIT
from tandem_hw.neurons import (
    LayerActivity,
    NeuronParameters,
    SpikeTrain,
    simulate_layer,
    wrap_current_,
)


def run(
    inputs: list[list[int]], bias: int, threshold: int | None, reset: str, *, proven: bool = False
) -> LayerActivity:
    """Run one layer whose synaptic inputs are given, [num_steps][neurons]."""
    values = iter(torch.tensor(inputs, dtype=torch.float32).unsqueeze(1).repeat(2, 1, 1))
    steps = torch.zeros(len(inputs), 1, 1, dtype=torch.uint8)
    neurons = NeuronParameters(torch.tensor(float(bias)), threshold, reset, proven)
    return simulate_layer(
        SpikeTrain(steps), lambda _: next(values).clone(), neurons, len(inputs), follow_peak=True
    )


def test_reset_by_subtraction_keeps_what_exceeds_the_threshold() -> None:
    activity = run([[25], [0], [0], [3]], bias=2, threshold=10, reset="subtract")
    assert activity.spikes is not None
    # 27, 17, 7, then 10 again with the last input.
    assert activity.spikes.flatten().tolist() == [1, 1, 0, 1]


def test_reset_to_zero_forgets_what_exceeds_the_threshold() -> None:
    activity = run([[25], [0], [6], [0]], bias=2, threshold=10, reset="zero")
    assert activity.spikes is not None
    # 27, 2, 10, 2.
    assert activity.spikes.flatten().tolist() == [1, 0, 1, 0]


def test_threshold_itself_fires_and_one_below_does_not() -> None:
    for reset in ("subtract", "zero"):
        activity = run([[10, 9]], bias=0, threshold=10, reset=reset)
        assert activity.counts is not None
        assert activity.counts.tolist() == [[1.0, 0.0]]


def test_readout_never_fires_and_takes_its_bias_once() -> None:
    for reset in ("subtract", "zero"):
        activity = run([[1000], [1000], [-7]], bias=50, threshold=None, reset=reset)
        assert activity.counts is None
        assert activity.potential is not None
        assert activity.potential.tolist() == [[2043.0]]


@settings(max_examples=200, deadline=None)
@given(
    inputs=st.lists(
        st.lists(
            st.one_of(st.integers(-600, 900), st.integers(-(1 << 23) + 1, (1 << 23) - 1)),
            min_size=3,
            max_size=3,
        ),
        min_size=1,
        max_size=6,
    ),
    bias=st.integers(-8190, 8190),
    threshold=st.sampled_from([None, 1, 300, 131_072]),
    reset=st.sampled_from(["subtract", "zero"]),
)
def test_every_step_is_the_oracle_s(
    inputs: list[list[int]], bias: int, threshold: int | None, reset: str
) -> None:
    neurons = [Neuron(bias, threshold, reset) for _ in range(3)]
    spikes = [
        [neuron.step(value) for neuron, value in zip(neurons, row, strict=True)] for row in inputs
    ]
    activity = run(inputs, bias, threshold, reset)
    assert activity.peak == max(neuron.peak for neuron in neurons)
    if threshold is None:
        assert activity.potential is not None
        assert activity.potential.tolist() == [[neuron.v >> 6 for neuron in neurons]]
    else:
        assert activity.spikes is not None
        assert activity.spikes[:, 0].tolist() == spikes


@settings(max_examples=50, deadline=None)
@given(
    inputs=st.lists(
        st.lists(st.integers(-500, 900), min_size=4, max_size=4), min_size=1, max_size=8
    ),
    bias=st.integers(-200, 200),
    reset=st.sampled_from(["subtract", "zero"]),
)
def test_what_is_proven_needs_no_second_look(
    inputs: list[list[int]], bias: int, reset: str
) -> None:
    proven = run(inputs, bias, 300, reset, proven=True)
    looked_at = run(inputs, bias, 300, reset, proven=False)
    assert proven.spikes is not None
    assert looked_at.spikes is not None
    assert torch.equal(proven.spikes, looked_at.spikes)
    assert proven.peak == looked_at.peak


@given(
    st.lists(
        st.one_of(
            st.sampled_from([k * STATE_LIMIT + d for k in (-3, -1, 0, 1, 3) for d in (-1, 0, 1)]),
            st.integers(-(1 << 27), 1 << 27),
        ),
        min_size=1,
    )
)
def test_wrap_is_lava_s_in_32_bit_integers(values: list[int]) -> None:
    # AbstractPyLifModelFixed.subthr_dynamics, in NumPy's own int32, which wraps as C does.
    with np.errstate(over="ignore"):
        lava = (np.array(values, dtype=np.int64) << 6).astype(np.int32)
    lava = np.where(lava > 1 << 23, lava - (1 << 24), lava)
    lava = np.where(lava <= -(1 << 23), lava + (1 << 24), lava)
    wrapped = wrap_current_(torch.tensor(values, dtype=torch.float64))
    assert (wrapped * 64).tolist() == lava.tolist()


def test_nothing_is_sent_after_the_first_step_of_that_encoding() -> None:
    signal = torch.tensor([[3, 0]], dtype=torch.uint8)
    first = list(SpikeTrain(signal, "first_step").synaptic_inputs(lambda s: s * 2, 3))
    assert first[0] is not None
    assert first[0].tolist() == [[6.0, 0.0]]
    assert first[1:] == [None, None]
    constant = list(SpikeTrain(signal, "constant").synaptic_inputs(lambda s: s * 2, 3))
    assert [step.tolist() for step in constant if step is not None] == [[[6.0, 0.0]]] * 3


@pytest.mark.parametrize("keep", [True, False])
def test_spikes_are_kept_only_where_asked(keep: bool) -> None:
    neurons = NeuronParameters(torch.zeros(()), 1, "subtract", True)
    steps = SpikeTrain(torch.ones(3, 1, 2, dtype=torch.uint8))
    activity = simulate_layer(steps, lambda s: s.clone(), neurons, 3, keep_spikes=keep)
    assert activity.counts is not None
    assert activity.counts.tolist() == [[3.0, 3.0]]
    assert (activity.spikes is not None) == keep
