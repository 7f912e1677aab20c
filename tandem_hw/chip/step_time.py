"""How long a step lasts: as long as the busiest core and the busiest link, and then the barrier.

All cores of a Loihi work on a step at once, and the next one begins when the last of them is done,
so the sum of the work does not tell (Yik et al., arXiv 2511.21549), and a model of the slowest part
does (Timcheck et al., arXiv 2601.10035, correlation 0.97 with the chip). With S synaptic operations
and N updates of neurons in a core, and R spikes on a chip's link:

    least     = max(S t_synop, N t_neuron, R t_spike, barrier_least)   in all cores, on all links
    expected  = max(S t_synop + N t_neuron, R t_spike) + barrier
    most      = the same, with the barrier of a host in every step

The least is what Intel's script that profiles YOLO-KP computes. What is left out is the network of
routers between the cores of one chip, for which the placement would have to be known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tandem_hw.chip.constants import LOIHI2_STEP, StepCosts


@dataclass(frozen=True)
class Seconds:
    """A time with its range, in seconds.

    Attributes:
        least: a lower bound, if the work is what is said.
        expected: what the model says, with the input on the chip.
        most: with a host that takes part in every step.
    """

    least: float
    expected: float
    most: float

    def __add__(self, other: Seconds) -> Seconds:
        """Return the time of both, one after the other."""
        return Seconds(
            self.least + other.least, self.expected + other.expected, self.most + other.most
        )

    def __mul__(self, factor: float) -> Seconds:
        """Return the time of so many."""
        return Seconds(self.least * factor, self.expected * factor, self.most * factor)

    def holds(self, seconds: float) -> bool:
        """Whether a time lies in the range."""
        return self.least <= seconds <= self.most


@dataclass(frozen=True)
class CoreWork:
    """What one core does in one step.

    Attributes:
        synops: synaptic operations.
        neuron_updates: updates of neurons.
    """

    synops: float
    neuron_updates: float

    def seconds(self, costs: StepCosts) -> float:
        """Return the time of the synaptic operations and of the updates after them, in seconds."""
        return self.synops * costs.synop + self.neuron_updates * costs.neuron_update


def step_seconds(
    cores: Iterable[CoreWork],
    *,
    chips: int = 1,
    link: float = 0.0,
    host_link: float = 0.0,
    costs: StepCosts = LOIHI2_STEP,
) -> Seconds:
    """Return how long a step lasts.

    Args:
        cores: what the cores do, or the busiest of each layer.
        chips: how many chips take part.
        link: seconds for which the spikes between chips keep the busiest link.
        host_link: seconds for which the spikes from a host do.
        costs: the machine.

    Returns:
        The time with its range.
    """
    work = list(cores)
    overlapping = max(
        (max(one.synops * costs.synop, one.neuron_updates * costs.neuron_update) for one in work),
        default=0.0,
    )
    busiest = max((one.seconds(costs) for one in work), default=0.0)
    barrier = costs.barrier if chips == 1 else costs.barrier_most
    return Seconds(
        least=max(overlapping, link, costs.barrier_least),
        expected=max(busiest, link) + barrier,
        most=max(busiest, link, host_link) + costs.barrier_most,
    )
