"""NeuroBench's numbers, against its definitions walked synapse by synapse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings

from tandem_hw.conformance import oracle
from tandem_hw.conformance.layers import changed, dense_layer, network_of
from tandem_hw.errors import NetworkError
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.synapses.kind import Synapses
from tandem_hw.report.neurobench import WorkloadTally, named, nonzero_fan_out, static_metrics
from tandem_hw.sim.reference import ReferenceBackend
from tests.helpers.networks import networks, random_inputs, small_network


def with_zeros(network: QuantizedNetwork) -> QuantizedNetwork:
    """Return a network some of whose weights are 0, those of one-to-one synapses excepted."""
    generator = np.random.default_rng(3)
    layers = []
    for layer in network.layers:
        inputs = tuple(
            one._replace(
                synapses=replace(
                    one.synapses,
                    weight=one.synapses.weight
                    * generator.integers(0, 2, one.synapses.weight.shape),
                )
            )
            if one.synapses.weight.size > 1
            else one
            for one in layer.inputs
        )
        layers.append(replace(layer, inputs=inputs))
    return replace(network, layers=tuple(layers))


def counted(synapses: Synapses) -> npt.NDArray[np.int64]:
    """Count, one by one, the synapses other than zero of each input."""
    targets = oracle.synapses(synapses)
    counts = [sum(weight != 0 for _, weight in reached) for reached in targets]
    return np.array(counts).reshape(synapses.input_shape)


@settings(max_examples=20)
@given(network=networks())
def test_synapses_other_than_zero_are_counted(network: QuantizedNetwork) -> None:
    for layer in with_zeros(network):
        for synapses in layer.synapses:
            assert np.array_equal(nonzero_fan_out(synapses), counted(synapses))
    for layer in network:
        for synapses in layer.synapses:
            if (synapses.weight != 0).all():
                assert np.array_equal(nonzero_fan_out(synapses), synapses.fan_out)


class Foreign(Synapses):
    """A kind that nobody knows."""


def test_a_kind_that_is_not_known_is_refused() -> None:
    foreign = object.__new__(Foreign)
    object.__setattr__(foreign, "name", "x")
    with pytest.raises(NetworkError, match="layer x is a Foreign, which the count of synapses"):
        nonzero_fan_out(foreign)


@pytest.mark.parametrize("bits", [4, 1])
def test_operations_are_those_of_spikes_and_of_graded_inputs(bits: int) -> None:
    network = with_zeros(small_network())
    conv, *others = network.layers
    lively = replace(conv, neurons=replace(conv.neurons, threshold=192))
    network = replace(network, input=replace(network.input, bits=bits), layers=(lively, *others))
    inputs = random_inputs(network, 10)
    tally, passed, spikes = WorkloadTally(network), {layer.name: 0 for layer in network}, 0
    for part in (slice(0, 3), slice(3, 10)):
        recording = ReferenceBackend().run(network, inputs[part])
        tally.add(recording, inputs[part])
        sent: list[npt.NDArray[Any]] = [network.input.spikes(inputs[part], network.num_steps)]
        sent += recording.counts.values()
        spikes += sum(int(counts.sum()) for counts in recording.counts.values())
        for layer, counts in zip(network, sent, strict=True):
            (synapses,) = layer.synapses
            passed[layer.name] += int((counts * counted(synapses)).sum())
    found = tally.metrics()
    operations = found["synaptic_operations"]
    first, *later = (passed[layer.name] / 10 for layer in network)
    assert spikes > 100
    graded, binary = (first, sum(later)) if bits > 1 else (0, first + sum(later))
    assert operations["Effective_MACs"] == pytest.approx(graded, rel=1e-12)
    assert operations["Effective_ACs"] == pytest.approx(binary, rel=1e-12)
    synapses_of_all = sum(int(layer.synapses[0].fan_out.sum()) for layer in network)
    assert operations["Dense"] == synapses_of_all * network.num_steps
    assert operations["Effective_MACs"] + operations["Effective_ACs"] < operations["Dense"]
    neurons = sum(layer.num_neurons for layer in network.spiking_layers)
    assert found["activation_sparsity"] == 1 - spikes / (neurons * network.num_steps * 10)


def test_a_network_without_spiking_neurons_is_not_sparse() -> None:
    network = small_network()
    weight = 2 * np.ones((3, 50), int)
    network = network_of(
        network.input,
        (dense_layer("only", weight, 8, np.zeros(3, int), None, (2, 5, 5)),),
        4,
        "zero",
    )
    inputs = random_inputs(network, 2)
    tally = WorkloadTally(network)
    tally.add(ReferenceBackend().run(network, inputs), inputs)
    assert tally.metrics()["activation_sparsity"] == 0.0


def test_the_footprint_is_that_of_weights_biases_and_thresholds() -> None:
    network = small_network()
    conv, hidden, readout = network.layers
    network = replace(network, layers=(conv, changed(hidden, weight_bits=8), readout))
    sizes = [int(layer.synapses[0].weight.size) for layer in network]
    bits = sum(sizes) * 8 + (4 + 6 + 3) * 16 + 2 * 24
    zeros = sum(int((layer.synapses[0].weight == 0).sum()) for layer in network)
    found = static_metrics(network)
    assert found == {"footprint": bits / 8, "connection_sparsity": zeros / sum(sizes)}


def test_metrics_have_neurobenchs_names() -> None:
    assert named({"accuracy": 0.5}) == {"classification_accuracy": 0.5}
    assert named({"mse": 1.0, "mae": 2.0, "r2": 0.3, "psnr": 4.0}) == {"mse": 1.0, "r2": 0.3}
