"""Layers that take in a whole window before they fire: counts in place of spikes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tandem_hw.arithmetic.deferred_checks import DeferredChecks
from tandem_hw.arithmetic.memory_order import MemoryOrder
from tandem_hw.arithmetic.neurons import (
    Incoming,
    NeuronParameters,
    SpikeTrain,
    simulate_layer,
)
from tandem_hw.arithmetic.spikes.counted_spikes import (
    CountedSpikes,
    count_spikes,
)
from tandem_hw.arithmetic.spikes.packed_spikes import PackedSpikes, bits_of_counts
from tandem_hw.arithmetic.states.exact_states import ExactState
from tandem_hw.network.fixed_point import STATE_LIMIT, VTH_MAX
from tests.helpers.counted_trains import by_steps, equal, incoming, trains_of

#: Beyond any state: neurons without registers may be asked for as well.
LARGEST = 64 * STATE_LIMIT


@settings(deadline=None, derandomize=True, max_examples=500)
@given(
    threshold=st.integers(1, VTH_MAX + 1),
    spikes=st.integers(-2, 300),
    beside=st.integers(-2, 2),
    num_steps=st.integers(1, 256),
)
def test_a_count_is_the_whole_number_below_the_quotient(
    threshold: int, spikes: int, beside: int, num_steps: int
) -> None:
    membrane = min(threshold * spikes + beside, LARGEST - 1)
    found = count_spikes(torch.tensor([[float(membrane)]]), threshold, num_steps)
    assert found.tolist() == [[min(max(membrane // threshold, 0), num_steps)]]
    of_tensor = count_spikes(
        torch.tensor([[float(membrane)]]), torch.tensor(float(threshold)), num_steps
    )
    assert torch.equal(found, of_tensor)


def test_no_quotient_beside_a_whole_number_is_rounded_to_it() -> None:
    thresholds = torch.arange(1, VTH_MAX + 2, dtype=torch.float64)
    for quotient in (1, 2, 3, 7, 8, 15, 63, 64, 255, 4096):
        membrane = quotient * thresholds - 1
        below = membrane < LARGEST
        found = (membrane[below].float() / thresholds[below].float()).int()
        assert below.any()
        assert torch.equal(found, torch.full_like(found, quotient - 1))


@pytest.mark.parametrize("num_steps", [1, 7, 9, 255, 300])
def test_spikes_come_one_after_the_other(num_steps: int) -> None:
    dtype = CountedSpikes.dtype_for(num_steps)
    counts = torch.randint(0, num_steps + 1, (4, 6), generator=torch.Generator().manual_seed(1))
    order = MemoryOrder.of(torch.empty(4, 3, 2))
    train = CountedSpikes(counts.to(dtype), num_steps, order)
    assert train.signal.shape == (num_steps, 4, 3, 2)
    assert torch.equal(train.signal.sum(0), counts.reshape(4, 3, 2))
    assert torch.equal(train.signal, train.signal.cummin(0).values)  # no spike behind a gap
    assert torch.equal(train.part(slice(1, 3)).signal, train.signal[:, 1:3])
    mask = torch.tensor([True, False]).expand(3, 2)
    assert torch.equal(train.kept(mask).signal, train.signal * mask)


@pytest.mark.parametrize("threshold", [700, None])
@pytest.mark.parametrize("num_steps", [2, 4, 7, 40])
@pytest.mark.parametrize("proven", [True, False])
def test_one_product_gives_what_the_products_of_the_steps_give(
    num_steps: int, threshold: int | None, proven: bool
) -> None:
    trains = trains_of(num_steps)
    reach = 100 if num_steps < 40 else 30  # so that no sum of magnitudes leaves 24 bits
    bias = torch.tensor([-900.0, -1, 0, 5, 900])
    neurons = NeuronParameters(bias, threshold, "subtract", proven, firing_delay=num_steps - 1)
    calls: list[int] = []

    def watched(one: Incoming) -> Incoming:
        def product(sent: Tensor) -> Tensor:
            calls.append(len(sent))
            return one.synapse(sent)

        return replace(one, synapse=product)

    counted = [watched(one) for one in incoming(trains, reach, magnitude=True)]
    found = simulate_layer(counted, neurons, num_steps)
    assert calls == [4, 4, 4]  # once for the four samples, whatever the number of steps
    expected = simulate_layer(
        incoming(by_steps(trains, num_steps), reach, magnitude=False), neurons, num_steps
    )
    equal(found, expected)
    result = found.potential if threshold is None else found.counts
    assert result is not None
    assert len(result.unique()) >= min(num_steps, 4)


@pytest.mark.parametrize("threshold", [131_072, None])
def test_parts_of_a_sum_that_leave_24_bits_are_taken_step_by_step(threshold: int | None) -> None:
    num_steps = 64
    trains = trains_of(num_steps)[:1]
    neurons = NeuronParameters(
        torch.zeros(5), threshold, "subtract", False, firing_delay=num_steps - 1
    )
    found = simulate_layer(incoming(trains, 800, magnitude=True), neurons, num_steps)
    plain = incoming(by_steps(trains, num_steps), 800, magnitude=False)
    equal(found, simulate_layer(plain, neurons, num_steps))
    assert found.saturated().any()
    checks = DeferredChecks()
    deferred = NeuronParameters(
        torch.zeros(5), threshold, "subtract", False, checks=checks, firing_delay=num_steps - 1
    )
    simulate_layer(incoming(trains, 800, magnitude=True), deferred, num_steps)
    assert checks.failed() is not None


class _Divisors(TorchDispatchMode):
    """Keeps what was divided by."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[Any] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any | None = None
    ) -> Any:
        if func.overloadpacket.__name__ == "div":
            self.found.append(args[1])
        return func(*args, **(kwargs or {}))


def test_a_device_divides_by_what_lies_there() -> None:
    # By a number of the CPU PyTorch multiplies with the inverse on CUDA, and rounds once more.
    with _Divisors() as divisors:
        count_spikes(torch.empty((3, 4), device="meta"), 300, 7)
    (divisor,) = divisors.found
    assert isinstance(divisor, Tensor)
    assert divisor.device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU on this machine")
@pytest.mark.parametrize("threshold", [1, 3, 49, 255, 300, 8191, 131_071])
@pytest.mark.parametrize("on_device", [False, True])
def test_a_gpu_counts_as_integers_do(threshold: int, on_device: bool) -> None:
    whole = torch.arange(-1, 64, device="cuda") * threshold
    sums = torch.stack([whole - 1, whole, whole + 1])
    sums = sums[:, whole < (1 << 23) - 1]
    expected = (sums // threshold).clamp(0, 60)
    number = torch.tensor(float(threshold), device="cuda") if on_device else threshold
    assert torch.equal(count_spikes(sums.float(), number, 60).long(), expected)


@pytest.mark.parametrize("num_steps", [1, 7, 8, 9, 300])
def test_bits_of_counts_are_those_of_spikes_one_after_the_other(num_steps: int) -> None:
    dtype = CountedSpikes.dtype_for(num_steps)
    counts = torch.randint(0, num_steps + 1, (4, 6), generator=torch.Generator().manual_seed(1))
    counts[0, :2] = torch.tensor([0, num_steps])
    order = MemoryOrder.of(torch.empty(4, 6))
    bits = bits_of_counts(counts.to(dtype), num_steps)
    packed = PackedSpikes(bits, num_steps, order)
    assert torch.equal(packed.signal, CountedSpikes(counts.to(dtype), num_steps, order).signal)


@pytest.mark.parametrize("deferred", [False, True])
def test_a_neuron_that_fires_behind_a_silent_step_is_not_kept_as_a_number(deferred: bool) -> None:
    # 1.9 spans of one step are wrapped once at once and once more a step later.
    span = 2.0 * STATE_LIMIT
    sums = torch.tensor([[900.0, -1.9 * span], [-5.0, 800.0]])
    checks = DeferredChecks(frozenset({"layer"})) if deferred else None
    neurons = NeuronParameters(torch.zeros(2), 300, "subtract", False, checks=checks, layer="layer")
    train = SpikeTrain(torch.zeros(2, 1, dtype=torch.uint8), range(1))
    activity = simulate_layer([Incoming(train, lambda _: sums)], neurons, 4)
    state = ExactState(neurons, torch.zeros(2), False)
    expected = []
    for step in range(4):
        fired = state.step(sums if step == 0 else None)
        assert fired is not None
        expected.append(fired.clone())
    assert activity.spikes is not None
    assert torch.equal(activity.spikes.double(), torch.stack(expected))
    late = activity.spikes[:, 0, 1].tolist()
    assert 1 in late
    assert late != sorted(late, reverse=True), late
    assert torch.equal(activity.final_state(), state.final())


@pytest.mark.parametrize("num_steps", [1, 5, 8, 19, 300])
@pytest.mark.parametrize("last", [False, True])
def test_spikes_are_the_same_numbers_in_floating_point(num_steps: int, last: bool) -> None:
    order = MemoryOrder((3, 2, 2), last)
    random = torch.Generator().manual_seed(num_steps)
    dtype = CountedSpikes.dtype_for(num_steps)
    counts = torch.randint(0, num_steps + 1, (4, 12), generator=random).to(dtype)
    bits = torch.randint(0, 256, (4, -(-num_steps // 8), 12), generator=random).to(torch.uint8)
    trains = (CountedSpikes(counts, num_steps, order), PackedSpikes(bits, num_steps, order))
    for train in (*trains, SpikeTrain(trains[1].signal)):
        whole, real = train.samples_first(), train.samples_first(torch.float32)
        assert (whole.dtype, real.dtype) == (torch.uint8, torch.float32)
        assert whole.any()
        assert not whole.all()
        assert torch.equal(whole.float(), real)
        assert whole.stride() == real.stride()
