"""The neurons' equations for states that do not leave 24 bits: all steps in one pass.

Without a wrap the bias can be part of the membrane m from the start, and every operation is one
pass over memory that a cache holds:

    subtract:  m = B + x[0];  m += x[t];      s[t] = m >= theta;  m -= theta s[t]
    zero:      m = B + x[0];  m += x[t] + B;  s[t] = m >= theta;  m -= m s[t]

Membranes have the data type of the bias: float32, or int16 where ``short_states`` tries that.
Whoever runs it has to see to it that no state leaves what that holds, or to look at the extremes
afterwards and run what went too far in another way, in the end by
``tandem_hw.arithmetic.states.exact_states``, which this is held against.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from tandem_hw.arithmetic.neuron_parameters import NeuronParameters
from tandem_hw.arithmetic.spikes.counted_spikes import count_spikes
from tandem_hw.arithmetic.spikes.packed_spikes import SpikePacker
from tandem_hw.arithmetic.states.state_arithmetic import STATE_FRACTION, subtract_threshold_


@lru_cache(maxsize=256)
def _number(value: int, dtype: torch.dtype) -> Tensor:
    """Return a number as a tensor [], which is the faster one to compare with."""
    return torch.tensor(value, dtype=dtype)


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
            offset: what the membrane has more than the state, so that an integer holds it; only
                where neurons fire step by step.
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
        self.firing_delay = neurons.firing_delay
        self.bias = bias
        self.follow_peak = follow_peak
        self.membrane: Tensor = bias
        self.extremes: tuple[Tensor, Tensor] | None = None
        self._taken: Tensor | None = None
        #: Whether what a step brings has the bias in it.
        self._biased = False
        self._seen: list[tuple[Tensor, Tensor]] = []
        #: Length of the window of neurons whose spikes ``final`` has still to take off, or 0.
        self._to_subtract = 0

    def run(self, inputs: Sequence[Tensor | None], packer: SpikePacker | None) -> None:
        """Run a window.

        Args:
            inputs: synaptic input of every step, [batch, neurons], None for silence; the first one
                is not None.
            packer: takes the spikes; None for a readout.
        """
        inputs = self._brought(inputs)
        first = inputs[0]
        assert first is not None  # a window starts with a synaptic input
        start = self.offset if self._biased else self.bias + self.offset
        self.membrane = torch.add(self._taken_in(first), start)
        if packer is None or self.threshold is None:
            for index, synaptic_input in enumerate(inputs):
                self._integrate(index, synaptic_input)
        else:
            self._run_firing(inputs, packer, self.threshold)
        if len(self._seen) > 1:
            lows, highs = zip(*self._seen, strict=True)
            self.extremes = torch.stack(lows).min(), torch.stack(highs).max()
        elif self._seen:
            (self.extremes,) = self._seen
        if self.extremes is not None and self.offset != 0:  # the state itself may need more bits
            low, high = self.extremes
            self.extremes = low.int() - self.offset, high.int() - self.offset

    def _brought(self, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        """Return what each step brings, made ready once where every step brings the same image.

        Integers that wrap, and floats that are exact, do not care in which order a membrane, a
        synaptic input and a bias are added up.
        """
        first = inputs[0]
        assert first is not None  # a window starts with a synaptic input
        dtype = self.bias.dtype
        if len(inputs) > 1 and all(one is first for one in inputs):
            brought = first.to(dtype)
            if self.zero and not self.firing_delay:  # which adds it in steps that bring nothing
                brought, self._biased = brought + self.bias, True
            return [brought] * len(inputs)
        if first.dtype != dtype:
            self._taken = torch.empty_like(first, dtype=dtype)
        return inputs

    def count(self, inputs: Sequence[Tensor | None]) -> Tensor:
        """Run a window that is taken in before the first spike; return the counts.

        Args:
            inputs: as for ``run``.

        Returns:
            int16 [batch, neurons].
        """
        self.run(inputs, None)
        return self.counted(len(inputs))

    def counted(self, num_steps: int) -> Tensor:
        """Return the counts of a window that was taken in, int16 [batch, neurons].

        Args:
            num_steps: its length T.
        """
        assert self.threshold is not None  # they fire
        self._to_subtract = num_steps
        return count_spikes(self.membrane, self.threshold, num_steps)

    def _run_firing(
        self, inputs: Sequence[Tensor | None], packer: SpikePacker, threshold: int | Tensor
    ) -> None:
        membrane, least = self.membrane, self.least
        assert least is not None  # they fire
        fired = torch.empty_like(membrane)
        last = len(inputs) + self.firing_delay - 1
        for index in range(last + 1):
            self._integrate(index, inputs[index] if index < len(inputs) else None)
            if index < self.firing_delay:
                continue
            torch.ge(membrane, least, out=fired)
            packer.add(fired)
            if self.zero:
                membrane.addcmul_(membrane, fired, value=-1)
                if self.offset != 0:
                    membrane.add_(fired, alpha=self.offset)
            elif index < last:
                subtract_threshold_(membrane, fired, threshold)

    def _integrate(self, index: int, synaptic_input: Tensor | None) -> None:
        """Add what comes in in a step; in the first one it is there."""
        membrane = self.membrane
        if index > 0:
            if synaptic_input is not None:
                membrane.add_(self._taken_in(synaptic_input))
            if self.zero and not self._biased:
                membrane.add_(self.bias)
        # A reset by subtraction alone brings no state farther from zero.
        if self.follow_peak and (self.zero or synaptic_input is not None):
            self._seen.append(torch.aminmax(membrane))

    def _taken_in(self, synaptic_input: Tensor) -> Tensor:
        """Return a synaptic input in the membrane's dtype, in memory that the next one takes."""
        return synaptic_input if self._taken is None else self._taken.copy_(synaptic_input)

    def potential(self) -> Tensor:
        """Return a readout's potential in weight units."""
        return self.membrane

    def final(self) -> Tensor:
        """Return Lava's state variable after the last step in units of 1/64 weight unit."""
        membrane = self.membrane.to(torch.float64) - self.offset
        if self._to_subtract:  # all but a spike of the last step, which Lava subtracts later
            counts = self.counted(self._to_subtract).clamp_(max=self._to_subtract - 1)
            assert self.threshold is not None  # they fire
            membrane = membrane - counts.to(torch.float64) * self.threshold
        return (membrane if self.zero else membrane - self.bias) * STATE_FRACTION

    def saturated(self) -> Tensor:
        """Return zeros, int64 [batch]: nothing left 24 bits."""
        return torch.zeros(len(self.membrane), dtype=torch.int64, device=self.membrane.device)
