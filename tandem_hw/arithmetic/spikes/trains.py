"""What layers send over a window, and what comes in through their synapses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tandem_hw.arithmetic.spikes.counted_spikes import CountedSpikes
from tandem_hw.arithmetic.spikes.packed_spikes import PackedSpikes
from tandem_hw.network.input_spec import InputSpec

#: From incoming spikes to their synaptic input, in weight units.
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

    def samples_first(self, dtype: torch.dtype = torch.uint8) -> Tensor:
        """Return what is given step by step as numbers [batch, num_steps, *shape]."""
        return self.signal.transpose(0, 1).to(dtype)

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
        synapse: from a signal [batch, *in_shape], uint8 or float32, to synaptic inputs
            [batch, *shape], integers in weight units. It is called with the samples of all steps
            at once.
        magnitude: from such a signal to what no part of its weighted sums exceeds in magnitude,
            [batch, 1, ...], or None. It shows that a step moves no state far, where the weights
            alone do not (``tandem_hw.arithmetic.states.summed_states``).
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
        # A CPU may multiply bytes; a GPU would make floating point of them in a pass of its own.
        dtype = torch.uint8 if self.train.device.type == "cpu" else torch.float32
        signal = self.train.samples_first(dtype)[:, :num_steps]
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


def summed(incoming: Sequence[Incoming], num_steps: int) -> Sequence[Tensor | None]:
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


def at_once(total: Tensor, num_steps: int) -> Sequence[Tensor | None]:
    """Return synaptic inputs that come in the first step of a window."""
    return [total, *([None] * (num_steps - 1))]


def summed_up(synapse_inputs: Sequence[tuple[Synapse, Tensor, int]]) -> Tensor:
    """Return the sum of synaptic inputs, each of a signal and how often it comes."""
    total: Tensor | None = None
    for synapse, signal, times in synapse_inputs:
        found = synapse(signal)
        if times > 1:
            found = found * times
        total = found if total is None else total + found
    assert total is not None  # every layer has synapses
    return total
