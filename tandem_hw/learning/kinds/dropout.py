"""Dropout of whole windows."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch

from tandem_hw.learning.architecture import LayerSpec
from tandem_hw.learning.kinds.kind import LayerKind, Observer
from tandem_hw.learning.signals import TandemSignal
from tandem_hw.learning.spiking_options import SpikingOptions
from tandem_hw.network.synapses.geometry import Shape


class TandemDropout(LayerKind):
    """Dropout for whole windows: a dropped neuron sends nothing in any step.

    The counts stay integers, so the compensation 1 / (1 - p) goes into the real value of a count,
    which the next layer folds into its weights.

    Attributes:
        p: probability of dropping a neuron, 0 to below 1.
        channels: drop whole channels, as ``torch.nn.Dropout2d`` does.
    """

    short_name: ClassVar[str] = "dropout"

    def __init__(self, p: float, channels: bool = False) -> None:
        super().__init__()
        self.p = p
        self.channels = channels

    @classmethod
    def output_shape(cls, spec: LayerSpec, shape: Shape) -> Shape:
        """Return the shape that comes in."""
        return shape

    @classmethod
    def from_spec(
        cls, spec: LayerSpec, name: str, shape: Shape, options: SpikingOptions, fires: bool
    ) -> TandemDropout:
        """Make one, which has no name; see ``LayerKind``."""
        return cls(spec.p, spec.channels)

    def forward(self, signal: TandemSignal, observe: Observer | None = None) -> TandemSignal:
        """Drop neurons in training; do nothing in evaluation, so an observer is told nothing."""
        if not self.training or self.p == 0:
            return signal
        counts = signal.counts
        shape = counts.shape[:2] + (1,) * (counts.dim() - 2) if self.channels else counts.shape
        kept = torch.rand(shape, dtype=torch.float32, device=counts.device) >= self.p
        train, value = signal.train, signal.graph_scale
        return replace(
            signal,
            counts=counts * kept,
            train=None if train is None else train.kept(kept),
            scale=signal.scale / (1 - self.p),
            graph_scale=None if value is None else value / (1 - self.p),
        )
