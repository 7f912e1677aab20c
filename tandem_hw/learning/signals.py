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
            tensor [] of float64.
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
