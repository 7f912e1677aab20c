"""Spikes, spike rates and SynOps against MACs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tandem_hw.conformance import oracle
from tandem_hw.network.activity import activity_dict, summarise, total
from tandem_hw.network.quantized import QuantizedNetwork, Reset
from tandem_hw.sim.reference import ReferenceBackend
from tests.helpers.networks import (
    random_inputs,
    small_graph_network,
    small_image_network,
    small_network,
)


@pytest.mark.parametrize("make", [small_network, small_graph_network, small_image_network])
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_layers_are_summed_up_from_counts_and_synapses(
    reset: Reset, make: Callable[[Reset], QuantizedNetwork]
) -> None:
    network = make(reset)
    inputs = random_inputs(network, 5)
    recording = ReferenceBackend().run(network, inputs)
    layers = summarise(network, recording)
    assert [layer.name for layer in layers] == [layer.name for layer in network]
    synops = oracle.synops(network, inputs)
    for summary, layer in zip(layers, network, strict=True):
        paths = [oracle.synapses(one) for one in layer.synapses]
        assert summary.macs == sum(len(targets) for path in paths for targets in path)
        assert summary.synops_per_sample == np.mean(synops[layer.name])
        if not layer.fires:
            assert summary.spikes is None
            assert summary.spike_rate is None
        else:
            counts = recording.counts[layer.name]
            assert summary.spikes == counts.sum() > 0
            assert summary.spike_rate == counts.sum() / (counts.size * network.num_steps)


def test_totals_are_the_sums_and_their_ratio() -> None:
    network = small_network()
    layers = summarise(network, ReferenceBackend().run(network, random_inputs(network)))
    totals = total(layers)
    assert totals.macs_per_sample == sum(layer.macs for layer in layers) > 0
    assert totals.synops_per_mac == totals.synops_per_sample / totals.macs_per_sample > 0
    content = activity_dict(layers)
    assert content["synops_per_mac"] == totals.synops_per_mac
    assert [layer["name"] for layer in content["layers"]] == ["conv", "hidden", "readout"]
