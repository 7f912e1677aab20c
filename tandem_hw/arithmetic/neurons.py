"""The integrate-and-fire neuron over a window, written once for training and simulation.

With weights W, threshold theta, bias B and incoming spikes s_in, in weight units:

    reset "subtract":  u[t] = u[t-1] + W s_in[t] - theta s[t-1];   s[t] = 1 if u[t] + B >= theta
    reset "zero":      v[t] = v[t-1] (1 - s[t-1]) + W s_in[t] + B;  s[t] = 1 if v[t] >= theta
    readout:           u[t] = u[t-1] + W s_in[t];                   potential u[T] + B
    firing delay d:    the first row with s[t] = 0 for t <= d, over T + d steps, the last d of them
                       without input; spike k of T is that of step k + d
    leaky "zero":      u[t] = keep(u[t-1], current_decay) + W s_in[t]
                       v[t] = keep(v[t-1] (1 - s[t-1]), voltage_decay) + u[t] + B

keep(x, d) is x (4096 - d) / 4096 rounded toward zero, in units of 1/64 weight unit.

These are Lava's own neurons (``lava/proc/lif/models.py``, ``PyLifResetModelBitAcc``), "zero" with
du=current_decay-1 and dv=voltage_decay, 4095 and 0 where nothing leaks, the others with du=-1 and
dv=4096: see docs/arithmetic.md. Where a state may leave
24 bits, Lava's wrap of the current and its clip of the voltage are followed bit for bit.

Tensors hold integers in floating point, or in 16 bits where that is enough (``short_states``).
Where ``tandem_hw.network.bounds`` proves that no state leaves 24 bits, float32 is exact and nothing
wraps. Where it does not, float32 is tried and every state looked at; should one come too near the
limit, the window is run again in float64 with wrap and clip. In a training step on a GPU, which
shall not wait for that look, it is put off to the end of the forward pass, and then the pass is run
again (``deferred_checks``). Leaky layers always run in float64: the product of a state and a decay
needs 36 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from tandem_hw.arithmetic.counted_spikes import CountedSpikes
from tandem_hw.arithmetic.exact_states import ExactLeakyState, ExactState
from tandem_hw.arithmetic.exact_sums import exact_arithmetic
from tandem_hw.arithmetic.fast_states import FastState
from tandem_hw.arithmetic.gpu.fused_window import count_window, run_window
from tandem_hw.arithmetic.memory_order import MemoryOrder
from tandem_hw.arithmetic.neuron_parameters import NeuronParameters
from tandem_hw.arithmetic.packed_spikes import PackedSpikes, SpikePacker
from tandem_hw.arithmetic.summed_states import SummedState, steps_are_small
from tandem_hw.network.fixed_point import STATE_LIMIT
from tandem_hw.network.input_spec import InputSpec

__all__ = [
    "Incoming",
    "LayerActivity",
    "NeuronParameters",
    "SpikeTrain",
    "Synapse",
    "Train",
    "simulate_layer",
]

#: From incoming spikes to their synaptic input, in weight units.
Synapse = Callable[[Tensor], Tensor]
#: Values that the signals, the synaptic inputs and the membranes of a part of a batch may have, so
#: that they stay in a core's cache.
_PART_SIGNALS: Final = 1 << 21
_PART_INPUTS: Final = 1 << 20
_PART_MEMBRANES: Final = 1 << 18


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

    @property
    def by_step(self) -> bool:
        """Whether every step has a signal of its own."""
        return self.sent is None

    @property
    def batch(self) -> int:
        """Number of samples."""
        return self.signal.shape[1 if self.by_step else 0]

    @property
    def values(self) -> int:
        """Number of values of a sample in a step."""
        return math.prod(self.signal.shape[2 if self.by_step else 1 :])

    @property
    def device(self) -> torch.device:
        """Where the signal is kept."""
        return self.signal.device

    def samples_first(self) -> Tensor:
        """Return what is given step by step as [batch, num_steps, *shape]."""
        return self.signal.transpose(0, 1)

    def part(self, samples: slice) -> SpikeTrain:
        """Return what some of the samples send."""
        signal = self.signal[:, samples] if self.by_step else self.signal[samples]
        return SpikeTrain(signal, self.sent)

    def kept(self, mask: Tensor) -> SpikeTrain:
        """Return what some neurons alone send.

        Args:
            mask: bool, broadcastable over [batch, *shape].
        """
        return SpikeTrain(self.signal * mask, self.sent)


#: What a layer takes in: an input, or the spikes of another layer.
Train = SpikeTrain | PackedSpikes | CountedSpikes


@dataclass(frozen=True)
class Incoming:
    """What comes in through some of a layer's synapses.

    Attributes:
        train: what their source sends.
        synapse: from a signal uint8 [batch, *in_shape] to synaptic inputs [batch, *shape],
            integers in weight units. It is called with the samples of all steps at once.
        magnitude: from such a signal to what no part of its weighted sums exceeds in magnitude,
            [batch, 1, ...], or None. It shows that a step moves no state far, where the weights
            alone do not (``tandem_hw.arithmetic.summed_states``).
    """

    train: Train
    synapse: Synapse
    magnitude: Synapse | None = None

    def synaptic_inputs(self, num_steps: int) -> Sequence[Tensor | None]:
        """Return the synaptic input of every step, or None for silence known in advance.

        An image passes the synapse once. A window's first step is a tensor in any case: it says how
        many neurons there are.
        """
        train = self.train
        if isinstance(train, SpikeTrain) and train.sent is not None:
            found = self.synapse(train.signal)
            steps = [found if step in train.sent else None for step in range(num_steps)]
            return steps if steps[0] is not None else [torch.zeros_like(found), *steps[1:]]
        return self.inputs_by_step(num_steps).unbind(1)

    def inputs_by_step(self, num_steps: int) -> Tensor:
        """Return the synaptic inputs of a train that every step has a signal of its own in.

        Returns:
            [batch, num_steps, *shape].
        """
        # Samples first, as they lie in memory: a few of them, with all their steps, are a part.
        signal = self.train.samples_first()[:, :num_steps]
        found = self.synapse(signal.flatten(0, 1))
        return found.view(self.train.batch, num_steps, *found.shape[1:])

    def whole(self) -> tuple[Tensor, int] | None:
        """Return what comes in over the whole window and how often, or None where no byte holds it.

        Returns:
            uint8 [batch, *in_shape], and how many times it comes in.
        """
        train = self.train
        if isinstance(train, SpikeTrain) and train.sent is not None:
            return train.signal, len(train.sent)
        if isinstance(train, CountedSpikes) and train.counts.dtype == torch.uint8:
            return train.image, 1
        return None

    def largest_step(self) -> Tensor:
        """Return a signal that is nowhere less than what comes in in any step, uint8.

        Of a train that ``whole`` has an answer for.
        """
        train = self.train
        if isinstance(train, SpikeTrain):
            return train.signal
        assert isinstance(train, CountedSpikes)
        return train.image.clamp(max=1)


def _summed(incoming: Sequence[Incoming], num_steps: int) -> Sequence[Tensor | None]:
    """Return the synaptic input of every step, all synapses together."""
    if len(incoming) == 1:
        return incoming[0].synaptic_inputs(num_steps)
    if all(one.train.by_step for one in incoming):  # all steps in one addition
        first, *others = (one.inputs_by_step(num_steps) for one in incoming)
        return sum(others, start=first).unbind(1)
    sums: list[Tensor | None] = []
    for parts in zip(*(one.synaptic_inputs(num_steps) for one in incoming), strict=True):
        total: Tensor | None = None
        for part in parts:
            if part is not None:
                total = part if total is None else total + part
        sums.append(total)
    return sums


@dataclass(frozen=True)
class LayerActivity:
    """What one layer did over a window.

    Attributes:
        train: spikes in bits, or their number where they follow each other without a gap; None for
            a readout or where not kept.
        counts: [batch, *shape], spikes of each neuron, or None for a readout.
        potential: [batch, *shape] potential at the window's end in weight units (readout only).
        peak: largest magnitude of a state in weight units, or None where it was not followed.
        states: the membranes as the window left them, of the samples part by part.
        order: how they lie in memory.
    """

    train: PackedSpikes | CountedSpikes | None
    counts: Tensor | None
    potential: Tensor | None
    peak: int | None
    states: Sequence[FastState | ExactState]
    order: MemoryOrder

    @property
    def spikes(self) -> Tensor | None:
        """Spikes uint8 [num_steps, batch, *shape], or None for a readout or where not kept."""
        return None if self.train is None else self.train.signal

    def final_state(self) -> Tensor:
        """Return the state variable of Lava's neuron after the window's last step.

        That is the current u with reset "subtract" and in a readout, from which a spike of the last
        step is not yet subtracted, and the voltage v with reset "zero", which such a spike clears.

        Returns:
            float64 [batch, *shape], whole numbers in Lava's units of 1/64 weight unit.
        """
        return self.order.image(torch.cat([state.final() for state in self.states]))

    def saturated(self) -> Tensor:
        """Return in how many values of each sample a state left 24 bits: int64 [batch].

        A value is a neuron in a step. It counts where the current wrapped, where a voltage was
        clipped that the neuron keeps, and where a readout's potential was clipped at the window's
        end. Other clips change nothing: the voltage forgets at once and fires all the same.
        """
        return torch.cat([state.saturated() for state in self.states])


def simulate_layer(
    incoming: Sequence[Incoming],
    neurons: NeuronParameters,
    num_steps: int,
    *,
    keep_spikes: bool = True,
    follow_peak: bool = False,
    count_dtype: torch.dtype = torch.float32,
) -> LayerActivity:
    """Run one layer of a batch over a whole window.

    Args:
        incoming: what comes in, through the synapses of the layer and of its skips; the sum of one
            step stays below 2^23 weight units in magnitude.
        neurons: the neurons.
        num_steps: length T of the window.
        keep_spikes: keep the spikes of every step for the next layer.
        follow_peak: find the largest magnitude that a state reaches.
        count_dtype: data type of the spike counts, which are up to ``num_steps``.

    Returns:
        Spikes and counts of a firing layer, the potential of a readout.
    """
    batch = incoming[0].train.batch
    window = _Window(neurons, num_steps, batch, keep_spikes, follow_peak, count_dtype)
    by_step = any(one.train.by_step for one in incoming)
    sent = max(one.train.values for one in incoming)
    # A GPU is busy with a whole batch only, and has no cache that a part could stay in.
    number = neurons.number if incoming[0].train.device.type == "cpu" else None
    # Integers in the bfloat16 of mixed precision would not be the chip's.
    with exact_arithmetic(neurons.bias.device.type, neurons.checks):
        for samples in _parts(window.batch, number, sent, num_steps if by_step else 1):
            part = [replace(one, train=one.train.part(samples)) for one in incoming]
            window.run(samples, part)
        return window.activity()


def _at_once(total: Tensor, num_steps: int) -> Sequence[Tensor | None]:
    """Return synaptic inputs that come in the first step of a window."""
    return [total, *([None] * (num_steps - 1))]


def _summed_up(synapse_inputs: Sequence[tuple[Synapse, Tensor, int]]) -> Tensor:
    """Return the sum of synaptic inputs, each of a signal and how often it comes."""
    total: Tensor | None = None
    for synapse, signal, times in synapse_inputs:
        found = synapse(signal)
        if times > 1:
            found = found * times
        total = found if total is None else total + found
    assert total is not None  # every layer has synapses
    return total


def _parts(batch: int, number: int | None, sent: int, steps: int) -> Iterator[slice]:
    """Part a batch so that a part's signals, synaptic inputs and membranes stay in a cache."""
    size = batch
    if number is not None:
        size = min(
            _PART_SIGNALS // max(steps * sent, 1),
            _PART_INPUTS // (steps * number),
            _PART_MEMBRANES // number,
        )
    parts = -(-batch // max(size, 1))
    size = -(-batch // max(parts, 1))  # all alike, since each size is tried once, and few are slow
    for start in range(0, max(batch, 1), max(size, 1)):  # an empty batch is a part as well
        yield slice(start, start + size)


class _Window:
    """One layer over a window: the samples are run part by part, and put together here."""

    def __init__(
        self,
        neurons: NeuronParameters,
        num_steps: int,
        batch: int,
        keep_spikes: bool,
        follow_peak: bool,
        count_dtype: torch.dtype,
    ) -> None:
        self.neurons = neurons
        self.num_steps = num_steps
        self.count_dtype = count_dtype
        self.batch = batch
        self.keep_spikes = keep_spikes
        self.asked_for_peak = follow_peak
        self.follow_peak = follow_peak or not neurons.proven
        self.states: list[FastState | ExactState] = []
        self.peak: int | None = None
        self.order: MemoryOrder | None = None
        self.takes_in_all_first = False
        self.bits: Tensor | None = None
        self.counted: Tensor | None = None
        self.counts: Tensor | None = None

    def run(self, samples: slice, incoming: Sequence[Incoming]) -> None:
        """Run some samples, by one product where that is enough (``summed_states``)."""
        total = self._sum_at_once(incoming)
        if total is None or not self._run_summed(samples, total, incoming):
            self._run_by_steps(samples, _summed(incoming, self.num_steps))

    def _sum_at_once(self, incoming: Sequence[Incoming]) -> Tensor | None:
        """Return all that comes in over the window by one product, where only its sum counts.

        That is so where neurons take in everything before they may fire. A peak is of the parts.

        Returns:
            Synaptic inputs [batch, *shape], or None.
        """
        neurons = self.neurons
        waits = neurons.threshold is None or neurons.firing_delay >= max(self.num_steps - 1, 1)
        if not waits or self.asked_for_peak or neurons.wraps or neurons.leaks:
            return None
        wholes = [one.whole() for one in incoming]
        if any(whole is None for whole in wholes):
            return None
        pairs = [(one, *whole) for one, whole in zip(incoming, wholes, strict=True) if whole]
        magnitude = self._magnitude(incoming)
        if not neurons.proven and not steps_are_small(neurons, self.num_steps, magnitude):
            return None
        return _summed_up([(one.synapse, signal, times) for one, signal, times in pairs])

    @staticmethod
    def _magnitude(incoming: Sequence[Incoming]) -> Callable[[], Tensor] | None:
        """Return what gives the largest input of any step in magnitude, if synapses say it."""
        known = [(one.magnitude, one) for one in incoming if one.magnitude is not None]
        if len(known) < len(incoming):
            return None
        return lambda: _summed_up([(of, one.largest_step(), 1) for of, one in known]).max()

    def _run_summed(self, samples: slice, total: Tensor, incoming: Sequence[Incoming]) -> bool:
        """Run some samples on the sum of their inputs; return whether that was right."""
        inputs = _at_once(total, self.num_steps)
        order = self._prepared(inputs)
        device = total.device.type  # not the sums, which would be kept as long as the state

        def steps() -> Sequence[Tensor | None]:
            with exact_arithmetic(device):
                found = _summed(incoming, self.num_steps)
            return [None if one is None else order.flat(one) for one in found]

        state = SummedState(self.neurons, self.bias, steps)
        flat = _at_once(order.flat(total), self.num_steps)
        fires = self.neurons.threshold is not None
        counts = count_window(state, flat) if fires else run_window(state, flat, len(flat), None)
        if not self.neurons.proven and not self._may_stay(state):
            return False
        self._keep(samples, state, counts)
        return True

    def _run_by_steps(self, samples: slice, inputs: Sequence[Tensor | None]) -> None:
        """Run some samples, whose synaptic input of every step is given."""
        if inputs[0] is None:
            raise ValueError("a window starts with a synaptic input")
        order = self._prepared(inputs)
        flat = [None if one is None else order.flat(one) for one in inputs]
        state, counts = self._run(flat, None if self.bits is None else self.bits[samples])
        self._keep(samples, state, counts)
        if state.extremes is not None and self.neurons.checks is None:
            self.peak = max(self.peak or 0, _peak(state.extremes))

    def _keep(self, samples: slice, state: FastState | ExactState, counts: Tensor | None) -> None:
        """Keep what some samples did."""
        self.states.append(state)
        if self.counts is None:
            return
        assert counts is not None  # they fire
        assert self.order is not None
        if self.counted is not None:
            self.counted[samples] = counts
        self.counts[samples] = self.order.image(counts)

    def _prepared(self, inputs: Sequence[Tensor | None]) -> MemoryOrder:
        """Return how neurons lie in memory, and make room for what they do if there is none yet."""
        if self.order is None:
            self._prepare(inputs)
        assert self.order is not None
        return self.order

    def _prepare(self, inputs: Sequence[Tensor | None]) -> None:
        first = inputs[0]
        assert first is not None  # a window starts with a synaptic input
        self.order = MemoryOrder.of(first)
        bias = self.neurons.bias
        if bias.dim():
            bias = self.order.flat(bias.expand(1, *self.order.shape))[0]
        self.bias = bias.to(torch.float32)
        if self.neurons.threshold is None:
            return
        number = math.prod(self.order.shape)
        last = max(index for index, one in enumerate(inputs) if one is not None)
        self.takes_in_all_first = (
            last <= self.neurons.firing_delay and not self.neurons.resets_to_zero
        )
        if self.keep_spikes and self.takes_in_all_first:
            dtype = CountedSpikes.dtype_for(self.num_steps)
            self.counted = first.new_empty((self.batch, number), dtype=dtype)
        elif self.keep_spikes:
            groups = SpikePacker.bytes_for(self.num_steps)
            self.bits = first.new_empty((self.batch, groups, number), dtype=torch.uint8)
        self.counts = first.new_empty((self.batch, *self.order.shape), dtype=self.count_dtype)

    def _run(
        self, inputs: Sequence[Tensor | None], bits: Tensor | None
    ) -> tuple[FastState | ExactState, Tensor | None]:
        """Run a window in the fewest bits that are enough, in float64 with a wrap at last.

        Returns:
            The state at its end, and the spike counts of neurons that fire.
        """
        neurons = self.neurons
        short = neurons.short
        if short is not None and short.worth_trying and not self.takes_in_all_first:
            state = FastState(neurons, self.bias.to(short.dtype), True, short.offset)
            counts = run_window(state, inputs, self.num_steps, bits)
            assert state.extremes is not None  # they were followed
            if short.hold(state.extremes):
                return state, counts
        if not neurons.leaks and not neurons.wraps:
            fast = FastState(neurons, self.bias, self.follow_peak)
            counts = self._run_fast(fast, inputs, bits)
            if neurons.proven or self._may_stay(fast):
                return fast, counts
        return self._run_exact(inputs, bits)

    def _run_fast(
        self, state: FastState, inputs: Sequence[Tensor | None], bits: Tensor | None
    ) -> Tensor | None:
        """Run a window without a wrap; return the spike counts of neurons that fire."""
        if self.takes_in_all_first:
            return count_window(state, inputs)
        return run_window(state, inputs, self.num_steps, bits)

    def _run_exact(
        self, inputs: Sequence[Tensor | None], bits: Tensor | None
    ) -> tuple[ExactState, Tensor | None]:
        """Run a window as Lava does; return its state and the counts of neurons that fire."""
        neurons = self.neurons
        kind = ExactLeakyState if neurons.leaks else ExactState
        exact = kind(neurons, self.bias, self.follow_peak)
        packer = None if neurons.threshold is None else SpikePacker(self.num_steps, bits)
        exact.run(inputs, packer)
        return exact, None if packer is None else packer.counts

    def _may_stay(self, state: FastState) -> bool:
        """Return whether what was run without a wrap is right, as far as that is known by now."""
        too_far = self._came_too_far(state)
        checks = self.neurons.checks
        if checks is None:
            return not too_far
        checks.fail_if(too_far, self.neurons.layer)
        return True

    def _came_too_far(self, state: FastState) -> Tensor:
        """Return whether the largest state that was seen leaves room for a wrap, clip or rounding.

        What is seen is the potential with its bias. Lava also keeps a current: with reset "zero"
        that is the synaptic input of the step, otherwise the potential without its bias. Beyond
        2^24 float32 rounds, but only after a state that is refused here.

        Returns:
            bool [], where the states are.
        """
        assert state.extremes is not None  # layers that are not proven are followed
        low, high = state.extremes
        peak = torch.maximum(-low, high)
        if self.neurons.resets_to_zero:
            within = (peak < STATE_LIMIT) & (self.neurons.input_reach < STATE_LIMIT)
        else:
            within = peak + self.bias.abs().max() < STATE_LIMIT
        return ~within  # so that what is no number is too far as well

    def activity(self) -> LayerActivity:
        """Return what all samples did."""
        assert self.order is not None
        potential: Tensor | None = None
        train: PackedSpikes | CountedSpikes | None = None
        if self.neurons.threshold is None:
            potential = self.order.image(torch.cat([state.potential() for state in self.states]))
        elif self.counted is not None:
            train = CountedSpikes(self.counted, self.num_steps, self.order)
        elif self.bits is not None:
            train = PackedSpikes(self.bits, self.num_steps, self.order)
        # On the way to a sum that was taken at once, states were not looked at.
        followed = not any(isinstance(state, SummedState) for state in self.states)
        peak = self.peak if followed else None
        return LayerActivity(train, self.counts, potential, peak, self.states, self.order)


def _peak(extremes: tuple[Tensor, Tensor]) -> int:
    """Return the largest magnitude between a lowest and a highest state, in whole weight units."""
    low, high = extremes
    return max(-math.floor(low.item()), math.ceil(high.item()))
