"""In which step of a run which layer begins a window, may fire and rests.

Steps are counted from 0, in which the first layer's first window starts. With a period of P = T + d
steps (d: the longest firing delay), layer l takes in sample k in the T steps from k P + ``first``
on, and may fire in the T steps from d_l steps later on. SANA-FE's state is set from outside, so no
step has to lie between two windows.
"""

from __future__ import annotations

from dataclasses import dataclass

from tandem_hw.network.quantized import QuantizedNetwork


@dataclass(frozen=True)
class LayerSchedule:
    """When a layer works.

    Attributes:
        first: step in which its first window starts.
        delay: steps of a window before it may fire.
        num_steps: length T of a window.
        period: steps from one window to the next.
        samples: how many windows there are.
    """

    first: int
    delay: int
    num_steps: int
    period: int
    samples: int

    def place(self, step: int) -> tuple[int, int]:
        """Return the sample whose period a step lies in, and the step's place in it.

        The sample is -1 before the first window, and ``samples`` after the last period.
        """
        if step < self.first:
            return -1, 0
        sample, place = divmod(step - self.first, self.period)
        return (sample, place) if sample < self.samples else (self.samples, step - self.end)

    def firing_sample(self, step: int) -> int | None:
        """Return the sample for which the layer may fire in a step, or None if it may not."""
        sample, place = self.place(step)
        may_fire = 0 <= sample < self.samples and 0 <= place - self.delay < self.num_steps
        return sample if may_fire else None

    @property
    def end(self) -> int:
        """The step after the last period."""
        return self.first + self.samples * self.period

    @property
    def last(self) -> int:
        """The last step that counts."""
        return self.end - self.period + self.delay + self.num_steps - 1


def schedule(network: QuantizedNetwork, samples: int) -> tuple[LayerSchedule, ...]:
    """Return when each layer works.

    Args:
        network: what runs.
        samples: how many follow each other.
    """
    wiring = network.wiring
    period = network.num_steps + max(wiring.firing_delays)
    return tuple(
        LayerSchedule(start - 1, delay, network.num_steps, period, samples)
        for start, delay in zip(wiring.starts, wiring.firing_delays, strict=True)
    )
