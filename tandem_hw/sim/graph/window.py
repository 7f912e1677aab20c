"""The windows of a layer of the graph, in Lava's steps; no Lava is needed here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """When a layer works.

    Attributes:
        num_steps: length T of a window.
        period: steps from one window to the next.
        offset: the step, counted from 1, in which the first window starts.
        firing_delay: steps of a window that pass before the first one in which a neuron may fire.
    """

    num_steps: int
    period: int
    offset: int
    firing_delay: int = 0

    @property
    def first_firing(self) -> int:
        """The step of the first window, counted from 1, in which a neuron may fire first."""
        return self.offset + self.firing_delay

    @property
    def last_step(self) -> int:
        """The last step of the first window, counted from 1."""
        return self.first_firing + self.num_steps - 1

    def may_fire(self, step: int) -> bool:
        """Whether a neuron may fire in a step, counted from 1, of any window."""
        return (step - self.first_firing) % self.period < self.num_steps
