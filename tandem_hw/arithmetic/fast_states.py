"""The neurons' equations in float32, for states that do not leave 24 bits: all steps in one pass.

Without a wrap the bias can be part of the membrane m from the start, and every operation is one
pass over memory that a cache holds:

    subtract:  m = B + x[0];  m += x[t];      s[t] = m >= theta;  m -= theta s[t]
    zero:      m = B + x[0];  m += x[t] + B;  s[t] = m >= theta;  m -= m s[t]

Whoever runs it has to see to it that no state leaves 24 bits, or to look at the extremes afterwards
and run what went too far by ``tandem_hw.arithmetic.exact_states``, which this is held against.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tandem_hw.arithmetic.neuron_parameters import NeuronParameters
from tandem_hw.arithmetic.packed_spikes import SpikePacker
from tandem_hw.arithmetic.state_arithmetic import STATE_FRACTION, subtract_threshold_


class FastState:
    """The membrane of some samples of one layer, without a wrap.

    Attributes:
        membrane: float32 [batch, neurons], bias included; of a reset by subtraction as it was
            before the last step's spikes were subtracted.
        extremes: lowest and highest membrane of any step, where they were followed.
    """

    def __init__(self, neurons: NeuronParameters, bias: Tensor, follow_peak: bool) -> None:
        threshold = neurons.threshold
        if isinstance(threshold, Tensor):
            threshold = threshold.to(bias.dtype)
        self.threshold = threshold
        self.zero = neurons.resets_to_zero
        self.firing_delay = neurons.firing_delay
        self.bias = bias
        self.follow_peak = follow_peak
        self.membrane: Tensor = bias
        self.extremes: tuple[Tensor, Tensor] | None = None

    def run(self, inputs: Sequence[Tensor | None], packer: SpikePacker | None) -> None:
        """Run a window.

        Args:
            inputs: synaptic input of every step, [batch, neurons], None for silence; the first one
                is not None. Nothing comes in in the steps of a firing delay behind them.
            packer: takes the spikes; None for a readout.
        """
        first = inputs[0]
        assert first is not None  # a window starts with a synaptic input
        self.membrane = membrane = torch.add(first, self.bias)
        fired = torch.empty_like(membrane)
        lows, highs = [], []
        last = len(inputs) + self.firing_delay - 1
        for index in range(last + 1):
            synaptic_input = inputs[index] if index < len(inputs) else None
            if index > 0:
                if synaptic_input is not None:
                    membrane.add_(synaptic_input)
                if self.zero:
                    membrane.add_(self.bias)
            if self.follow_peak:
                low, high = torch.aminmax(membrane)
                lows.append(low)
                highs.append(high)
            if packer is None or self.threshold is None or index < self.firing_delay:
                continue
            torch.ge(membrane, self.threshold, out=fired)  # type: ignore[call-overload]
            packer.add(fired)
            if self.zero:
                membrane.addcmul_(membrane, fired, value=-1)
            elif index < last:
                subtract_threshold_(membrane, fired, self.threshold)
        if lows:
            self.extremes = torch.stack(lows).min(), torch.stack(highs).max()

    def potential(self) -> Tensor:
        """Return a readout's potential in weight units."""
        return self.membrane

    def final(self) -> Tensor:
        """Return Lava's state variable after the last step in units of 1/64 weight unit."""
        membrane = self.membrane.to(torch.float64)
        return (membrane if self.zero else membrane - self.bias) * STATE_FRACTION

    def saturated(self) -> Tensor:
        """Return zeros, int64 [batch]: nothing left 24 bits."""
        return torch.zeros(len(self.membrane), dtype=torch.int64, device=self.membrane.device)
