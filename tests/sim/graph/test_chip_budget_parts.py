"""The chip budget counts the parts that the stock lowering really builds."""

from __future__ import annotations

import numpy as np
import pytest

from tandem_hw.chip.budget import chip_budget, neuron_parts
from tandem_hw.chip.timing import board_period
from tandem_hw.network.quantized import Reset
from tests.helpers.networks import small_network

pytest.importorskip("lava.magma", reason="Lava is not installed; it needs Python 3.10")


@pytest.mark.parametrize(
    ("reset", "num_steps"), [("subtract", 3), ("subtract", 7), ("zero", 4), ("zero", 5)]
)
def test_parts_of_each_layer_are_those_of_the_graph(reset: Reset, num_steps: int) -> None:
    from lava.proc.lif.process import LIF
    from lava.proc.sparse.process import Sparse

    from tandem_hw.sim.graph.layers import connect_layers

    network = small_network(reset, num_steps)
    period = board_period(network)
    assert chip_budget(network).obstacle is None
    built = connect_layers(network, period, lowered=True).layers
    for layer, parts in zip(built, neuron_parts(network, period), strict=True):
        inhibitions = [part for part in layer.parts if isinstance(part, Sparse)]
        clocks = [part for part in layer.parts if type(part) is LIF]
        assert len(inhibitions) == int(parts.self_inhibition)
        assert sum(int(np.prod(clock.v.shape)) for clock in clocks) == parts.clocks
        # An inhibition is one synapse a neuron, a word and an axon of its own.
        weights = [part.weights.get() for part in inhibitions]
        assert all(matrix.nnz == layer.layer.neurons for matrix in weights)
