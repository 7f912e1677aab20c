from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem_hw.chip.timing import (
    board_period,
    check_period,
    default_period,
    total_steps,
    window_start,
)
from tandem_hw.conformance.layers import changed, dense_layer, network_of
from tandem_hw.errors import NetworkError
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork, Reset

RESETS: tuple[Reset, ...] = ("subtract", "zero")


def chain(depth: int, num_steps: int, reset: Reset) -> QuantizedNetwork:
    layers = tuple(
        dense_layer(
            name=f"layer {index}",
            weight=np.array([[2]]),
            weight_bits=8,
            bias=np.array([0]),
            threshold=None if index == depth else 2,
            input_shape=(1,),
        )
        for index in range(1, depth + 1)
    )
    return network_of(InputSpec((1,), 1, 1.0), layers, num_steps, reset)


def windows(network: QuantizedNetwork, index: int, samples: int, period: int) -> list[range]:
    first = window_start(index)
    return [
        range(first + k * period, first + k * period + network.num_steps) for k in range(samples)
    ]


networks = st.builds(
    chain, depth=st.integers(1, 5), num_steps=st.integers(1, 9), reset=st.sampled_from(RESETS)
)


def test_the_first_sample_reaches_the_first_layer_in_step_three() -> None:
    # Step 1 loads it, step 2 sends it, and the synapse delivers in step 3.
    assert window_start(1) == 3


@pytest.mark.parametrize("index", range(1, 6))
def test_every_layer_works_one_step_after_the_one_before(index: int) -> None:
    assert window_start(index + 1) - window_start(index) == 1


def test_a_reset_by_subtraction_needs_a_step_between_windows() -> None:
    assert default_period(chain(2, 7, "subtract")) == 8
    assert default_period(chain(2, 7, "zero")) == 7


@settings(max_examples=100, deadline=None)
@given(networks, st.integers(1, 6), st.integers(0, 4))
def test_windows_of_a_layer_never_overlap_and_the_guard_has_its_step(
    network: QuantizedNetwork, samples: int, extra: int
) -> None:
    period = default_period(network) + (extra if network.reset == "subtract" else 0)
    check_period(network, period)
    for index in range(1, len(network.layers) + 1):
        steps = [step for window in windows(network, index, samples, period) for step in window]
        assert len(set(steps)) == samples * network.num_steps
        if network.reset == "subtract":
            guards = {window.stop for window in windows(network, index, samples, period)}
            assert guards.isdisjoint(steps)


@settings(max_examples=100, deadline=None)
@given(networks, st.integers(1, 6), st.integers(0, 4))
def test_a_run_ends_with_the_last_step_of_the_last_window(
    network: QuantizedNetwork, samples: int, extra: int
) -> None:
    period = default_period(network) + (extra if network.reset == "subtract" else 0)
    last = [
        windows(network, index + 1, samples, period)[-1][-1] for index in range(len(network.layers))
    ]
    assert total_steps(network, samples, period) == max(last) == last[-1]


def test_the_steps_of_a_run_in_numbers() -> None:
    # Three samples of five steps, four layers: the last window starts at 2 + 4 + 2 * 6.
    assert total_steps(chain(4, 5, "subtract"), samples=3, period=6) == 18 + 5 - 1


@pytest.mark.parametrize("reset", RESETS)
def test_the_default_period_is_the_shortest_legal_one(reset: Reset) -> None:
    network = chain(2, 4, reset)
    least = default_period(network)
    check_period(network, least)
    with pytest.raises(NetworkError, match=f"period of {least - 1} steps is too short.*{least}"):
        check_period(network, least - 1)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_a_longer_period_is_legal_since_a_guard_silences_the_padding(reset: Reset) -> None:
    check_period(chain(2, 4, reset), 16)


@pytest.mark.parametrize(
    ("reset", "num_steps", "period"),
    [("subtract", 3, 4), ("subtract", 4, 8), ("subtract", 7, 8), ("zero", 4, 4), ("zero", 5, 8)],
)
def test_a_board_resets_at_the_next_power_of_two(reset: Reset, num_steps: int, period: int) -> None:
    assert board_period(chain(1, num_steps, reset)) == period


def test_a_leaky_layer_needs_windows_that_follow_each_other_at_once() -> None:
    plain = chain(2, 4, "zero")
    layers = (changed(plain.layers[0], voltage_decay=1), *plain.layers[1:])
    network = replace(plain, layers=layers)
    check_period(network, 4)
    with pytest.raises(NetworkError, match=f"5 steps .* layer {layers[0].name} leaks.*use 4"):
        check_period(network, 5)
