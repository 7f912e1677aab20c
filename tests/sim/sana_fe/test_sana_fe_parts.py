"""The backend sana-fe without a simulator: synapses, neurons, cores, windows and refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tandem_hw.conformance import oracle
from tandem_hw.conformance.cases import cases
from tandem_hw.conformance.layers import changed, dense_layer, network_of, one_to_one_layer
from tandem_hw.conformance.random_layers import random_layer
from tandem_hw.errors import NetworkError
from tandem_hw.network.quantized import InputSpec, Layer, QuantizedNetwork
from tandem_hw.network.synapses.convolutions import Conv1d, Conv2d, ConvTranspose2d
from tandem_hw.network.synapses.dense import Dense
from tandem_hw.network.synapses.kind import Synapses
from tandem_hw.sim.sana_fe import placement
from tandem_hw.sim.sana_fe.neuron_values import NEVER, neuron_values
from tandem_hw.sim.sana_fe.placement import NEURONS_OF_A_CORE, check_exact, place
from tandem_hw.sim.sana_fe.schedule import schedule
from tandem_hw.sim.sana_fe.synapse_list import list_synapses
from tests.helpers.networks import small_graph_network, small_network

SYNAPSES = [
    random_layer(Dense, "dense", (5, 12), (3, 2, 2)),
    one_to_one_layer("identity", np.array([300]), 8, [0], None, (2, 3)),
    random_layer(Conv1d, "signal", (4, 1, 3), (2, 7), stride=(2,), padding=(1,), groups=2),
    random_layer(Conv2d, "image", (4, 2, 3, 2), (2, 5, 4), stride=(2, 1), padding=(1, 0)),
    random_layer(Conv2d, "dilated", (2, 2, 2, 2), (2, 5, 4), dilation=(2, 3)),
    random_layer(ConvTranspose2d, "up", (4, 1, 3, 2), (2, 3, 4), stride=(2, 1), groups=2),
    # Whose outermost places only ever meet padding.
    random_layer(Conv2d, "wide", (1, 1, 5, 5), (1, 1, 1), padding=(2, 2)),
]


@pytest.mark.parametrize("layer", SYNAPSES, ids=lambda layer: layer.name)
def test_the_list_is_that_of_the_oracle(layer: object) -> None:
    synapses: Synapses = layer.synapses[0]  # type: ignore[attr-defined]
    listed = list_synapses(synapses)
    found = zip(listed.source.tolist(), listed.target.tolist(), listed.weight.tolist(), strict=True)
    expected = [
        (source, target, weight)
        for source, targets in enumerate(oracle.synapses(synapses))
        for target, weight in targets
        if weight
    ]
    assert len(expected) > 0
    assert sorted(found) == sorted(expected)
    np.testing.assert_array_equal(listed.weights_of(listed.weight), synapses.weight)
    assert not np.array_equal(listed.weights_of(listed.weight + 2), synapses.weight)


def test_weights_that_should_be_one_and_differ_are_none() -> None:
    synapses = SYNAPSES[3].synapses[0]
    listed = list_synapses(synapses)
    found = listed.weight.copy()
    found[0] += 2
    weights = listed.weights_of(found)
    assert np.isnan(weights).sum() == 1


@pytest.mark.parametrize(("reset", "leak"), [("subtract", 0), ("zero", 0), ("zero", 123)])
def test_neurons_do_what_the_oracle_says(reset: str, leak: int) -> None:
    """SANA-FE's rule, written down here, with the values that the backend gives."""
    generator = np.random.default_rng(3)
    thresholds, biases = (1, 2, 5, 64), np.arange(-6, 7)
    fired = 0
    for threshold in thresholds:
        layer = dense_layer(
            "layer", np.zeros((len(biases), 1), int), 8, biases, threshold, (1,), voltage_decay=leak
        )
        values = neuron_values(layer, reset)
        potential = values.start.copy()
        neurons = [oracle.Neuron(int(bias), threshold, reset, 4096, leak) for bias in biases]
        for incoming in generator.integers(-9, 20, (40, len(biases))):
            potential = np.trunc(potential * values.attributes["leak_decay"] * 64) / 64
            potential = potential + values.step_bias + incoming
            fires = potential > values.threshold
            if values.attributes["reset_mode"] == "soft":
                potential = potential - np.where(fires, values.threshold, 0)
            else:
                potential = np.where(fires, 0, potential)
            expected = [one.step(int(add)) for one, add in zip(neurons, incoming, strict=True)]
            np.testing.assert_array_equal(fires, expected)
            state = values.final_state(potential, fires)
            np.testing.assert_array_equal(state, [one.final for one in neurons])
            fired += int(fires.sum())
        bias, back = values.bias_and_threshold(reset)
        np.testing.assert_array_equal(bias, biases)
        assert back == threshold
    assert fired > 100


def test_a_readout_starts_from_its_bias_and_never_fires() -> None:
    readout = small_network().layers[-1]
    values = neuron_values(readout, "zero")
    np.testing.assert_array_equal(values.start, readout.neurons.bias)
    assert values.threshold == NEVER
    assert values.bias_and_threshold("zero")[1] is None
    assert values.attributes["reset_mode"] == "none"


def test_groups_are_in_cores_of_their_own_and_relays_behind_their_layer() -> None:
    def dense(name: str, inputs: int, neurons: int, **fields: Any) -> Layer:
        weights, biases = np.full((neurons, inputs), 2), np.zeros(neurons, int)
        return dense_layer(name, weights, 8, biases, 9, (inputs,), **fields)

    beside = dense("beside", 4, 3, source="first")
    third = dense("third", 1500, 3, skips=(beside,))
    layers = (dense("first", 2, 4), dense("second", 4, 1500), third)
    network = network_of(InputSpec((2,), 4, 1.0, "constant"), layers, 4, "subtract", "count")
    groups = place(replace(network, firing_delay=2))
    assert [group.name for group in groups] == sorted(group.name for group in groups)
    found = [(one.layer, one.stage, one.neurons, one.first_core, one.cores) for one in groups]
    assert found == [
        *((0, 0, 4, 0, 1), (0, 1, 4, 1, 1), (0, 2, 4, 2, 1), (0, 3, 4, 3, 1)),
        *((1, 0, 1500, 4, 2), (2, 0, 3, 6, 1)),
    ]
    assert [groups[4].core_of(neuron) for neuron in (0, 1023, 1024, 1499)] == [4, 4, 5, 5]
    assert NEURONS_OF_A_CORE == 1024


def test_windows_follow_each_other_without_a_step_between_them() -> None:
    network = replace(small_network(), firing_delay=2)
    layers = schedule(network, 3)
    assert [one.delay for one in layers] == [2, 2, 0]
    assert [one.first for one in layers] == [0, 3, 6]
    first = layers[0]
    assert [first.firing_sample(step) for step in range(20)] == [
        *(None, None, 0, 0, 0, 0, None, None, 1, 1, 1, 1, None, None, 2, 2, 2, 2, None, None)
    ]
    assert [first.place(step) for step in (0, 17, 18, 19)] == [(0, 0), (2, 5), (3, 0), (3, 1)]
    assert layers[1].place(2) == (-1, 0)
    assert (first.last, layers[-1].last) == (17, 6 + 2 * 6 + 3)


def wide_network(neurons: int) -> QuantizedNetwork:
    spec = InputSpec((1,), 4, 1 / 15, "constant")
    first = dense_layer("first", np.full((neurons, 1), 2), 8, np.zeros(neurons, int), 9, (1,))
    weight = np.zeros((1, neurons), int)
    return network_of(
        spec, (first, dense_layer("out", weight, 8, [0], None, (neurons,))), 2, "zero"
    )


def test_what_it_cannot_run_exactly_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for network in (small_network(), small_network("zero"), small_graph_network("subtract")):
        check_exact(network)
    leaking = small_network("zero")
    layers = (changed(leaking.layers[0], current_decay=1024), *leaking.layers[1:])
    with pytest.raises(NetworkError, match=r"layer conv: its current decays by 1024/4096 a step"):
        check_exact(replace(leaking, layers=layers))
    (overflowing,) = [case for case in cases() if case.name == "subtract-overflow"]
    with pytest.raises(
        NetworkError, match=r"layer first: its state can reach -\d+ to \d+ .*±131072"
    ):
        check_exact(overflowing.network)
    check_exact(wide_network(127 * NEURONS_OF_A_CORE))
    with pytest.raises(NetworkError, match=r"takes 129 cores of 1024 neurons, .* has 128; use"):
        check_exact(wide_network(127 * NEURONS_OF_A_CORE + 1))
    monkeypatch.setattr(placement, "MOST_SYNAPSES", 20)
    with pytest.raises(NetworkError, match=r"it has 234 synapses between neurons, and 20 are"):
        check_exact(small_network())


def test_most_cases_of_the_conformance_suite_are_run_and_the_others_refused() -> None:
    run, refused = 0, 0
    for case in cases():
        if not case.padded:
            try:
                check_exact(case.network)
                run += 1
            except NetworkError:
                refused += 1
    assert (run, refused) == (301, 30)
