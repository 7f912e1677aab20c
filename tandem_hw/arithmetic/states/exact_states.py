"""The neurons' equations as Lava computes them, wrap and clip included: one step after another.

This is the definition that every faster way is held against (``tandem_hw.arithmetic.neurons`` has
the equations). States are whole numbers in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from tandem_hw.arithmetic.neuron_parameters import NeuronParameters
from tandem_hw.arithmetic.spikes.packed_spikes import SpikePacker
from tandem_hw.arithmetic.states.state_arithmetic import (
    STATE_FRACTION,
    changed_by,
    clip_voltage_,
    decay_,
    subtract_threshold_,
    wrap_and_clip_voltage_,
    wrap_current_,
)
from tandem_hw.network.fixed_point import STATE_LIMIT, VOLTAGE_LIMIT


class ExactState:
    """The membrane of one layer while a window passes: Lava's own variable.

    That is the current u for a reset by subtraction and a readout, and the voltage v in units of
    1/64 weight unit for a reset to zero (a clipped voltage is no whole number of weight units).
    """

    def __init__(self, neurons: NeuronParameters, bias: Tensor, follow_peak: bool) -> None:
        self.neurons = neurons
        self.zero = neurons.resets_to_zero
        self.bias = bias.to(torch.float64)
        self.membrane: Tensor | None = None
        self.fired: Tensor | None = None
        self.follow_peak = follow_peak
        self.extremes: tuple[Tensor, Tensor] | None = None
        self.left: Tensor | None = None  # how often each neuron's state left 24 bits
        self.left_last: Tensor | None = None  # and whether it did in the last step

    def run(self, inputs: Sequence[Tensor | None], packer: SpikePacker | None) -> None:
        """Run a window; as ``FastState.run``."""
        delay = self.neurons.firing_delay
        for index in range(len(inputs) + delay):
            synaptic_input = inputs[index] if index < len(inputs) else None
            fired = self.step(synaptic_input, silent=index < delay)
            if fired is not None and packer is not None:
                packer.add(fired)

    def step(self, synaptic_input: Tensor | None, *, silent: bool = False) -> Tensor | None:
        """Integrate one step; return the spikes in a floating-point tensor that is used again.

        Args:
            synaptic_input: float [batch, neurons], None where nothing comes in.
            silent: whether the neurons wait in this step, whatever their state; they return None.
        """
        if self.membrane is None:
            if synaptic_input is None:
                raise ValueError("a window starts with a synaptic input")
            self.membrane = torch.zeros_like(synaptic_input, dtype=torch.float64)
        if self.zero:
            self._integrate_voltage(synaptic_input)
        else:
            self._integrate_current(synaptic_input)
        if silent or self.neurons.threshold is None:
            return None
        return self._fire(self.neurons.threshold)

    def _integrate_current(self, synaptic_input: Tensor | None) -> None:
        membrane = self._membrane
        if synaptic_input is not None:
            membrane += synaptic_input
        self._count(changed_by(wrap_current_, membrane))
        self._see(membrane + self.bias)

    def _integrate_voltage(self, synaptic_input: Tensor | None) -> None:
        membrane = self._membrane
        wrapped: Tensor | bool = False
        if synaptic_input is not None:
            current = synaptic_input.to(torch.float64, copy=True)
            wrapped = changed_by(wrap_current_, current)
            membrane += current * STATE_FRACTION
        membrane += self.bias * STATE_FRACTION
        self._count(changed_by(clip_voltage_, membrane) | wrapped)
        self._see(membrane / STATE_FRACTION)

    def _fire(self, threshold: int | Tensor) -> Tensor:
        membrane = self._membrane
        if self.fired is None:
            self.fired = torch.empty_like(membrane)
        fired = self.fired
        if self.zero:
            # Lava fires above (threshold - 1) * 64, in units that a clipped voltage is exact in.
            torch.gt(membrane, (threshold - 1) * STATE_FRACTION, out=fired)
            membrane.addcmul_(membrane, fired, value=-1)
        else:
            torch.ge(membrane + self.bias, threshold, out=fired)
            # Lava subtracts one step later; nothing looks at the state of a firing layer between.
            subtract_threshold_(membrane, fired, threshold)
        return fired

    def potential(self) -> Tensor:
        """Return a readout's potential in weight units, as ``v >> 6`` of Lava's clipped voltage."""
        return (self._membrane + self.bias).clamp_(-STATE_LIMIT, STATE_LIMIT - 1)

    def final(self) -> Tensor:
        """Return Lava's state variable after the last step in units of 1/64 weight unit."""
        membrane = self._membrane
        if self.zero:
            return membrane
        if self.fired is not None:
            assert self.neurons.threshold is not None  # it fired
            membrane = membrane + self.fired * self.neurons.threshold
        return membrane * STATE_FRACTION

    def saturated(self) -> Tensor:
        """Count the values of each sample that left 24 bits, int64 [batch]."""
        membrane, left = self._membrane, self.left
        if self.neurons.threshold is None:
            clipped = ((membrane + self.bias) * STATE_FRACTION).abs() > VOLTAGE_LIMIT
            assert left is not None  # every step counts
            assert self.left_last is not None
            left = left + (clipped & ~self.left_last)
        if left is None:
            return torch.zeros(len(membrane), dtype=torch.int64, device=membrane.device)
        return left.flatten(1).sum(dim=1)

    def _count(self, left: Tensor) -> None:
        """Count the neurons whose state has left 24 bits in this step."""
        if self.left is None:
            self.left = torch.zeros_like(left, dtype=torch.int64)
        self.left += left
        self.left_last = left

    @property
    def _membrane(self) -> Tensor:
        assert self.membrane is not None  # step() made it
        return self.membrane

    def _see(self, state: Tensor) -> None:
        if not self.follow_peak:
            return
        low, high = torch.aminmax(state)  # stays on the device: a GPU need not wait every step
        if self.extremes is not None:
            low, high = torch.minimum(low, self.extremes[0]), torch.maximum(high, self.extremes[1])
        self.extremes = low, high


class ExactLeakyState(ExactState):
    """Current and voltage of a layer that leaks, both in units of 1/64 weight unit."""

    current: Tensor | None = None

    def _integrate_voltage(self, synaptic_input: Tensor | None) -> None:
        neurons, voltage = self.neurons, self._membrane
        if self.current is None:
            self.current = torch.zeros_like(voltage)
        current = decay_(self.current, neurons.current_decay)
        if synaptic_input is not None:
            current.add_(synaptic_input, alpha=STATE_FRACTION)
        decay_(voltage, neurons.voltage_decay)
        if neurons.proven:
            voltage.add_(current).add_(self.bias, alpha=STATE_FRACTION)
        else:
            wrapped = changed_by(partial(wrap_current_, unit=STATE_FRACTION), current)
            voltage.add_(current).add_(self.bias, alpha=STATE_FRACTION)
            self._count(changed_by(wrap_and_clip_voltage_, voltage) | wrapped)
        if self.follow_peak:
            self._see(current / STATE_FRACTION)
            self._see(voltage / STATE_FRACTION)
