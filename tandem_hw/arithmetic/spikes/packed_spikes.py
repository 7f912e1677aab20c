"""The spikes of a layer over a window in a bit each, from where they arise to where they go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import torch
from torch import Tensor

from tandem_hw.arithmetic.memory_order import MemoryOrder
from tandem_hw.arithmetic.spikes.stored_spikes import StoredSpikes

#: Steps in a byte.
_BITS: Final = 8


@cache
def _masks(device: torch.device) -> Tensor:
    """Return the bits of a byte, uint8 [8, 1]; kept, for a copy to a GPU waits for it."""
    masks: Tensor = (1 << torch.arange(_BITS)).to(torch.uint8)[:, None].to(device)
    return masks


@dataclass(frozen=True)
class PackedSpikes(StoredSpikes):
    """What a layer sends over a window; ``trains.SpikeTrain`` is the same of whole bytes.

    Attributes:
        bits: uint8 [batch, ceil(num_steps / 8), neurons]; bit i of byte g is the spike of step
            8 g + i, the neurons lie as ``order`` says.
        num_steps: length T of the window.
        order: how the neurons lie in memory.
        sent: None, since every step has spikes of its own.
    """

    bits: Tensor
    num_steps: int
    order: MemoryOrder
    sent: None = None

    @property
    def stored(self) -> Tensor:
        """The bits."""
        return self.bits

    def samples_first(self, dtype: torch.dtype = torch.uint8) -> Tensor:
        """Return the spikes as numbers [batch, num_steps, *shape]."""
        batch, groups, neurons = self.bits.shape
        spikes = self.bits.new_empty((batch, self.num_steps, neurons))
        masks = _masks(self.bits.device)
        for group in range(groups):  # the steps of a byte at once
            steps = spikes[:, _BITS * group : _BITS * (group + 1)]
            torch.bitwise_and(self.bits[:, group, None], masks[: steps.shape[1]], out=steps)
        if dtype == spikes.dtype:
            return self.order.image(spikes.clamp_max_(1))
        numbers = torch.empty_like(spikes, dtype=dtype)
        return self.order.image(torch.gt(spikes, 0, out=numbers))

    def part(self, samples: slice) -> PackedSpikes:
        """Return what some of the samples send."""
        return replace(self, bits=self.bits[samples])

    def kept(self, mask: Tensor) -> PackedSpikes:
        """Return the spikes of some neurons alone.

        Args:
            mask: bool, broadcastable over [batch, *shape].
        """
        whole = mask.expand(self.batch, *self.order.shape)
        return replace(self, bits=self.bits * self.order.flat(whole).unsqueeze(1))


def bits_of_counts(counts: Tensor, num_steps: int) -> Tensor:
    """Return the bits of spikes that follow each other from the first step on.

    Args:
        counts: whole numbers [batch, neurons], from 0 to T.
        num_steps: length T of the window.

    Returns:
        uint8 [batch, ceil(T / 8), neurons], as ``PackedSpikes`` has them.
    """
    groups = []
    for first in range(0, num_steps, _BITS):
        within = (counts.to(torch.int16) - first).clamp_(0, _BITS)
        groups.append(torch.ones_like(within).bitwise_left_shift_(within).sub_(1).to(torch.uint8))
    return torch.stack(groups, dim=1)


class SpikePacker:
    """Takes the spikes of some samples step by step, counts them and packs them into bits.

    A sum does both: the spike of step i of eight adds 2^i, which is its bit, and 2^8, which counts
    it.

    Attributes:
        counts: int16 [batch, neurons] behind the last step.
    """

    counts: Tensor

    def __init__(self, num_steps: int, bits: Tensor | None) -> None:
        """Start before the first step.

        Args:
            num_steps: length T of the window, up to 4096.
            bits: uint8 [batch, ceil(num_steps / 8), neurons], written; None to count alone.
        """
        self._num_steps = num_steps
        self._bits = bits
        self._index = 0
        self._sum: Tensor | None = None

    @staticmethod
    def bytes_for(num_steps: int) -> int:
        """Return how many bytes the spikes of a neuron take."""
        return -(-num_steps // _BITS)

    def add(self, fired: Tensor) -> None:
        """Take the spikes of the next step.

        Args:
            fired: zeros and ones [batch, neurons], in floating point or 16 bits.
        """
        group, bit = divmod(self._index, _BITS)
        value = (1 << bit) + (1 << _BITS)
        if self._sum is None:
            self._sum = torch.empty_like(fired)
        if bit == 0:
            torch.mul(fired, value, out=self._sum)
        else:
            self._sum.add_(fired, alpha=value)
        self._index += 1
        if bit == _BITS - 1 or self._index == self._num_steps:
            self._close(group)

    def _close(self, group: int) -> None:
        """Take the bits and the counts of up to eight steps out of their sum."""
        assert self._sum is not None  # a step was taken
        whole, self._sum = self._sum.to(torch.int16), None
        if self._bits is not None:
            self._bits[:, group].copy_(whole)  # the lowest 8 bits
        counts = whole.bitwise_right_shift_(_BITS)
        self.counts = counts if group == 0 else self.counts.add_(counts)
