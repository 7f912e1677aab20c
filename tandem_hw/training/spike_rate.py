"""What a network fires while it is trained and judged."""

from __future__ import annotations

from torch import Tensor

from tandem_hw.arithmetic.neurons import LayerActivity
from tandem_hw.learning.kinds.kind import FleetingObserver, ObservedNeurons
from tandem_hw.learning.quantizer import IntegerParameters


class SpikeRate(FleetingObserver):
    """Running mean of the spike rate over all firing neurons; a GPU is waited for by ``rate``."""

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps
        self.spikes: Tensor | float = 0.0
        self.slots = 0

    def __call__(
        self, layer: ObservedNeurons, activity: LayerActivity, integers: IntegerParameters
    ) -> None:
        """Count the spikes of one layer in one forward pass."""
        if activity.counts is not None:
            self.spikes = self.spikes + activity.counts.sum().double()
            self.slots += activity.counts.numel() * self.num_steps

    @property
    def rate(self) -> float:
        """Share of steps in which a neuron fired."""
        return self.rate_of(self.spikes, self.slots)

    @staticmethod
    def rate_of(spikes: Tensor | float, slots: int) -> float:
        """Return the share of steps in which a neuron fired.

        Args:
            spikes: how many spikes there were.
            slots: how many there could have been.
        """
        return float(spikes) / slots if slots else 0.0


class FiringLayers(FleetingObserver):
    """Which layers have fired so far."""

    def __init__(self) -> None:
        self.layers: dict[str, bool] = {}

    def __call__(
        self, layer: ObservedNeurons, activity: LayerActivity, integers: IntegerParameters
    ) -> None:
        """Look at one layer in one forward pass."""
        if activity.counts is not None:
            fires = bool(activity.counts.any())
            self.layers[layer.name] = self.layers.get(layer.name, False) or fires

    @property
    def silent(self) -> list[str]:
        """Names of the firing layers that never did."""
        return [name for name, fired in self.layers.items() if not fired]
