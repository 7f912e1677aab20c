"""Trains of counts and images, and the same step by step, for neurons that take in all first."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tandem_hw.arithmetic.memory_order import MemoryOrder
from tandem_hw.arithmetic.neurons import Incoming, LayerActivity, SpikeTrain
from tandem_hw.arithmetic.spikes.counted_spikes import CountedSpikes


def dense(weight: Tensor) -> Any:
    return lambda signal: signal.flatten(1).float() @ weight.T


def incoming(trains: list[Any], reach: int, *, magnitude: bool) -> list[Incoming]:
    random = torch.Generator().manual_seed(5)
    made = []
    for train in trains:
        weight = 2.0 * torch.randint(-reach, reach + 1, (5, 6), generator=random)
        made.append(Incoming(train, dense(weight), dense(weight.abs()) if magnitude else None))
    return made


def trains_of(num_steps: int) -> list[Any]:
    random = torch.Generator().manual_seed(num_steps)
    counts = torch.randint(0, num_steps + 1, (4, 6), generator=random).to(torch.uint8)
    images = torch.randint(0, 8, (2, 4, 6), generator=random).to(torch.uint8)
    return [
        CountedSpikes(counts, num_steps, MemoryOrder.of(torch.empty(4, 6))),
        SpikeTrain(images[0], range(1)),
        SpikeTrain(images[1], range(num_steps)),
    ]


def by_steps(trains: list[Any], num_steps: int) -> list[Any]:
    """Return trains that have a signal of their own in every step, which no product can join."""
    made = []
    for train in trains:
        if isinstance(train, CountedSpikes):
            made.append(SpikeTrain(train.signal))
        else:
            steps = [train.signal * (step in train.sent) for step in range(num_steps)]
            made.append(SpikeTrain(torch.stack(steps)))
    return made


def equal(one: LayerActivity, other: LayerActivity) -> None:
    for name in ("counts", "potential", "spikes"):
        found, expected = getattr(one, name), getattr(other, name)
        assert (found is None) == (expected is None)
        assert found is None or torch.equal(found, expected)
    assert torch.equal(one.final_state(), other.final_state())
    assert torch.equal(one.saturated(), other.saturated())
