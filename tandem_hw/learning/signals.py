"""What passes between tandem layers, and what all layers of a network share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from tandem_hw.fixed_point import DECAY_UNITY
from tandem_hw.network import Reset
from tandem_hw.neurons import SpikeTrain

Twin = Literal["clip", "relu"]


@dataclass(frozen=True)
class TandemSignal:
    """What passes between tandem layers.

    Attributes:
        counts: float32 [batch, *shape] with a gradient: what was sent in the window, in all. Of a
            layer that does not spike its activation in units of ``scale``.
        train: the same step by step, without a gradient; None from a layer that does not spike.
        scale: real value of one count.
        largest: largest value that is sent in one step (1 for spikes).
        graph_scale: ``scale`` with a gradient, where thresholds are learnt.
    """

    counts: Tensor
    train: SpikeTrain | None
    scale: float
    largest: int = 1
    graph_scale: Tensor | None = None

    @property
    def real(self) -> Tensor | float:
        """Real value of one count for the twin, with its gradient if it has one."""
        return self.scale if self.graph_scale is None else self.graph_scale


@dataclass(frozen=True)
class SpikingOptions:
    """What all layers of one network share.

    Attributes:
        num_steps: length T of the window.
        reset: "subtract" or "zero".
        weight_bits: width of the signed weights, 2 to 8.
        twin: gradient mask, "clip" or "relu".
        activation_max: real activation at which a neuron fires in every step; the real value of one
            spike is activation_max / T. Where thresholds are learnt, what they start from.
        current_decay: what the current of firing layers loses a step, in 1/4096, with reset "zero".
        voltage_decay: what their voltage loses a step, in 1/4096, with reset "zero".
        initial_potential: share of the threshold that a window starts from, 0 to below 1, with
            reset "subtract". With 0.5 a count is the activation rounded to the nearest, with 0 it
            is rounded down.
        learn_thresholds: train the firing threshold of every layer along with the weights.
    """

    num_steps: int
    reset: Reset
    weight_bits: int = 8
    twin: Twin = "clip"
    activation_max: float = 2.0
    current_decay: int = DECAY_UNITY
    voltage_decay: int = 0
    initial_potential: float = 0.0
    learn_thresholds: bool = False
