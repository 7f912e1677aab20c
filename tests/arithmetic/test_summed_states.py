"""One product for a window: states that wrap on the way, and those that cannot be taken at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tandem_hw.arithmetic.deferred_checks import DeferredChecks
from tandem_hw.arithmetic.memory_order import MemoryOrder
from tandem_hw.arithmetic.neurons import Incoming, NeuronParameters, SpikeTrain, simulate_layer
from tandem_hw.arithmetic.spikes.counted_spikes import CountedSpikes
from tandem_hw.arithmetic.states.summed_states import step_limit
from tandem_hw.network.fixed_point import ACCUMULATOR_LIMIT, STATE_LIMIT
from tests.helpers.counted_trains import dense, equal, incoming, trains_of


def watched(one: Incoming, calls: list[int]) -> Incoming:
    def product(sent: Tensor) -> Tensor:
        calls.append(len(sent))
        return one.synapse(sent)

    return replace(one, synapse=product)


def balanced(num_steps: int, reach: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return counts [4, 6] and weights [5, 6] with which inputs of long trains take most back."""
    random = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, num_steps + 1, (4, 6), generator=random)
    weight = 2 * torch.randint(-reach, reach + 1, (5, 6), generator=random)
    counts[:, 0], counts[:, 1:3], counts[:, 3:] = num_steps, 1, counts[:, 3:] // num_steps
    weight[:, 0] = -weight[:, 1:3].sum(1) // num_steps // 2 * 2
    return counts.to(torch.uint8), weight.float()


def test_sums_are_what_the_steps_give_whatever_wraps_on_the_way() -> None:
    ways: Counter[str] = Counter()

    @settings(deadline=None, derandomize=True, max_examples=200)
    @given(
        num_steps=st.integers(2, 12),
        reach=st.sampled_from([1_000, 30_000, 40_000, 60_000, 90_000]),
        threshold=st.sampled_from([700, 60_000, STATE_LIMIT, None]),
        bias=st.sampled_from([0, 900, 100_000]),
        known=st.booleans(),
        seed=st.integers(0, 1 << 20),
    )
    def check(
        num_steps: int, reach: int, threshold: int | None, bias: int, known: bool, seed: int
    ) -> None:
        counts, weight = balanced(num_steps, reach, seed)
        train = CountedSpikes(counts, num_steps, MemoryOrder.of(torch.empty(4, 6)))
        largest = max(int(weight.clamp(0).sum(1).max()), -int(weight.clamp(max=0).sum(1).min()))
        neurons = NeuronParameters(
            torch.tensor([-1.0, 0, 1, 1, -1]) * bias,
            threshold,
            "subtract",
            False,
            input_reach=largest if known else ACCUMULATOR_LIMIT,
            firing_delay=num_steps - 1,
        )
        calls: list[int] = []
        one = watched(Incoming(train, dense(weight), dense(weight.abs())), calls)
        found = simulate_layer([one], neurons, num_steps)
        plain = Incoming(SpikeTrain(train.signal), dense(weight))
        expected = simulate_layer([plain], neurons, num_steps)
        if calls[0] > 4:
            way = "by steps from the start"
        elif len(calls) > 1:
            way = "by steps after all"
        else:
            way = "summed, and wraps" if expected.saturated().any() else "summed"
            assert found.peak is None
        ways[way] += 1
        equal(found, expected)

    check()
    assert len(ways) == 4, ways
    assert min(ways.values()) >= 10, ways


@pytest.mark.parametrize("watched_before", [True, False])
def test_a_deferred_pass_is_told_what_cannot_be_summed(watched_before: bool) -> None:
    num_steps = 4
    limit = step_limit(num_steps)
    layer = frozenset({"conv1"})

    def told(reach: int, known: int, *, magnitude: bool = True) -> DeferredChecks:
        checks = DeferredChecks(watched=layer if watched_before else frozenset())
        neurons = NeuronParameters(
            torch.zeros(5),
            STATE_LIMIT,
            "subtract",
            False,
            torch.tensor(float(known)),
            checks=checks,
            layer="conv1",
            firing_delay=num_steps - 1,
        )
        trains = trains_of(num_steps)[:1]
        simulate_layer(incoming(trains, reach, magnitude=magnitude), neurons, num_steps)
        return checks

    assert told(100, limit - 1).failed() is None
    assert told(100, limit, magnitude=False).failed() is None  # nothing is summed
    beside = told(100, limit)  # what comes in shows that it stays small, if it is looked at
    assert beside.failed() == (None if watched_before else frozenset())
    assert beside.to_watch == (frozenset() if watched_before else layer)
    assert told(60_000, limit).failed() == layer


def test_the_limit_of_a_step_keeps_the_whole_sum_exact() -> None:
    assert step_limit(2) == step_limit(32) == 2 * STATE_LIMIT
    assert all(step_limit(steps) * steps <= ACCUMULATOR_LIMIT for steps in range(33, 256))
