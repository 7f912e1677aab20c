"""One layer over a window: a batch is run part by part, by the way that is right and fast."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tandem_hw.arithmetic.exact_sums import exact_arithmetic
from tandem_hw.arithmetic.gpu.fused_window import count_window, run_window
from tandem_hw.arithmetic.memory_order import MemoryOrder
from tandem_hw.arithmetic.neuron_parameters import NeuronParameters
from tandem_hw.arithmetic.spikes.counted_spikes import CountedSpikes
from tandem_hw.arithmetic.spikes.packed_spikes import PackedSpikes, SpikePacker, bits_of_counts
from tandem_hw.arithmetic.spikes.trains import Incoming, at_once, summed, summed_up
from tandem_hw.arithmetic.states.exact_states import ExactLeakyState, ExactState
from tandem_hw.arithmetic.states.fast_states import FastState
from tandem_hw.arithmetic.states.step_inputs import inputs_stay_below, largest_input
from tandem_hw.arithmetic.states.summed_states import SummedState, steps_are_small
from tandem_hw.network.choices import is_phased
from tandem_hw.network.fixed_point import STATE_LIMIT


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


class LayerWindow:
    """One layer over a window: the samples are run part by part, and put together here."""

    def __init__(
        self,
        neurons: NeuronParameters,
        num_steps: int,
        batch: int,
        keep_spikes: bool,
        follow_peak: bool,
        counts: Tensor | None,
    ) -> None:
        self.neurons = neurons
        self.num_steps = num_steps
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
        #: Samples whose spikes do not follow each other, and their bits.
        self.gaps: list[tuple[slice, Tensor]] = []
        self.counts = counts

    def run(self, samples: slice, incoming: Sequence[Incoming]) -> None:
        """Run some samples, by one product where that is enough (``summed_states``)."""
        total = self._sum_at_once(incoming)
        if total is None or not self._run_summed(samples, total, incoming):
            self._run_by_steps(samples, summed(incoming, self.num_steps))

    def _sum_at_once(self, incoming: Sequence[Incoming]) -> Tensor | None:
        """Return all that comes in over the window by one product, where only its sum counts.

        That is so where neurons take in everything before they may fire. A peak is of the parts.

        Returns:
            Synaptic inputs [batch, *shape], or None.
        """
        neurons = self.neurons
        delay = neurons.firing_delay
        waits = neurons.threshold is None or (delay > 0 and is_phased(delay, self.num_steps))
        if not waits or self.asked_for_peak or neurons.wraps or neurons.leaks:
            return None
        wholes = [one.whole() for one in incoming]
        if any(whole is None for whole in wholes):
            return None
        pairs = [(one, *whole) for one, whole in zip(incoming, wholes, strict=True) if whole]
        magnitude = self._magnitude(incoming)
        if not neurons.proven and not steps_are_small(neurons, self.num_steps, magnitude):
            return None
        return summed_up([(one.synapse, signal, times) for one, signal, times in pairs])

    @staticmethod
    def _magnitude(incoming: Sequence[Incoming]) -> Callable[[], Tensor] | None:
        """Return what gives the largest input of any step in magnitude, if synapses say it."""
        known = [(one.magnitude, one) for one in incoming if one.magnitude is not None]
        if len(known) < len(incoming):
            return None
        return lambda: summed_up([(of, one.largest_step(), 1) for of, one in known]).max()

    def _run_summed(self, samples: slice, total: Tensor, incoming: Sequence[Incoming]) -> bool:
        """Run some samples on the sum of their inputs; return whether that was right."""
        inputs = at_once(total, self.num_steps)
        order = self._prepared(inputs)
        # Not the sums, which would be kept as long as the state, nor this window, which keeps the
        # state: a cycle, and so all that trained in a step, would wait for the garbage collector.
        device, num_steps = total.device.type, self.num_steps

        def steps() -> Sequence[Tensor | None]:
            with exact_arithmetic(device):
                return order.flat_steps(summed(incoming, num_steps))

        state = SummedState(self.neurons, self.bias, steps)
        flat = at_once(order.flat(total), self.num_steps)
        fires = self.neurons.threshold is not None
        counts = count_window(state, flat) if fires else run_window(state, flat, len(flat), None)
        if not self.neurons.proven and not self._may_stay(state, inputs):
            return False
        self._keep(samples, state, counts)
        return True

    def _run_by_steps(self, samples: slice, inputs: Sequence[Tensor | None]) -> None:
        """Run some samples, whose synaptic input of every step is given."""
        if inputs[0] is None:
            raise ValueError("a window starts with a synaptic input")
        order = self._prepared(inputs)
        flat = order.flat_steps(inputs)
        state, counts = self._run(samples, flat)
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
        last = max(index for index, one in enumerate(inputs) if one is not None)
        self.takes_in_all_first = (
            last <= self.neurons.firing_delay and not self.neurons.resets_to_zero
        )
        if self.keep_spikes and self.takes_in_all_first:
            dtype = CountedSpikes.dtype_for(self.num_steps)
            number = math.prod(self.order.shape)
            self.counted = first.new_empty((self.batch, number), dtype=dtype)
        elif self.keep_spikes:
            self.bits = self._room_for_bits(self.batch, first.device)
        if self.counts is None:
            shape = (self.batch, *self.order.shape)
            self.counts = first.new_empty(shape, dtype=torch.float32)

    def _room_for_bits(self, batch: int, device: torch.device) -> Tensor:
        """Return memory for the spikes of some samples in bits."""
        assert self.order is not None
        groups, number = SpikePacker.bytes_for(self.num_steps), math.prod(self.order.shape)
        return torch.empty((batch, groups, number), dtype=torch.uint8, device=device)

    def _run(
        self, samples: slice, inputs: Sequence[Tensor | None]
    ) -> tuple[FastState | ExactState, Tensor | None]:
        """Run a window in the fewest bits that are enough, in float64 with a wrap at last.

        Returns:
            The state at its end, and the spike counts of neurons that fire.
        """
        neurons = self.neurons
        bits = None if self.bits is None else self.bits[samples]
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
            if neurons.proven or self._may_stay(fast, inputs):
                return fast, counts
        if self.counted is None:
            return self._run_exact(inputs, bits)
        bits = self._room_for_bits(len(self.counted[samples]), self.counted.device)
        exact, counts = self._run_exact(inputs, bits)
        assert counts is not None  # they fire
        # A step that brought more than one wrap takes off moves the state once more behind it, and
        # a neuron may fire late. A device is not asked.
        on_device = neurons.checks is not None
        if on_device or not torch.equal(bits, bits_of_counts(counts, self.num_steps)):
            self.gaps.append((samples, bits))
        return exact, counts

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

    def _may_stay(self, state: FastState, inputs: Sequence[Tensor | None]) -> bool:
        """Return whether what was run without a wrap is right, as far as that is known by now.

        What is seen is the potential with its bias. Lava also keeps a current: with reset "zero"
        that is the synaptic input of the step, otherwise the potential without its bias.
        """
        if self.neurons.resets_to_zero and not inputs_stay_below(
            self.neurons, STATE_LIMIT, lambda: largest_input(inputs)
        ):
            return False
        too_far = self._came_too_far(state)
        checks = self.neurons.checks
        if checks is None:
            return not too_far
        checks.fail_if(too_far, self.neurons.layer)
        return True

    def _came_too_far(self, state: FastState) -> Tensor:
        """Return whether the largest state that was seen leaves room for a wrap, clip or rounding.

        Beyond 2^24 float32 rounds, but only after a state that is refused here.

        Returns:
            bool [], where the states are.
        """
        assert state.extremes is not None  # layers that are not proven are followed
        low, high = state.extremes
        peak = torch.maximum(-low, high)
        if not self.neurons.resets_to_zero:
            peak = peak + self.bias.abs().max()
        return ~(peak < STATE_LIMIT)  # so that what is no number is too far as well

    def activity(self) -> LayerActivity:
        """Return what all samples did."""
        assert self.order is not None
        potential: Tensor | None = None
        train: PackedSpikes | CountedSpikes | None = None
        if self.neurons.threshold is None:
            potential = self.order.image(torch.cat([state.potential() for state in self.states]))
        elif self.gaps:
            assert self.counted is not None  # they were taken for counted ones
            bits = bits_of_counts(self.counted, self.num_steps)
            for samples, found in self.gaps:
                bits[samples] = found
            train = PackedSpikes(bits, self.num_steps, self.order)
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
