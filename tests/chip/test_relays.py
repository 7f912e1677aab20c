"""Spikes are held back so that all paths to a layer end in the step in which it works."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem_hw.chip.relays import relay_stages
from tandem_hw.chip.timing import window_start
from tandem_hw.network.layers import Layer
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork
from tests.helpers import random_layers
from tests.helpers.layers import dense_layer, network_of
from tests.helpers.networks import networks


def identity(name: str, source: str) -> Layer:
    return random_layers.identity((3,), source, 2, name)


def dense(name: str, source: str, *skips: Layer) -> Layer:
    weight, bias = 2 * np.eye(3, dtype=int), np.zeros(3, int)
    return dense_layer(name, weight, 8, bias, 2, (3,), source=source, skips=skips)


def test_relays_of_one_layer_are_shared_by_all_that_take_its_spikes() -> None:
    layers = (
        dense("a", "input"),
        dense("b", "input"),
        dense("c", "a"),
        dense("d", "c", identity("a to d", "a"), identity("b to d", "b")),
        dense("e", "a", identity("d to e", "d"), identity("c to e", "c")),
    )
    network = network_of(InputSpec((3,), 4, 1 / 15), layers, 4, "zero", "count")
    assert network.wiring.depths == (1, 1, 2, 3, 4)
    # a feeds c at once, d one step late and e two; b and c feed d and e one step late.
    assert relay_stages(network.wiring) == {0: 2, 1: 1, 2: 1}


@settings(max_examples=100, deadline=None)
@given(st.one_of(networks(), networks(delayed=True)))
def test_every_path_arrives_in_the_step_in_which_the_layer_s_window_starts(
    network: QuantizedNetwork,
) -> None:
    wiring, stages = network.wiring, relay_stages(network.wiring)
    for start, connections in zip(wiring.starts, wiring.connections, strict=True):
        for connection in connections:
            source = connection.source
            sent = window_start(0 if source is None else wiring.first_spikes[source])
            assert sent + connection.delay + 1 == window_start(start)
            assert connection.delay <= (0 if source is None else stages.get(source, 0))
