"""What passes between tandem layers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tandem_hw.arithmetic.neurons import Train


@dataclass(frozen=True)
class TandemSignal:
    """What passes between tandem layers.

    Attributes:
        counts: float32 [batch, *shape] with a gradient: what was sent in the window, in all. Of a
            layer that does not spike its activation in units of ``scale``.
        train: the same step by step, without a gradient; None from a layer that does not spike.
        scale: real value of one count; in a forward pass that leaves its numbers on the device a
            tensor [] of float64, and of channels with thresholds of their own one [channels].
        largest: largest value that is sent in one step (1 for spikes).
        graph_scale: ``scale`` with a gradient, where thresholds are learnt.
    """

    counts: Tensor
    train: Train | None
    scale: float | Tensor
    largest: int = 1
    graph_scale: Tensor | None = None

    @property
    def real(self) -> Tensor | float:
        """Real value of one count for the twin, with its gradient if it has one."""
        return self.scale if self.graph_scale is None else self.graph_scale

    @property
    def values(self) -> Tensor:
        """The counts in real units, with the twin's gradient."""
        return self.counts * along_channels(self.real, self.counts)


def along_channels(value: float | Tensor, of: Tensor) -> float | Tensor:
    """Return a number of each channel with axes to broadcast over samples; others as they are.

    Args:
        value: a number, or a tensor [] or [channels].
        of: [batch, channels, ...], whose type it takes where it has channels.
    """
    if not isinstance(value, Tensor) or not value.dim():
        return value
    return value.to(of.device, of.dtype).reshape(-1, *([1] * (of.dim() - 2)))
