"""States of 16 bits: where a layer's fit, twice as many of them are computed at a time.

What a step adds to a membrane, synaptic input and bias, is known to be at most r in magnitude, and
a reset brings a membrane no farther from zero. So one that was seen to be at most 2^15 - 1 - r
is right in the next step as well, whatever comes in: as long as none was seen beyond, none was
wrong. What was is for ``tandem_hw.arithmetic.neurons`` to run again with more bits.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

#: Largest state of 16 bits.
_LARGEST: Final = (1 << 15) - 1


class ShortStates:
    """Whether the states of a layer fit in 16 bits, as far as was seen.

    Threads that run parts of a batch share one.
    """

    dtype: Final = torch.int16

    def __init__(self, step_reach: int, threshold: int) -> None:
        """Begin.

        Args:
            step_reach: largest magnitude of what a step adds to a membrane, in weight units.
            threshold: firing threshold in weight units, above 0.
        """
        self._room = _LARGEST - step_reach
        self._fit = step_reach <= _LARGEST and threshold <= _LARGEST

    @property
    def worth_trying(self) -> bool:
        """Whether nothing speaks against 16 bits: known reaches, or states that were seen."""
        return self._fit

    def hold(self, extremes: tuple[Tensor, Tensor]) -> bool:
        """Return whether states were right that were computed in 16 bits.

        Args:
            extremes: lowest and highest of all steps, int16 [].
        """
        low, high = extremes
        if max(-low.item(), high.item()) > self._room:
            self._fit = False  # so that others do not try in vain
            return False
        return True
