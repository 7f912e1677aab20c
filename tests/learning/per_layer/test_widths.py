"""A width of weights for each layer: from the command line to the file and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tandem_hw.errors import ConversionError
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.checkpoint import Checkpoint, save_checkpoint
from tandem_hw.learning.per_layer.assignment import layer_names
from tandem_hw.learning.per_layer.widths import WeightBits, common_width, parse_widths
from tandem_hw.network.fixed_point import weight_limit
from tandem_hw.network.synapses.dense import OneToOne
from tandem_hw.training.warm_start import load_tandem_parameters
from tests.helpers.graph_networks import converted, inputs_of
from tests.helpers.kept_integers import assert_kept_everywhere


@pytest.mark.parametrize(
    ("text", "widths"),
    [
        ("5", 5),
        ("8,4,4,8", (8, 4, 4, 8)),
        ("conv1=4", {"conv1": 4}),
        ("conv1=8, dense5=6 ,others=4", {"conv1": 8, "dense5": 6, "others": 4}),
    ],
)
def test_widths_are_read(text: str, widths: WeightBits) -> None:
    assert parse_widths(text) == widths


def test_layers_that_are_not_named_have_the_width_of_the_others_or_8_bits() -> None:
    assert [common_width(one) for one in (5, (4, 3), {"a": 4}, {"a": 4, "others": 3})] == [
        *(5, 8, 8, 3)
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'weight_bits is ""; give one number'),
        ("8,x", 'weight_bits is "8,x"; give one number, as many as there are layers with weights'),
        ("8,conv1=4", 'weight_bits is "8,conv1=4"; give one number'),
        ("conv1=4,conv1=5", "which names a layer twice"),
        ("9", "weight_bits is 9; allowed are 2 to 8"),
        ("8,1,8", "weight_bits of layer 2 is 1; allowed are 2 to 8"),
        ("conv1=4,others=9", "weight_bits of others is 9; allowed are 2 to 8"),
    ],
)
def test_what_are_no_widths_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        parse_widths(text)


def found_widths(network: Any) -> dict[str, set[int]]:
    return {
        layer.name: {one.weight_bits for one in layer.synapses if not isinstance(one, OneToOne)}
        for layer in network.layers
    }


@pytest.mark.parametrize(
    "name",
    [
        "residual",
        pytest.param("autoencoder", marks=pytest.mark.exhaustive),
        pytest.param("one axis", marks=pytest.mark.exhaustive),
    ],
)
def test_every_layer_has_its_width_in_training_evaluation_reference_and_file(
    name: str, tmp_path: Path
) -> None:
    weighted = [layer for layer, bits in found_widths(freeze_of(converted(name))).items() if bits]
    widths = [(3, 8, 4, 5, 7, 6)[index % 6] for index in range(len(weighted))]
    model = converted(name, weight_bits=widths, initial_potential=0.5)
    inputs = inputs_of(model)
    with torch.no_grad():
        for _ in range(20):  # until the running statistics are those of the inputs
            model(inputs)
    network = freeze(model.eval())
    assert found_widths(network) == {
        layer.name: ({widths[weighted.index(layer.name)]} if layer.name in weighted else set())
        for layer in network.layers
    }
    for layer in network.layers:
        for one in layer.synapses:
            if not isinstance(one, OneToOne):
                assert np.abs(one.weight).max() <= weight_limit(one.weight_bits)
    assert_kept_everywhere(model, network, inputs, tmp_path)
    # By name it is the same network; and with one width it is the one of that width.
    by_name = dict(zip(weighted, widths, strict=True)) | {"others": 2}
    named = converted(name, weight_bits=by_name, initial_potential=0.5)
    named.load_state_dict(model.state_dict())
    assert freeze(named).digest == network.digest
    same = converted(name, weight_bits=[4] * len(weighted))
    assert freeze_of(same).digest == freeze_of(converted(name, weight_bits=4)).digest


def freeze_of(model: Any) -> Any:
    model(inputs_of(model))
    return freeze(model.eval())


def test_another_number_and_other_names_are_refused() -> None:
    with pytest.raises(ConversionError, match="weight_bits has 2 numbers, and the network 5"):
        converted("one axis", weight_bits=(8, 4))
    with pytest.raises(ConversionError, match="weight_bits names conv9, which is no layer w"):
        converted("one axis", weight_bits={"conv9": 4})
    with pytest.raises(ConversionError, match="weight_bits of layer 2 is 9; allowed are 2 to 8"):
        converted("one axis", weight_bits=(8, 9, 8, 8, 8))


def test_a_skip_has_the_width_of_its_layer() -> None:
    architecture = converted("residual").architecture
    index = next(index for index, one in enumerate(architecture.layers) if one.skips)
    layers = list(architecture.layers)
    skips = (replace(layers[index].skips[0], weight_bits=4), *layers[index].skips[1:])
    layers[index] = replace(layers[index], skips=skips)
    with pytest.raises(ConversionError, match=f"a skip of layer {index} has weight_bits or"):
        replace(architecture, layers=tuple(layers))
    layers[index] = replace(architecture.layers[index], weight_bits=9)
    with pytest.raises(ConversionError, match=f"weight_bits of layer {index} is 9; allowed are 2"):
        replace(architecture, layers=tuple(layers))


def test_weights_start_a_network_of_other_widths(tmp_path: Path) -> None:
    model = converted("one axis", weight_bits=(8, 4, 8, 4, 8))
    save_checkpoint(Checkpoint(model), tmp_path / "a.pt")
    other = converted("one axis", weight_bits=3)
    load_tandem_parameters(other, tmp_path / "a.pt")
    assert found_widths(freeze_of(other))["conv1"] == {3}


def test_names_are_those_of_the_layers() -> None:
    model = converted("joined")
    names = layer_names(model.architecture.layers)
    for name, layer in zip(names, model.layers, strict=True):
        assert getattr(layer, "name", name) == name
    assert len({layer.name for layer in model.tandem_layers} & set(names)) >= 6
