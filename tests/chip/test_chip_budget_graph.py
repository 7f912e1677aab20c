"""The chip budget of one-dimensional and transposed convolutions, skip paths and relays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tandem_hw.chip import constants as chip_constants
from tandem_hw.chip.budget import chip_budget
from tandem_hw.chip.connection_matrix import connection_matrix
from tandem_hw.chip.partition import layer_budget
from tandem_hw.chip.synapse_memory import dense_words, synapse_use
from tandem_hw.cli import main
from tandem_hw.cli.work.network_tables import layer_tables
from tandem_hw.conformance.layers import (
    changed,
    conv1d_layer,
    conv2d_layer,
    conv_transpose2d_layer,
)
from tandem_hw.conformance.random_layers import identity
from tandem_hw.export.net_file import write_net
from tandem_hw.network.layers import Layer
from tandem_hw.network.quantized import QuantizedNetwork, Reset
from tandem_hw.network.synapses.convolutions import ConvTranspose2d
from tandem_hw.sim.reference import ReferenceBackend
from tests.helpers.chip_layers import check_cores, chip_network, convolution, dense
from tests.helpers.networks import random_inputs


def transposed(shape: tuple[int, int, int], channels: int, **geometry: Any) -> Layer:
    groups = geometry.get("groups", 1)
    weight = np.full((channels, shape[0] // groups, 3, 3), 2, np.int16)
    return conv_transpose2d_layer(
        "up", weight, 8, np.zeros(channels, np.int32), 64, shape, **geometry
    )


def residual(reset: Reset = "zero") -> QuantizedNetwork:
    """Return three convolutions, the first of which reaches the last one past the second."""
    shape = (2, 6, 6)
    first, second, third = (
        convolution(shape, 2, padding=(1, 1), name=name) for name in ("first", "second", "third")
    )
    third = changed(third, skips=(identity(shape, "first", 32, "skip"),))
    last = changed(dense(72, 3, name="last"), input_shape=shape)
    return chip_network(first, second, third, last, reset=reset, num_steps=4)


@pytest.mark.parametrize("cores", [1, 2, 5, 16])
@pytest.mark.parametrize("geometry", [{}, {"stride": (2, 2), "padding": (1, 1), "groups": 2}])
def test_a_transposed_convolution_takes_the_words_of_its_matrix(
    geometry: dict[str, Any], cores: int
) -> None:
    layer = transposed((4, 5, 6), 6, **geometry)
    share = -(-layer.num_neurons // cores)
    (path,) = layer.synapses
    assert isinstance(path, ConvTranspose2d)
    reached = connection_matrix(path).toarray() != 0
    pieces = [reached[start : start + share] for start in range(0, layer.num_neurons, share)]
    synapses = [piece.sum(axis=0) for piece in pieces]  # of each axon of a core
    use = synapse_use(path, share, share)
    words = [sum(dense_words(int(count)) for count in core) for core in synapses]
    assert use.words == max(words)
    assert use.axons_in == max(np.count_nonzero(core) for core in synapses)


def test_a_transposed_convolution_is_split_as_a_dense_layer_is() -> None:
    layer = transposed((64, 16, 16), 32, stride=(2, 2))
    budget = layer_budget(layer)
    check_cores(budget, 32 * 33 * 33)
    assert budget.block is None
    # All of its synapses at 3.1 a word need 127 cores; words and cores that are not full double it.
    least = layer.synapses[0].fan_out.sum() / 3.1 / chip_constants.SYNAPSE_WORDS_PER_CORE
    assert least < budget.cores < 2.5 * least


def test_a_convolution_over_one_axis_is_an_image_of_height_1() -> None:
    weight, bias = np.zeros((8, 4, 5), np.int16), np.zeros(8, np.int32)
    series = conv1d_layer("series", weight, 8, bias, 64, (4, 1000), padding=(2,))
    image = conv2d_layer("image", weight[:, :, None], 8, bias, 64, (4, 1, 1000), padding=(0, 2))
    budget = layer_budget(series)
    assert budget == replace(layer_budget(image), name="series")
    assert budget.cores > 1


def test_synapses_of_a_skip_lie_in_the_cores_of_the_neurons_and_relays_in_their_own() -> None:
    network = residual()
    budget = chip_budget(network)
    first, _, third, _ = budget.layers
    neurons = 72
    assert first.core.neurons == third.core.neurons
    assert third.core.synapse_words == first.core.synapse_words + third.core.neurons
    assert third.core.axons_in == first.core.axons_in + third.core.neurons
    (relay,) = budget.relays
    assert (relay.name, relay.neurons, relay.total_cores) == ("first, relay 1", neurons, 1)
    core = relay.core
    assert (core.synapse_words, core.axons_in, core.axons_out) == (neurons,) * 3
    assert budget.cores == sum(layer.total_cores for layer in budget.layers) + 1
    assert budget.latency == 4 + 4
    assert json.loads(json.dumps(budget.as_dict()))["relays"][0]["name"] == relay.name
    fan_out = sum(float(layer.synapses[0].fan_out.sum()) for layer in network.layers[1:])
    spikes = neurons * 4  # of one layer, all of its neurons in every step
    into_skip, into_relay = spikes, spikes
    synops = (
        float(network.layers[0].synapses[0].fan_out.sum()) + fan_out * 4 + into_skip + into_relay
    )
    assert budget.energy.synops == synops
    assert budget.energy.neuron_updates == (4 * neurons + 3) * 4


def test_relays_add_a_synop_to_every_recorded_spike_that_they_hand_on() -> None:
    network = residual()
    layers = tuple(
        changed(layer, weight=np.full_like(layer.synapses[0].weight, 8), threshold=32)
        for layer in network
    )
    network = replace(network, layers=layers)
    recording = ReferenceBackend().run(network, random_inputs(network, 4))
    spikes = float(recording.counts["first"].sum()) / 4
    assert spikes > 10
    energy = chip_budget(network, recording).energy
    assert energy.synops == pytest.approx(recording.synops_per_sample + spikes)


def test_inspect_shows_sources_skips_and_relays(tmp_path: Path) -> None:
    network = residual()
    write_net(network, tmp_path / "model.net")
    out = tmp_path / "net.json"
    result = CliRunner().invoke(
        main, ["inspect", str(tmp_path / "model.net"), "--chip", "--json", str(out)]
    )
    assert result.exit_code == 0
    content = json.loads(out.read_text(encoding="utf-8"))
    assert [layer["source"] for layer in content["layers"]] == ["input", "first", "second", "third"]
    assert [layer["depth"] for layer in content["layers"]] == [1, 2, 3, 4]
    assert [layer["delay"] for layer in content["layers"]] == [0] * 4
    assert [len(layer["skips"]) for layer in content["layers"]] == [0, 0, 1, 0]
    assert content["layers"][2]["skips"][0] == {
        "name": "skip", "kind": "OneToOne", "source": "first", "delay": 1, "weights": 1,
        "weight_bits": 8,
    }  # fmt: skip
    shown = " ".join(result.stdout.split())
    assert "+ skip" in shown
    assert "first, relay 1" in shown
    description = " ".join(" ".join(cells) for cells in _skip_row(network))
    assert description == "first, held back 1 step one to one, 32 2×6×6 1 "


def _skip_row(network: QuantizedNetwork) -> list[list[str]]:
    """Return the cells of the table's row of the skip, from the source to the bits."""
    (table,) = layer_tables(network, 1000)
    return [[str(column._cells[3]) for column in table.columns[1:6]]]
