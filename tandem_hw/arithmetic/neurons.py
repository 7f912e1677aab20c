"""The integrate-and-fire neuron over a window, written once for training and simulation.

With weights W, threshold theta, bias B and incoming spikes s_in, in weight units:

    reset "subtract":  u[t] = u[t-1] + W s_in[t] - theta s[t-1];   s[t] = 1 if u[t] + B >= theta
    reset "zero":      v[t] = v[t-1] (1 - s[t-1]) + W s_in[t] + B;  s[t] = 1 if v[t] >= theta
    readout:           u[t] = u[t-1] + W s_in[t];                   potential u[T] + B
    leaky "zero":      u[t] = keep(u[t-1], current_decay) + W s_in[t]
                       v[t] = keep(v[t-1] (1 - s[t-1]), voltage_decay) + u[t] + B

keep(x, d) is x (4096 - d) / 4096 rounded toward zero, in units of 1/64 weight unit.

These are Lava's own neurons (``lava/proc/lif/models.py``, ``PyLifResetModelBitAcc``), "zero" with
du=current_decay-1 and dv=voltage_decay, 4095 and 0 where nothing leaks, the others with du=-1 and
dv=4096: see docs/arithmetic.md. Where a state may leave
24 bits, Lava's wrap of the current and its clip of the voltage are followed bit for bit.

Tensors hold integers in floating point. Where ``tandem_hw.network.bounds`` proves that no state
leaves 24 bits, float32 is exact and nothing wraps. Where it does not, float32 is tried and every
state looked at; should one come too near the limit, the window is run again in float64 with wrap
and clip. Leaky layers always run in float64: the product of a state and a decay needs 36 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from tandem_hw.arithmetic.exact_sums import exact_arithmetic
from tandem_hw.arithmetic.state_arithmetic import (
    STATE_FRACTION,
    changed_by,
    clip_voltage_,
    decay_,
    wrap_and_clip_voltage_,
    wrap_current_,
)
from tandem_hw.network.fixed_point import (
    ACCUMULATOR_LIMIT,
    DECAY_UNITY,
    STATE_LIMIT,
    VOLTAGE_LIMIT,
)
from tandem_hw.network.input_spec import InputSpec

#: From a step's incoming spikes to its synaptic input, in weight units.
Synapse = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class SpikeTrain:
    """What a layer sends over a window.

    Attributes:
        signal: uint8; spikes or input events [num_steps, batch, *shape], or input images
            [batch, *shape].
        sent: the steps in which images are sent, all alike; None for what is given step by step.
    """

    signal: Tensor
    sent: range | None = None

    @classmethod
    def of_input(cls, inputs: Tensor, spec: InputSpec, num_steps: int) -> SpikeTrain:
        """Return what a network's inputs send.

        Args:
            inputs: uint8 [batch, *spec.sample_shape(num_steps)].
            spec: how they are sent.
            num_steps: length T of the window.
        """
        if spec.takes_events:
            return cls(inputs.transpose(0, 1))
        return cls(inputs, spec.sent_steps(num_steps))


@dataclass(frozen=True)
class Incoming:
    """What comes in through some of a layer's synapses.

    Attributes:
        train: what their source sends.
        synapse: from a float32 signal [batch, *in_shape] to synaptic inputs [batch, *shape],
            integers in weight units.
    """

    train: SpikeTrain
    synapse: Synapse

    def synaptic_inputs(self, num_steps: int) -> Iterator[Tensor | None]:
        """Yield the synaptic input of every step, or None for silence known in advance.

        An image passes the synapse once. A window's first step is a tensor in any case: it says how
        many neurons there are.
        """
        signal, sent = self.train.signal, self.train.sent
        if sent is None:
            for index in range(num_steps):
                yield self.synapse(signal[index].to(torch.float32))
            return
        constant = self.synapse(signal.to(torch.float32))
        for index in range(num_steps):
            if index in sent:
                yield constant
            else:
                yield None if index else torch.zeros_like(constant)


def _summed(incoming: Sequence[Incoming], num_steps: int) -> Iterator[Tensor | None]:
    """Yield the synaptic input of every step, all synapses together."""
    for parts in zip(*(one.synaptic_inputs(num_steps) for one in incoming), strict=True):
        total: Tensor | None = None
        for part in parts:
            if part is not None:
                total = part if total is None else total + part
        yield total


@dataclass(frozen=True)
class NeuronParameters:
    """What the neurons of one layer share.

    Attributes:
        bias: bias in weight units, broadcastable over [batch, *shape].
        threshold: firing threshold in weight units, or None for a readout.
        reset: "subtract" or "zero".
        proven: whether no reachable state leaves 24 bits.
        input_reach: largest magnitude that the synaptic input of one step can have.
        current_decay: what the current loses a step, in 1/4096; only a firing layer that resets to
            zero may have another one than 4096.
        voltage_decay: what the voltage loses a step, in 1/4096, 0 elsewhere as above.
    """

    bias: Tensor
    threshold: int | None
    reset: str
    proven: bool
    input_reach: int = ACCUMULATOR_LIMIT
    current_decay: int = DECAY_UNITY
    voltage_decay: int = 0

    @property
    def leaks(self) -> bool:
        """Whether the current is kept for more than a step, or the voltage leaks."""
        return (self.current_decay, self.voltage_decay) != (DECAY_UNITY, 0)


@dataclass(frozen=True)
class LayerActivity:
    """What one layer did over a window.

    Attributes:
        spikes: uint8 [num_steps, batch, *shape], or None for a readout or where not kept.
        counts: float32 [batch, *shape], spikes of each neuron, or None for a readout.
        potential: [batch, *shape] potential at the window's end in weight units (readout only).
        peak: largest magnitude of a state in weight units, or None where it was not followed.
        state: the membranes as the window left them.
    """

    spikes: Tensor | None
    counts: Tensor | None
    potential: Tensor | None
    peak: int | None
    state: _State

    def final_state(self) -> Tensor:
        """Return the state variable of Lava's neuron after the window's last step.

        That is the current u with reset "subtract" and in a readout, from which a spike of the last
        step is not yet subtracted, and the voltage v with reset "zero", which such a spike clears.

        Returns:
            float64 [batch, *shape], whole numbers in Lava's units of 1/64 weight unit.
        """
        return self.state.final()

    def saturated(self) -> Tensor:
        """Return in how many values of each sample a state left 24 bits: int64 [batch].

        A value is a neuron in a step. It counts where the current wrapped, where a voltage was
        clipped that the neuron keeps, and where a readout's potential was clipped at the window's
        end. Other clips change nothing: the voltage forgets at once and fires all the same.
        """
        return self.state.saturated()


def simulate_layer(
    incoming: Sequence[Incoming],
    neurons: NeuronParameters,
    num_steps: int,
    *,
    keep_spikes: bool = True,
    follow_peak: bool = False,
) -> LayerActivity:
    """Run one layer of a batch over a whole window.

    Args:
        incoming: what comes in, through the synapses of the layer and of its skips; the sum of one
            step stays below 2^23 weight units in magnitude.
        neurons: the neurons.
        num_steps: length T of the window.
        keep_spikes: keep the spikes of every step for the next layer.
        follow_peak: find the largest magnitude that a state reaches.

    Returns:
        Spikes and counts of a firing layer, the potential of a readout.
    """
    # Integers in the bfloat16 of mixed precision would not be the chip's.
    with exact_arithmetic(neurons.bias.device.type):
        if neurons.leaks:
            return _run(incoming, neurons, num_steps, keep_spikes, follow_peak, exact=True)
        fast = _run(incoming, neurons, num_steps, keep_spikes, follow_peak, exact=False)
        if neurons.proven or _stayed_within(fast, neurons):
            return fast
        return _run(incoming, neurons, num_steps, keep_spikes, follow_peak, exact=True)


def _stayed_within(activity: LayerActivity, neurons: NeuronParameters) -> bool:
    """Return whether the largest state that was seen excludes any wrap, clip and rounding.

    What is seen is the potential with its bias. Lava also keeps a current: with reset "zero" that
    is the synaptic input of the step, otherwise the potential without its bias. Beyond 2^24 float32
    rounds, but only after a state that is refused here.
    """
    assert activity.peak is not None  # layers that are not proven are followed
    if neurons.reset == "zero" and neurons.threshold is not None:
        return max(activity.peak, neurons.input_reach) < STATE_LIMIT
    return activity.peak + int(neurons.bias.abs().max()) < STATE_LIMIT


def _run(
    incoming: Sequence[Incoming],
    neurons: NeuronParameters,
    num_steps: int,
    keep_spikes: bool,
    follow_peak: bool,
    *,
    exact: bool,
) -> LayerActivity:
    """Run a window in float32 without a wrap, or ``exact`` with one; see ``simulate_layer``."""
    kind = _LeakyState if neurons.leaks else _State
    state = kind(neurons, follow_peak or not neurons.proven, exact)
    spikes: Tensor | None = None
    counts: Tensor | None = None
    for index, synaptic_input in enumerate(_summed(incoming, num_steps)):
        fired = state.step(synaptic_input)
        if fired is None:
            continue
        counts = fired.to(torch.float32, copy=True) if counts is None else counts.add_(fired)
        if keep_spikes:
            if spikes is None:
                spikes = fired.new_empty((num_steps, *fired.shape), dtype=torch.uint8)
            spikes[index].copy_(fired)
    potential = state.potential() if neurons.threshold is None else None
    return LayerActivity(spikes, counts, potential, state.peak(), state)


class _State:
    """The membrane of one layer while a window passes.

    Without a wrap it is one tensor with the bias already in it. To be ``exact`` it is Lava's own
    variable: the current u for a reset by subtraction and a readout, the voltage v in units of 1/64
    weight unit for a reset to zero (a clipped voltage is no whole number of weight units).
    """

    def __init__(self, neurons: NeuronParameters, follow_peak: bool, exact: bool) -> None:
        self.neurons = neurons
        self.exact = exact
        self.zero = neurons.reset == "zero" and neurons.threshold is not None
        self.dtype = torch.float64 if exact else torch.float32
        self.bias = neurons.bias.to(self.dtype)
        self.membrane: Tensor | None = None
        self.fired: Tensor | None = None
        self.follow_peak = follow_peak
        self.extremes: tuple[Tensor, Tensor] | None = None
        self.left: Tensor | None = None  # how often each neuron's state left 24 bits
        self.left_last: Tensor | None = None  # and whether it did in the last step

    def step(self, synaptic_input: Tensor | None) -> Tensor | None:
        """Integrate one step; return the spikes in a floating-point tensor that is used again."""
        if self.membrane is None:
            if synaptic_input is None:
                raise ValueError("a window starts with a synaptic input")
            self.membrane = torch.zeros_like(synaptic_input, dtype=self.dtype)
            if not self.exact and not self.zero:
                self.membrane += self.bias
        if self.zero:
            self._integrate_voltage(synaptic_input)
        else:
            self._integrate_current(synaptic_input)
        return None if self.neurons.threshold is None else self._fire(self.neurons.threshold)

    def _integrate_current(self, synaptic_input: Tensor | None) -> None:
        membrane = self._membrane
        if synaptic_input is not None:
            membrane += synaptic_input
        if self.exact:
            self._count(changed_by(wrap_current_, membrane))
        self._see(membrane + self.bias if self.exact else membrane)

    def _integrate_voltage(self, synaptic_input: Tensor | None) -> None:
        membrane = self._membrane
        if not self.exact:
            if synaptic_input is not None:
                membrane += synaptic_input
            membrane += self.bias
            self._see(membrane)
            return
        wrapped: Tensor | bool = False
        if synaptic_input is not None:
            current = synaptic_input.to(torch.float64, copy=True)
            wrapped = changed_by(wrap_current_, current)
            membrane += current * STATE_FRACTION
        membrane += self.bias * STATE_FRACTION
        self._count(changed_by(clip_voltage_, membrane) | wrapped)
        self._see(membrane / STATE_FRACTION)

    def _fire(self, threshold: int) -> Tensor:
        membrane = self._membrane
        if self.fired is None:
            self.fired = torch.empty_like(membrane)
        fired = self.fired
        if not self.exact:
            torch.ge(membrane, threshold, out=fired)
        elif self.zero:
            # Lava fires above (threshold - 1) * 64, in units that a clipped voltage is exact in.
            torch.gt(membrane, (threshold - 1) * STATE_FRACTION, out=fired)
        else:
            torch.ge(membrane + self.bias, threshold, out=fired)
        if self.zero:
            membrane.addcmul_(membrane, fired, value=-1)
        else:
            # Lava subtracts one step later; nothing looks at the state of a firing layer between.
            membrane.sub_(fired, alpha=threshold)
        return fired

    def potential(self) -> Tensor:
        """Return a readout's potential in weight units, as ``v >> 6`` of Lava's clipped voltage."""
        membrane = self._membrane
        if not self.exact:
            return membrane
        return (membrane + self.bias).clamp_(-STATE_LIMIT, STATE_LIMIT - 1)

    def final(self) -> Tensor:
        """Return Lava's state variable after the last step; see ``LayerActivity.final_state``."""
        membrane = self._membrane.to(torch.float64)
        if not self.zero:
            if self.fired is not None:
                assert self.neurons.threshold is not None  # it fired
                membrane = membrane.add(self.fired, alpha=self.neurons.threshold)
            if not self.exact:
                membrane = membrane - self.bias
        in_fractions = self.zero and self.exact
        return membrane if in_fractions else membrane * STATE_FRACTION

    def saturated(self) -> Tensor:
        """Count the values that left 24 bits; see ``LayerActivity.saturated``."""
        membrane, left = self._membrane, self.left
        if self.exact and self.neurons.threshold is None:
            clipped = ((membrane + self.bias) * STATE_FRACTION).abs() > VOLTAGE_LIMIT
            assert left is not None  # every exact step counts
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

    def peak(self) -> int | None:
        """Return the largest magnitude of a state so far in weight units, if it was followed."""
        if self.extremes is None:
            return None
        low, high = self.extremes
        return max(int(-low.floor()), int(high.ceil()))

    def _see(self, state: Tensor) -> None:
        if not self.follow_peak:
            return
        low, high = torch.aminmax(state)  # stays on the device: a GPU need not wait every step
        if self.extremes is not None:
            low, high = torch.minimum(low, self.extremes[0]), torch.maximum(high, self.extremes[1])
        self.extremes = low, high


class _LeakyState(_State):
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
