"""Spikes that follow each other without a gap, as no more than their number.

A neuron that resets by subtraction, and has taken in all of a window before it may fire, fires in
the first c of its T steps:

    c = clip(floor(m / theta), 0, T)        m: the whole sum, with the bias
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from tandem_hw.arithmetic.memory_order import MemoryOrder
from tandem_hw.arithmetic.spikes.stored_spikes import StoredSpikes

#: The largest count that a byte holds.
_LARGEST_BYTE: Final = 255


@dataclass(frozen=True)
class CountedSpikes(StoredSpikes):
    """What a layer sends whose neurons fire in their first steps alone.

    Attributes:
        counts: [batch, neurons] in ``dtype_for(num_steps)``; the neurons lie as ``order`` says.
        num_steps: length T of the window.
        order: how the neurons lie in memory.
        sent: None, since every step has spikes of its own.
    """

    counts: Tensor
    num_steps: int
    order: MemoryOrder
    sent: None = None

    @staticmethod
    def dtype_for(num_steps: int) -> torch.dtype:
        """Return the smallest integers that hold a window's counts."""
        return torch.uint8 if num_steps <= _LARGEST_BYTE else torch.int16

    @property
    def stored(self) -> Tensor:
        """The counts."""
        return self.counts

    @property
    def image(self) -> Tensor:
        """The counts [batch, *shape]."""
        return self.order.image(self.counts)

    def samples_first(self, dtype: torch.dtype = torch.uint8) -> Tensor:
        """Return the spikes as numbers [batch, num_steps, *shape]."""
        counts = self.counts
        steps = torch.arange(self.num_steps, dtype=counts.dtype, device=counts.device)[:, None]
        # All steps at once. On a CPU into integers of the same size: bool takes thirty times as
        # long.
        at_once = counts.dtype if dtype == torch.uint8 else dtype
        spikes = counts.new_empty((len(counts), self.num_steps, counts.shape[1]), dtype=at_once)
        torch.gt(counts[:, None], steps, out=spikes)
        return self.order.image(spikes.to(dtype))

    def part(self, samples: slice) -> CountedSpikes:
        """Return what some of the samples send."""
        return replace(self, counts=self.counts[samples])

    def kept(self, mask: Tensor) -> CountedSpikes:
        """Return the spikes of some neurons alone.

        Args:
            mask: bool, broadcastable over [batch, *shape].
        """
        whole = mask.expand(self.batch, *self.order.shape)
        return replace(self, counts=self.counts * self.order.flat(whole))


def count_spikes(membrane: Tensor, threshold: int | Tensor, num_steps: int) -> Tensor:
    """Return how often neurons fire that have taken in everything.

    A quotient that is not whole lies at least 1 / threshold below the next whole number, which is
    more than half of float32's last bit as long as the membrane is below 2^23; so it is never
    rounded up to that number.

    Args:
        membrane: whole numbers [batch, neurons], the sum and the bias, below 2^23 in magnitude.
        threshold: a whole number from 1 to 2^17, or a tensor [] of it.
        num_steps: length T of the window.

    Returns:
        int16 [batch, neurons], from 0 to T.
    """
    whole = membrane.to(torch.float32)
    if not isinstance(threshold, Tensor):
        # By a number of Python a GPU does not divide: PyTorch takes the product with its inverse.
        threshold = torch.full((), threshold, dtype=whole.dtype, device=whole.device)
    return torch.div(whole, threshold).clamp_(0, num_steps).to(torch.int16)
