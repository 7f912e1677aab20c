"""With reset "zero" a state is held in range by what comes in, where the weights do not show it."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tandem_hw.arithmetic.deferred_checks import DeferredChecks
from tandem_hw.arithmetic.neurons import Incoming, NeuronParameters, SpikeTrain, simulate_layer
from tandem_hw.arithmetic.spikes.packed_spikes import SpikePacker
from tandem_hw.arithmetic.states.exact_states import ExactState
from tandem_hw.arithmetic.states.fast_states import FastState
from tandem_hw.arithmetic.states.step_inputs import largest_input
from tandem_hw.network.fixed_point import ACCUMULATOR_LIMIT, STATE_LIMIT

NEURONS, STEPS = 5, 6


def coming(values: Tensor) -> Incoming:
    """Let values [batch, num_steps, neurons] come in."""
    places = torch.arange(values.shape[0] * values.shape[1], dtype=torch.uint8)
    train = SpikeTrain(places.view(*values.shape[:2], 1).transpose(0, 1))
    return Incoming(train, lambda sent: values.flatten(0, 1)[sent[:, 0].long()])


def drawn(seed: int, largest: int) -> Tensor:
    """Return values that leave 24 bits in steps that a threshold hides from the membrane."""
    random = torch.Generator().manual_seed(seed)
    return torch.randint(-largest, largest + 1, (4, STEPS, NEURONS), generator=random).float()


def neurons_with(reach: int | Tensor, checks: DeferredChecks | None = None) -> NeuronParameters:
    bias = torch.tensor([-9.0, 0, 3, 400, -700])
    return NeuronParameters(bias, 300, "zero", False, reach, checks=checks, layer="conv1")


def test_what_comes_in_shows_that_no_current_wraps() -> None:
    ways: Counter[str] = Counter()

    @settings(deadline=None, derandomize=True, max_examples=150)
    @given(
        seed=st.integers(0, 1 << 20),
        largest=st.sampled_from([500, 60_000, STATE_LIMIT - 1, STATE_LIMIT, 200_000]),
    )
    def check(seed: int, largest: int) -> None:
        values = drawn(seed, largest)
        neurons = neurons_with(ACCUMULATOR_LIMIT)
        found = simulate_layer([coming(values)], neurons, STEPS)
        exact = ExactState(neurons, neurons.bias.float(), False)
        packer = SpikePacker(STEPS, None)
        exact.run(list(values.unbind(1)), packer)
        assert found.counts is not None
        assert packer.counts.any()
        assert torch.equal(found.counts, packer.counts.float())
        assert torch.equal(found.final_state(), exact.final())
        assert torch.equal(found.saturated(), exact.saturated())
        fast = isinstance(found.states[0], FastState)
        if fast:
            assert values.abs().max() < STATE_LIMIT
        ways["fast" if fast else "exact"] += 1

    check()
    assert min(ways["fast"], ways["exact"]) >= 30, ways


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("largest", [500, STATE_LIMIT])
def test_a_deferred_pass_looks_at_it_once_the_weights_did_not_show_it(
    watched: bool, largest: int
) -> None:
    layer = frozenset({"conv1"})
    values = drawn(1, 500)
    values[0, 0, 0] = -largest
    for reach, known in ((STATE_LIMIT - 1, True), (STATE_LIMIT, False)):
        checks = DeferredChecks(watched=layer if watched else frozenset())
        reach_there = torch.tensor(float(reach), dtype=torch.float64)
        simulate_layer([coming(values)], neurons_with(reach_there, checks), STEPS)
        failed = checks.failed()
        if largest == STATE_LIMIT:  # the membrane itself shows it
            assert failed == layer
        elif known or watched:
            assert failed is None
        else:
            assert failed == frozenset()
            assert checks.to_watch == layer


def test_the_largest_input_is_that_of_every_step() -> None:
    low, high = torch.tensor([[-7.0, 2]]), torch.tensor([[3.0, 5]])
    assert largest_input([high, None, low]) == 7
    assert largest_input([high, high, None]) == 5
    assert largest_input([high, high * float("nan")]).isnan()
