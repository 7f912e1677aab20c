"""The neurons' equations for states that do not leave 24 bits: all steps in one pass.

Without a wrap the bias can be part of the membrane m from the start, and every operation is one
pass over memory that a cache holds:

    subtract:  m = B + x[0];  m += x[t];      s[t] = m >= theta;  m -= theta s[t]
    zero:      m = B + x[0];  m += x[t] + B;  s[t] = m >= theta;  m -= m s[t]

Membranes have the data type of the bias: float32, or int16 where ``short_states`` tries that.
Whoever runs it has to see to it that no state leaves what that holds, or to look at the extremes
afterwards and run what went too far in another way, in the end by
``tandem_hw.arithmetic.exact_states``, which this is held against.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from tandem_hw.arithmetic.neuron_parameters import NeuronParameters
from tandem_hw.arithmetic.packed_spikes import SpikePacker
from tandem_hw.arithmetic.state_arithmetic import STATE_FRACTION, subtract_threshold_


@lru_cache(maxsize=256)
def _number(value: int, dtype: torch.dtype) -> Tensor:
    """Return a number as a tensor [], which is the faster one to compare with."""
    return torch.tensor(value, dtype=dtype)


def _as(taken: Tensor | None, values: Tensor) -> Tensor:
    """Return values in the data type of the tensor that takes them, if one does."""
    return values if taken is None else taken.copy_(values)


class FastState:
    """The membrane of some samples of one layer, without a wrap.

    Attributes:
        membrane: [batch, neurons] as the bias, bias and offset included; of a reset by subtraction
            as it was before the last step's spikes were subtracted.
        extremes: lowest and highest membrane of any step, where they were followed.
    """

    def __init__(
        self, neurons: NeuronParameters, bias: Tensor, follow_peak: bool, offset: int = 0
    ) -> None:
        """Begin.

        Args:
            neurons: the neurons.
            bias: theirs, in the data type of the membrane.
            follow_peak: follow the extremes.
            offset: what the membrane has more than the state, so that an integer holds it.
        """
        threshold = neurons.threshold
        if isinstance(threshold, Tensor):
            threshold = threshold.to(bias.dtype)
        self.threshold = threshold
        #: As a tensor, which is compared with at once; a number is wrapped anew in every step.
        self.least = threshold
        if isinstance(threshold, int):
            self.least = _number(threshold + offset, bias.dtype)
        self.offset = offset
        self.zero = neurons.resets_to_zero
        self.bias = bias
        self.follow_peak = follow_peak
        self.membrane: Tensor = bias
        self.extremes: tuple[Tensor, Tensor] | None = None

    def run(self, inputs: Sequence[Tensor | None], packer: SpikePacker | None) -> None:
        """Run a window.

        Args:
            inputs: synaptic input of every step, [batch, neurons], None for silence; the first one
                is not None.
            packer: takes the spikes; None for a readout.
        """
        first = inputs[0]
        assert first is not None  # a window starts with a synaptic input
        dtype = self.bias.dtype
        taken = None if first.dtype == dtype else torch.empty_like(first, dtype=dtype)
        self.membrane = membrane = torch.add(_as(taken, first), self.bias + self.offset)
        fired = torch.empty_like(membrane)
        lows, highs = [], []
        for index, synaptic_input in enumerate(inputs):
            if index > 0:
                if synaptic_input is not None:
                    membrane.add_(_as(taken, synaptic_input))
                if self.zero:
                    membrane.add_(self.bias)
            # A reset by subtraction alone brings no state farther from zero.
            if self.follow_peak and (self.zero or synaptic_input is not None):
                low, high = torch.aminmax(membrane)
                lows.append(low)
                highs.append(high)
            if packer is None or self.threshold is None or self.least is None:
                continue
            torch.ge(membrane, self.least, out=fired)
            packer.add(fired)
            if self.zero:
                membrane.addcmul_(membrane, fired, value=-1)
                if self.offset != 0:
                    membrane.add_(fired, alpha=self.offset)
            elif index + 1 < len(inputs):
                subtract_threshold_(membrane, fired, self.threshold)
        if lows:
            self._see(lows, highs)

    def _see(self, lows: list[Tensor], highs: list[Tensor]) -> None:
        low, high = lows[0], highs[0]
        if len(lows) > 1:
            low, high = torch.stack(lows).min(), torch.stack(highs).max()
        if self.offset != 0:  # the state itself may need more bits
            low, high = low.int() - self.offset, high.int() - self.offset
        self.extremes = low, high

    def potential(self) -> Tensor:
        """Return a readout's potential in weight units."""
        return self.membrane

    def final(self) -> Tensor:
        """Return Lava's state variable after the last step in units of 1/64 weight unit."""
        membrane = self.membrane.to(torch.float64) - self.offset
        return (membrane if self.zero else membrane - self.bias) * STATE_FRACTION

    def saturated(self) -> Tensor:
        """Return zeros, int64 [batch]: nothing left 24 bits."""
        return torch.zeros(len(self.membrane), dtype=torch.int64, device=self.membrane.device)
