"""What all forms have in common in which the spikes of a layer are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class StoredSpikes(ABC):
    """Spikes of every step of a window, in some form."""

    @property
    @abstractmethod
    def stored(self) -> Tensor:
        """What is kept of them, [batch, ..., neurons]."""

    @abstractmethod
    def samples_first(self, dtype: torch.dtype = torch.uint8) -> Tensor:
        """Return the spikes as numbers [batch, num_steps, *shape].

        Args:
            dtype: of the numbers, whole bytes or floating point.
        """

    @property
    def by_step(self) -> bool:
        """Whether every step has a signal of its own: yes."""
        return True

    @property
    def batch(self) -> int:
        """Number of samples."""
        return len(self.stored)

    @property
    def values(self) -> int:
        """Number of neurons of a sample."""
        return self.stored.shape[-1]

    @property
    def device(self) -> torch.device:
        """Where they are kept."""
        return self.stored.device

    @property
    def signal(self) -> Tensor:
        """Spikes in whole bytes, uint8 [num_steps, batch, *shape]."""
        return self.samples_first().transpose(0, 1)
