"""Which layers spike in which epoch of a training.

"tandem" lets all layers spike from the start (Wu et al., arXiv 1907.01167). "progressive" lets them
spike one after another from the first on, while the layers behind are still the ordinary network on
real values (the same group's arXiv 2007.01204); the last quarter of the epochs trains the whole
spiking network. "ordinary" never spikes: it trains the ReLU network, to start another from.
"""

from __future__ import annotations

from typing import Literal

Schedule = Literal["tandem", "progressive", "ordinary"]


def spiking_layers(schedule: Schedule, epoch: int, epochs: int, layers: int) -> int | None:
    """Return how many of the first layers spike in an epoch.

    Args:
        schedule: see the module.
        epoch: the epoch, from 1.
        epochs: how many there are.
        layers: layers with neurons, the readout included.

    Returns:
        A number for ``TandemNetwork.forward``; None for all of them.
    """
    if schedule == "tandem":
        return None
    if schedule == "ordinary":
        return 0
    all_from = max(1, epochs - epochs // 4)  # the epoch in which all layers spike at last
    return None if epoch >= all_from else layers * epoch // all_from
