"""A window in one pass, part by part and in bits, against Lava's own variables step by step."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tandem_hw.arithmetic import neurons as neurons_module
from tandem_hw.arithmetic.deferred_checks import DeferredChecks
from tandem_hw.arithmetic.memory_order import MemoryOrder
from tandem_hw.arithmetic.neurons import (
    Incoming,
    LayerActivity,
    NeuronParameters,
    SpikeTrain,
    simulate_layer,
)
from tandem_hw.arithmetic.spikes.packed_spikes import PackedSpikes, SpikePacker
from tandem_hw.arithmetic.states.exact_states import ExactState

SHAPE = (3, 2, 2)


def looked_up(values: Tensor) -> Incoming:
    """Let values [num_steps, batch, *shape] come in."""
    steps, batch = values.shape[:2]
    places = torch.arange(steps * batch).reshape(steps, batch, 1)
    train = SpikeTrain(places.to(torch.uint8))
    return Incoming(train, lambda sent: values.flatten(0, 1)[sent[:, 0].long()])


def draw_values(seed: int, steps: int, batch: int, largest: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(-largest, 2 * largest, (steps, batch, *SHAPE), generator=random).float()


def equal(one: LayerActivity, other: LayerActivity) -> None:
    pairs: list[tuple[Any, Any]] = [
        (one.spikes, other.spikes),
        (one.counts, other.counts),
        (one.potential, other.potential),
        (one.final_state(), other.final_state()),
        (one.saturated(), other.saturated()),
    ]
    for found, expected in pairs:
        assert (found is None) == (expected is None)
        assert found is None or torch.equal(found.double(), expected.double())
    assert one.peak == other.peak


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    seed=st.integers(0, 1 << 16),
    steps=st.integers(1, 19),
    reset=st.sampled_from(["subtract", "zero"]),
    threshold=st.sampled_from([None, 1, 300, 131_072]),
    largest=st.sampled_from([400, 60_000, (1 << 22) - 1]),
    proven=st.booleans(),
    share=st.sampled_from([0, 0, 0.3, 1]),
)
def test_every_part_is_what_the_definition_says(
    seed: int,
    steps: int,
    reset: str,
    threshold: int | None,
    largest: int,
    proven: bool,
    share: float,
) -> None:
    delay = int(share * (steps - 1)) if reset == "subtract" and threshold is not None else 0
    values = draw_values(seed, steps, 5, largest)
    bias = torch.arange(-1, 2).reshape(3, 1, 1) * 100.0
    proven = proven and largest == 400
    neurons = NeuronParameters(bias, threshold, reset, proven, firing_delay=delay)
    activity = simulate_layer([looked_up(values)], neurons, steps, follow_peak=True)
    state = ExactState(neurons, bias, True)
    for index, step in enumerate([*values, *([None] * delay)]):
        fired = state.step(step, silent=index < delay)
        if fired is not None:
            assert activity.spikes is not None
            assert torch.equal(activity.spikes[index - delay].double(), fired)
    assert torch.equal(activity.final_state(), state.final())
    assert torch.equal(activity.saturated(), state.saturated())
    if threshold is None:
        assert activity.potential is not None
        assert torch.equal(activity.potential.double(), state.potential())
    else:
        assert activity.counts is not None
        assert activity.spikes is not None
        assert torch.equal(activity.counts, activity.spikes.sum(0).float())


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("threshold", [None, 300])
@pytest.mark.parametrize("largest", [400, 60_000])
def test_a_batch_in_parts_is_the_batch_as_a_whole(
    reset: str, threshold: int | None, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 9
    values = draw_values(1, steps, 7, 400)
    values[:, 2] *= largest / 400  # one sample that may leave 24 bits, and does
    values[:3, 2] = -largest
    bias = torch.arange(-1, 2).reshape(3, 1, 1) * 10.0
    neurons = NeuronParameters(bias, threshold, reset, False, 2 * largest, number=12)
    whole = simulate_layer([looked_up(values)], neurons, steps, follow_peak=True)
    assert len(whole.states) == 1
    for inputs, membranes, parts in ((12 * steps * 2, 1 << 20, 4), (1 << 20, 36, 3), (1, 1, 7)):
        monkeypatch.setattr(neurons_module, "_PART_INPUTS", inputs)
        monkeypatch.setattr(neurons_module, "_PART_MEMBRANES", membranes)
        found = simulate_layer([looked_up(values)], neurons, steps, follow_peak=True)
        assert len(found.states) == parts
        equal(found, whole)
        exact = [isinstance(state, ExactState) for state in found.states]
        assert exact.count(True) == (1 if largest > 400 else 0)


@pytest.mark.parametrize("steps", [1, 7, 8, 9, 16, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bits_hold_the_spikes_and_their_counts(steps: int, dtype: torch.dtype) -> None:
    random = torch.Generator().manual_seed(steps)
    spikes = torch.randint(0, 2, (steps, 4, 12), generator=random)
    spikes[:, 0], spikes[:, 1] = 0, 1
    bits = torch.empty(4, SpikePacker.bytes_for(steps), 12, dtype=torch.uint8)
    assert bits.shape[1] == -(-steps // 8)
    for target in (bits, None):
        packer = SpikePacker(steps, target)
        for step in spikes:
            packer.add(step.to(dtype))
        assert torch.equal(packer.counts.long(), spikes.sum(0))
    for last in (True, False):
        order = MemoryOrder(SHAPE, last)
        train = PackedSpikes(bits, steps, order)
        expected = order.image(spikes)
        assert torch.equal(train.signal, expected)
        assert train.signal.dtype == torch.uint8
        assert torch.equal(train.samples_first(), expected.transpose(0, 1))
        assert torch.equal(train.part(slice(1, 3)).signal, expected[:, 1:3])
        mask = torch.rand(4, 3, 1, 1, generator=random) < 0.5
        assert torch.equal(train.kept(mask).signal, expected * mask)
        assert (train.batch, train.by_step, train.sent) == (4, True, None)


def test_an_empty_batch_gives_nothing() -> None:
    neurons = NeuronParameters(torch.zeros(()), 5, "subtract", True, number=2)
    train = SpikeTrain(torch.zeros(3, 0, 2, dtype=torch.uint8))
    activity = simulate_layer([Incoming(train, lambda sent: sent.float())], neurons, 3)
    assert activity.counts is not None
    assert activity.spikes is not None
    assert activity.counts.shape == (0, 2)
    assert activity.spikes.shape == (3, 0, 2)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_a_batch_is_not_parted_on_another_device(
    reset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # "meta" computes shapes alone, and knows no autocast that could be kept away.
    monkeypatch.setattr(neurons_module, "exact_arithmetic", lambda *_: nullcontext())
    neurons = NeuronParameters(
        torch.zeros((), device="meta"), 5, reset, True, number=12, checks=DeferredChecks()
    )
    train = SpikeTrain(torch.zeros(3, 1 << 20, *SHAPE, dtype=torch.uint8, device="meta"))
    activity = simulate_layer([Incoming(train, lambda sent: sent.float())], neurons, 3)
    assert len(activity.states) == 1
    assert activity.counts is not None
    assert activity.counts.shape == (1 << 20, *SHAPE)
    assert len([*neurons_module._parts(1 << 20, 12, 12, 3)]) > 1


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("leaks", [False, True])
@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize("largest", [400, 60_000])
def test_a_threshold_on_the_device_is_the_number(
    reset: str, leaks: bool, wraps: bool, largest: int
) -> None:
    leak = (600, 70) if leaks and reset == "zero" else (4096, 0)
    values = draw_values(3, 9, 5, largest)
    bias = torch.arange(-1, 2).reshape(3, 1, 1) * 10.0
    neurons = NeuronParameters(bias, 300, reset, False, 2 * largest, *leak)
    whole = simulate_layer([looked_up(values)], neurons, 9)
    assert whole.counts is not None
    assert whole.counts.any()
    checks = DeferredChecks(frozenset({"conv1"} if wraps else ()))
    there = replace(
        neurons,
        threshold=torch.tensor(300.0, dtype=torch.float64),
        input_reach=torch.tensor(2.0 * largest, dtype=torch.float64),
        checks=checks,
        layer="conv1",
    )
    assert (there.whole_threshold, neurons.whole_threshold) == (300, 300)
    found = simulate_layer([looked_up(values)], there, 9)
    left = any(isinstance(state, ExactState) for state in whole.states)
    looked_at = not wraps and not there.leaks
    assert checks.failed() == (frozenset({"conv1"}) if looked_at and left else None)
    if not looked_at or not left:
        assert torch.equal(found.final_state(), whole.final_state())
        assert torch.equal(found.saturated(), whole.saturated())
        assert found.counts is not None
        assert torch.equal(found.counts, whole.counts)
        assert found.spikes is not None
        assert whole.spikes is not None
        assert torch.equal(found.spikes, whole.spikes)
