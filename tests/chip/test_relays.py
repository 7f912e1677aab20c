"""Spikes are held back so that all paths to a layer end in the step in which it works."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem_hw.chip.relays import relay_stages, with_relay_layers
from tandem_hw.chip.timing import window_start
from tandem_hw.conformance import random_layers
from tandem_hw.conformance.layers import dense_layer, network_of
from tandem_hw.network.layers import Layer
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork
from tandem_hw.sim.reference import ReferenceBackend
from tests.helpers.networks import networks, random_inputs


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


@settings(max_examples=60, deadline=None)
@given(networks(delayed=True))
def test_relay_layers_take_the_place_of_relays_where_only_counts_matter(
    network: QuantizedNetwork,
) -> None:
    relayed = with_relay_layers(network)
    stages = relay_stages(network.wiring)
    phased = network.firing_delay == network.num_steps - 1 and network.num_steps > 2
    if not phased or not stages:
        assert relayed.network is network
        assert not relayed.relays
        return
    # One for each layer on the longer path, and no relay is left.
    expected = {network.layers[index].name: delay for index, delay in stages.items()}
    found = {name: len(names) * network.num_steps for name, names in relayed.relays.items()}
    assert found == expected
    assert relay_stages(relayed.network.wiring) == {}
    inputs = random_inputs(network)
    one = ReferenceBackend().run(network, inputs)
    other = ReferenceBackend().run(relayed.network, inputs)
    for name, counts in one.counts.items():
        np.testing.assert_array_equal(other.counts[name], counts)
        for relay in relayed.relays.get(name, ()):
            np.testing.assert_array_equal(other.counts[relay], counts)
    np.testing.assert_array_equal(one.output, other.output)


def test_drawn_networks_have_relay_layers_now_and_then() -> None:
    drawn: list[bool] = []

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(networks(delayed=True))
    def look(network: QuantizedNetwork) -> None:
        drawn.append(bool(with_relay_layers(network).relays))

    look()
    assert drawn.count(True) >= 6
