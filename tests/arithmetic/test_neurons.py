"""The neurons over a window: hand-made examples, and float32 against the exact path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tandem_hw.arithmetic import layer_window as window_module
from tandem_hw.arithmetic.neurons import (
    Incoming,
    LayerActivity,
    NeuronParameters,
    SpikeTrain,
    simulate_layer,
)
from tandem_hw.arithmetic.states.exact_states import ExactState
from tandem_hw.arithmetic.states.state_arithmetic import decay_, wrap_current_
from tandem_hw.conformance.oracle import Neuron
from tandem_hw.network.fixed_point import DECAY_UNITY, STATE_LIMIT


def run(
    inputs: list[list[int]],
    bias: int,
    threshold: int | None,
    reset: str,
    *leak: int,
    proven: bool = False,
) -> LayerActivity:
    """Run one layer whose synaptic inputs are given, [num_steps][neurons]."""
    values = torch.tensor(inputs, dtype=torch.float32)
    steps = torch.arange(len(inputs), dtype=torch.uint8).reshape(-1, 1, 1)  # looked up below
    current_decay, voltage_decay = (*leak, *(DECAY_UNITY, 0)[len(leak) :])
    neurons = NeuronParameters(
        torch.tensor(float(bias)),
        threshold,
        reset,
        proven,
        current_decay=current_decay,
        voltage_decay=voltage_decay,
    )
    return simulate_layer(
        [Incoming(SpikeTrain(steps), lambda sent: values[sent[:, 0].long()])],
        neurons,
        len(inputs),
        follow_peak=True,
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


def test_a_leak_rounds_toward_zero_in_both_directions() -> None:
    # In units of 1/64: 64 * 3/4 = 48, 36, 27, 20.25 -> 20, 15, 11.25 -> 11, 8.25 -> 8; the same
    # below 0, so that a rounding down would differ in sign.
    for sign in (1, -1):
        state = torch.tensor([64.0 * sign], dtype=torch.float64)
        seen = [int(decay_(state, 1024).item()) * sign for _ in range(7)]
        assert seen == [48, 36, 27, 20, 15, 11, 8]


def test_a_current_that_stays_drives_the_voltage_after_the_spike() -> None:
    # Currents 8, 4, 2, 1; voltages 8, 12 (fires, falls to 0), 2, 3.
    activity = run([[8], [0], [0], [0]], 0, 12, "zero", 2048, 0)
    assert activity.spikes is not None
    assert activity.spikes.flatten().tolist() == [0, 1, 0, 0]
    assert activity.peak == 12


def test_a_voltage_that_leaks_needs_more_than_its_threshold() -> None:
    inputs = [[6], [6], [6], [6]]
    for decay, expected in ((0, [0, 1, 0, 1]), (2048, [0, 0, 1, 0])):
        activity = run(inputs, 0, 10, "zero", 4096, decay)
        assert activity.spikes is not None
        assert activity.spikes.flatten().tolist() == expected


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


@settings(max_examples=200, deadline=None, derandomize=True)
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
    leak=st.tuples(
        st.sampled_from([4096, 4095, 1000, 1, 0]), st.sampled_from([0, 1, 1000, 4095, 4096])
    ),
)
def test_every_step_is_the_oracle_s(
    inputs: list[list[int]], bias: int, threshold: int | None, reset: str, leak: tuple[int, int]
) -> None:
    if reset == "subtract" or threshold is None:
        leak = (4096, 0)
    neurons = [Neuron(bias, threshold, reset, *leak) for _ in range(3)]
    spikes = [
        [neuron.step(value) for neuron, value in zip(neurons, row, strict=True)] for row in inputs
    ]
    activity = run(inputs, bias, threshold, reset, *leak)
    assert activity.peak == max(neuron.peak for neuron in neurons)
    if threshold is None:
        assert activity.potential is not None
        assert activity.potential.tolist() == [[neuron.v >> 6 for neuron in neurons]]
    else:
        assert activity.spikes is not None
        assert activity.spikes[:, 0].tolist() == spikes


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    inputs=st.lists(
        st.lists(st.integers(-500, 900), min_size=4, max_size=4), min_size=1, max_size=8
    ),
    bias=st.integers(-200, 200),
    reset=st.sampled_from(["subtract", "zero"]),
)
def test_float32_of_a_proven_layer_equals_float64(
    inputs: list[list[int]], bias: int, reset: str
) -> None:
    proven = run(inputs, bias, 300, reset, proven=True)
    looked_at = run(inputs, bias, 300, reset, proven=False)
    # One more neuron that leaves 24 bits takes all of them to float64 and back.
    beside = run([[*row, STATE_LIMIT] for row in inputs], bias, 300, reset, proven=False)
    for other in (looked_at, beside):
        assert proven.spikes is not None
        assert other.spikes is not None
        assert torch.equal(proven.spikes, other.spikes[..., :4])
    assert proven.peak == looked_at.peak


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_only_what_left_24_bits_is_run_again_in_float64(
    reset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact: list[int] = []

    class Watched(ExactState):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            exact.append(0)

        def step(self, synaptic_input: Tensor | None, *, silent: bool = False) -> Tensor | None:
            exact[-1] += 1
            return super().step(synaptic_input, silent=silent)

    monkeypatch.setattr(window_module, "ExactState", Watched)
    run([[400], [STATE_LIMIT]], 5, 300, reset, proven=False)
    assert exact == [2]
    exact.clear()
    run([[400], [500]], 5, 300, reset, proven=True)
    run([[400], [500]], 5, 300, "subtract", proven=False)
    assert exact == []


def test_a_current_wraps_though_its_bias_keeps_the_potential_within_24_bits() -> None:
    # 132000 wraps to -130144; without the wrap, 132000 - 4000 would fire.
    activity = run([[132_000]], bias=-4000, threshold=1024, reset="subtract")
    assert activity.counts is not None
    assert activity.counts.tolist() == [[0.0]]
    assert activity.peak == 130_144 + 4000


def test_a_current_wraps_though_the_voltage_would_stay_within_24_bits() -> None:
    # 200000 wraps to -62144; without the wrap, -100000 + 200000 would fire.
    activity = run([[-100_000], [200_000]], bias=0, threshold=1024, reset="zero")
    assert activity.counts is not None
    assert activity.counts.tolist() == [[0.0]]
    assert activity.peak == STATE_LIMIT


def test_a_voltage_is_clipped_one_64th_before_24_bits_end() -> None:
    # Clipped to -(2^23 - 1) / 64, and 131200 more leave 128 + 1/64, just above vth = 128.
    activity = run([[-131_000], [-131_000], [131_000]], bias=200, threshold=129, reset="zero")
    assert activity.spikes is not None
    assert activity.spikes.flatten().tolist() == [0, 0, 1]


def wrap(current: int) -> int:
    """Wrap in Lava's units of 1/64, as subthr_dynamics does with Python's integers."""
    current = (current + (1 << 31)) % (1 << 32) - (1 << 31)
    if current > 1 << 23:
        return current - (1 << 24)
    return current + (1 << 24) if current <= -(1 << 23) else current


def test_the_ends_of_24_bits_wrap_as_python_integers_do() -> None:
    ends = [sign * (1 << bits) for sign in (-1, 1) for bits in (23, 24, 25, 31, 32)]
    values = [0, *(end // 64 + offset for end in ends for offset in (-2, -1, 0, 1, 2))]
    wrapped = wrap_current_(torch.tensor(values, dtype=torch.float64))
    assert (wrapped * 64).tolist() == [wrap(value * 64) for value in values]
    half = (1 << 23) // 64
    found = wrap_current_(torch.tensor([half, half + 1, -half, 1 - half], dtype=torch.float64))
    assert found.tolist() == [half, 1 - half, half, 1 - half]


@settings(deadline=None, derandomize=True)
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


def test_an_image_is_sent_in_the_steps_of_its_encoding_and_passes_the_synapse_once() -> None:
    signal = torch.tensor([[3, 0]], dtype=torch.uint8)
    passed = []

    def synapse(given: torch.Tensor) -> torch.Tensor:
        passed.append(given)
        return given * 2

    def inputs_of(sent: range) -> list[list[list[float]] | None]:
        incoming = Incoming(SpikeTrain(signal, sent), synapse)
        return [None if step is None else step.tolist() for step in incoming.synaptic_inputs(3)]

    assert inputs_of(range(1)) == [[[6.0, 0.0]], None, None]
    assert inputs_of(range(3)) == [[[6.0, 0.0]]] * 3
    # A window starts with a tensor, of as many neurons as there are.
    assert inputs_of(range(2, 3)) == [[[0.0, 0.0]], None, [[6.0, 0.0]]]
    assert len(passed) == 3


@pytest.mark.parametrize("keep", [True, False])
def test_spikes_are_kept_only_where_asked(keep: bool) -> None:
    neurons = NeuronParameters(torch.zeros(()), 1, "subtract", True)
    steps = SpikeTrain(torch.ones(3, 1, 2, dtype=torch.uint8))
    activity = simulate_layer([Incoming(steps, lambda s: s.clone())], neurons, 3, keep_spikes=keep)
    assert activity.counts is not None
    assert activity.counts.tolist() == [[3.0, 3.0]]
    assert (activity.spikes is not None) == keep
