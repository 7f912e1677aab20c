"""A quantized network is valid or it is not built."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from networks import networks, small_network

from tandem_hw.errors import NetworkError
from tandem_hw.network import Conv2d, Dense, InputSpec, QuantizedNetwork

NETWORK = small_network()
CONV, HIDDEN, READOUT = NETWORK.layers
assert isinstance(CONV, Conv2d)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (1, 2)}, r"\(1, 2\)"),
        ({"shape": (0,)}, r"\(0,\)"),
        ({"shape": ()}, r"shape \(\)"),
        ({"bits": 0}, "input_bits is 0"),
        ({"bits": 9}, "input_bits is 9"),
        ({"scale": 0.0}, "scale is 0"),
        ({"scale": float("nan")}, "scale is nan"),
        ({"encoding": "rate"}, '"rate"'),
    ],
)
def test_impossible_inputs_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        replace(NETWORK.input, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": CONV.weight + 1}, "conv: weights must be even"),
        ({"weight": CONV.weight * 4}, "conv: weights from .* do not fit 8"),
        ({"weight": CONV.weight / 2}, "conv: weight is float64"),
        ({"weight": CONV.weight.astype(np.int64) << 20}, "conv: weight does not fit"),
        ({"weight": CONV.weight[:, :1]}, "conv: weights .* take 1 input channels"),
        ({"weight": CONV.weight[0]}, "conv: .*bias"),
        ({"weight_bits": 2}, "conv: weights from .* do not fit 2"),
        ({"bias": np.array([0, 0, 0, 9001])}, "conv: biases"),
        ({"bias": np.zeros(3, dtype=int)}, r"conv: .*one bias .*\(3,\)"),
        ({"threshold": 0}, "conv: threshold 0"),
        ({"threshold": 1001}, "conv: threshold 1001 has more"),
        ({"name": "a/b"}, "a/b"),
        ({"name": ""}, "layer name ''"),
        ({"stride": (0, 1)}, r"conv: stride \(0, 1\)"),
        ({"padding": (0, -1)}, r"conv: padding \(0, -1\)"),
        ({"dilation": (1,)}, r"conv: dilation \(1,\)"),
        ({"dilation": (9, 1)}, "conv: the kernel .* is larger"),
        ({"groups": 3}, "conv: 3 groups"),
        ({"input_shape": (50,)}, r"conv: .*\(50,\)"),
    ],
)
def test_impossible_convolutions_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        replace(CONV, **change)


def test_dense_weights_that_do_not_fit_the_input_are_refused() -> None:
    with pytest.raises(NetworkError, match=r"hidden: dense weights are \(6, 36\).*\(6, 32\)"):
        replace(HIDDEN, input_shape=(4, 4, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_steps": 0}, "num_steps is 0"),
        ({"num_steps": 5000}, "num_steps is 5000"),
        ({"reset": "soft"}, '"soft"'),
        ({"readout": "rate"}, '"rate"'),
        ({"readout": "count"}, "readout: a threshold is needed"),
        ({"readout_scale": -1.0}, "readout_scale is -1"),
        ({"layers": ()}, "no layers"),
        ({"layers": (CONV, READOUT)}, "readout takes"),
        ({"layers": (CONV, HIDDEN)}, "hidden: a threshold is not needed"),
        ({"layers": (replace(CONV, threshold=None),)}, "must be a dense layer"),
        ({"layers": (CONV, HIDDEN, replace(READOUT, name="conv"))}, "not unique"),
        ({"input": InputSpec((3, 5, 5), 4, 1.0)}, "conv takes"),
    ],
)
def test_layers_that_do_not_fit_together_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        replace(NETWORK, **change)


def test_a_sum_that_leaves_the_accumulator_is_refused_by_name() -> None:
    weight = np.full((1, 200), 254)
    spec = InputSpec((200,), 8, 1.0)
    layer = Dense("wide", weight, 8, np.zeros(1, dtype=int), None, (200,))
    with pytest.raises(NetworkError, match=r"wide: .*can reach 12954000"):
        QuantizedNetwork(spec, (layer,), 4, "zero")


def test_arrays_cannot_be_changed_from_inside_or_outside() -> None:
    weight = np.array([[2, 4]])
    layer = Dense("a", weight, 8, np.array([1]), 10, (2,))
    weight[0, 0] = 100
    assert layer.weight.tolist() == [[2, 4]]
    with pytest.raises(ValueError, match="read-only"):
        layer.weight[0, 0] = 6


CHANGES: list[dict[str, Any]] = [
    {"num_steps": 5},
    {"reset": "zero"},
    {"readout_scale": 2.0},
    {"input": replace(NETWORK.input, bits=5)},
    {"input": replace(NETWORK.input, scale=0.5)},
    {"input": replace(NETWORK.input, encoding="first_step")},
    *(
        {"layers": (replace(CONV, **change), HIDDEN, READOUT)}
        for change in (
            {"name": "other"},
            {"weight": -CONV.weight},
            {"bias": CONV.bias + 1},
            {"threshold": 3088},
        )
    ),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_the_digest_changes_with_every_field(change: dict[str, Any]) -> None:
    assert replace(NETWORK).digest == NETWORK.digest == small_network().digest
    assert replace(NETWORK, **change).digest != NETWORK.digest


def test_integers_of_numpy_and_python_make_the_same_network() -> None:
    conv = replace(CONV, stride=np.array([2, 2]), threshold=np.int64(3072), weight_bits=np.int8(8))
    layers = (conv, HIDDEN, READOUT)
    assert replace(NETWORK, layers=layers, num_steps=np.int32(4)).digest == NETWORK.digest


@settings(max_examples=60, deadline=None)
@given(networks())
def test_fan_out_counts_the_synapses_of_every_input(network: QuantizedNetwork) -> None:
    for layer in network:
        assert layer.fan_out.shape == layer.input_shape
        expected = [len(targets) for targets in oracle.synapses(layer)]
        assert layer.fan_out.reshape(-1).tolist() == expected
