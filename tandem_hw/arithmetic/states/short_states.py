"""States of 16 bits: where a layer's fit, twice as many of them are computed at a time.

Where bounds are proven that leave less than 2^16 between them, an offset brings the states into 16
bits. Elsewhere it is tried. What a step adds to a membrane, synaptic input and bias, is at most r
in magnitude, and a reset brings a membrane no farther from zero. So behind one that is at most
2^15 - 1 - r the next one is right, whatever comes in, and so are all of a window if none was seen
beyond. Otherwise ``tandem_hw.arithmetic.neurons`` runs the window again with more bits.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

#: Largest state of 16 bits.
_LARGEST: Final = (1 << 15) - 1


class ShortStates:
    """Whether the states of a firing layer fit in 16 bits, as far as is known.

    Threads that run parts of a batch share one.

    Attributes:
        dtype: of the states.
        offset: what is added to each of them.
    """

    dtype: Final = torch.int16

    def __init__(
        self, input_reach: int, bias_reach: int, threshold: int, bounds: tuple[int, int]
    ) -> None:
        """Begin; all numbers are in weight units.

        Args:
            input_reach: largest magnitude that the synaptic input of a step can have.
            bias_reach: largest magnitude of a bias.
            threshold: firing threshold, above 0.
            bounds: lowest and highest state of a window, bias included, as far as is proven.
        """
        low, high = min(*bounds, 0), max(*bounds, 0)
        self.offset = 0 if max(-low, high) <= _LARGEST else -(low + high) // 2
        self._proven = low + self.offset >= -_LARGEST and high + self.offset <= _LARGEST
        if not self._proven:
            self.offset = 0
        self._room = _LARGEST - input_reach - bias_reach
        operands = (input_reach, bias_reach + abs(self.offset), threshold + abs(self.offset))
        self._fit = max(operands) <= _LARGEST and (self._proven or self._room >= 0)

    @property
    def worth_trying(self) -> bool:
        """Whether nothing speaks against 16 bits, neither the numbers nor a state that was seen."""
        return self._fit

    def hold(self, extremes: tuple[Tensor, Tensor]) -> bool:
        """Return whether states were right that were computed in 16 bits.

        Args:
            extremes: lowest and highest of all steps, without the offset.
        """
        low, high = extremes
        if self._proven or max(-low.item(), high.item()) <= self._room:
            return True
        self._fit = False  # so that others do not try in vain
        return False
