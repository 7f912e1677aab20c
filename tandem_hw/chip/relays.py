"""How long the spikes of which layer are held back, so that paths of different length end in step.

A relay is a neuron that fires in the step in which a spike reaches it, and in no other; it keeps no
state. A chain of relays holds the spikes of one layer back, one step each, and every connection
takes them where its delay wants (``tandem_hw.network.wiring``), so that skip paths of one layer
share a chain. No Lava is needed here.
"""

from __future__ import annotations

from tandem_hw.network.wiring import Wiring


def relay_stages(wiring: Wiring) -> dict[int, int]:
    """Return the length of every layer's chain of relays.

    Args:
        wiring: the graph of a network.

    Returns:
        By index of the layer, the longest delay of the connections that take its spikes; layers
        without relays are left out.
    """
    stages: dict[int, int] = {}
    for connections in wiring.connections:
        for connection in connections:
            if connection.source is not None and connection.delay:
                stages[connection.source] = max(stages.get(connection.source, 0), connection.delay)
    return dict(sorted(stages.items()))
