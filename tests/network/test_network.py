"""A quantized network is valid or it is not built."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tandem_hw.conformance import oracle
from tandem_hw.conformance.layers import (
    changed,
    conv2d_layer,
    dense_layer,
    network_of,
    one_to_one_layer,
)
from tandem_hw.errors import NetworkError
from tandem_hw.network.layers import Layer, Neurons
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork
from tandem_hw.network.synapses.convolutions import Conv2d
from tandem_hw.network.synapses.geometry import Geometry
from tests.helpers.networks import networks, small_network

NETWORK = small_network()
CONV, HIDDEN, READOUT = NETWORK.layers
assert isinstance(CONV.synapses[0], Conv2d)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (1, 2, 3, 4)}, r"\(1, 2, 3, 4\)"),
        ({"shape": (1, 0)}, r"\(1, 0\)"),
        ({"shape": (0,)}, r"\(0,\)"),
        ({"shape": ()}, r"shape \(\)"),
        ({"bits": 0}, "input_bits is 0"),
        ({"bits": 9}, "input_bits is 9"),
        ({"bits": 3.5}, "bits 3.5 is not made of integers"),
        ({"shape": (2, 5, 5.5)}, r"shape \(2, 5, 5.5\) is not"),
        ({"scale": 0.0}, "scale is 0"),
        ({"scale": float("inf")}, "scale is inf"),
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
        ({"weight": CONV.synapses[0].weight + 1}, "conv: weights must be even"),
        ({"weight": CONV.synapses[0].weight * 4}, "conv: weights from .* do not fit 8"),
        ({"weight": CONV.synapses[0].weight / 2}, "conv: weight is float64"),
        ({"weight": CONV.synapses[0].weight.astype(np.int64) << 20}, "conv: weight does not fit"),
        ({"weight": np.int16(2)}, r"conv: there are no weights in an array of shape \(\)"),
        ({"weight": CONV.synapses[0].weight[..., 0]}, "conv: a convolution takes"),
        ({"weight": CONV.synapses[0].weight[:, :1]}, "conv: weights .* take 1 input channel a"),
        ({"weight": CONV.synapses[0].weight[0]}, "conv: a convolution takes"),
        (
            {"weight": CONV.synapses[0].weight[:0], "bias": CONV.neurons.bias[:0]},
            "conv: there are no",
        ),
        ({"weight_bits": 1}, "conv: weight_bits is 1"),
        ({"weight_bits": 8.5}, "conv: weight_bits 8.5 is not"),
        ({"weight_bits": 2}, "conv: weights from .* do not fit 2"),
        ({"bias": np.array([0, 0, 0, 9001])}, "conv: biases"),
        ({"bias": np.zeros(3, dtype=int)}, r"conv: .*one bias .*\(3,\)"),
        ({"bias": np.array([0, 0, 0, 4097])}, "conv: biases from 0 to 4097"),
        ({"bias": np.zeros(4)}, "conv: bias is float64"),
        ({"bias": np.full(4, 1 << 40)}, "conv: bias does not fit"),
        ({"threshold": 0}, "conv: threshold 0"),
        ({"threshold": (1 << 17) + 1024}, "conv: threshold 132096 is outside"),
        ({"threshold": 3072.5}, "conv: threshold 3072.5 is not"),
        ({"current_decay": 4097}, "conv: current_decay is 4097"),
        ({"current_decay": -1}, "conv: current_decay is -1"),
        ({"current_decay": 0.5}, "conv: current_decay 0.5 is not"),
        ({"current_decay": None}, "conv: current_decay None is not"),
        ({"voltage_decay": 4097}, "conv: voltage_decay is 4097"),
        ({"voltage_decay": -1}, "conv: voltage_decay is -1"),
        ({"name": "a/b"}, "a/b"),
        ({"name": ""}, "layer name ''"),
        ({"name": "a\n"}, "printable"),
        ({"stride": (0, 1)}, r"conv: stride \(0, 1\)"),
        ({"stride": 2}, "conv: stride 2 must be two"),
        ({"stride": (1.5, 2)}, r"conv: stride \(1.5, 2\) is not"),
        ({"stride": (1, 1, 1)}, r"conv: stride \(1, 1, 1\)"),
        ({"padding": (0, -1)}, r"conv: padding \(0, -1\)"),
        ({"dilation": (1,)}, r"conv: dilation \(1,\)"),
        ({"dilation": (9, 1)}, "conv: the kernel .* is larger"),
        ({"groups": 3}, "conv: 3 groups"),
        ({"groups": 0}, "conv: 0 groups"),
        ({"groups": 2}, "conv: weights .* take 2 input channels a group"),
        ({"input_shape": None}, "conv: input_shape None is not"),
        ({"input_shape": (50,)}, r"conv: .*\(50,\)"),
    ],
)
def test_impossible_convolutions_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        changed(CONV, **change)


def test_dense_weights_that_do_not_fit_the_input_are_refused() -> None:
    with pytest.raises(NetworkError, match=r"hidden: dense weights are \(6, 36\).*\(6, 32\)"):
        changed(HIDDEN, input_shape=(4, 4, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_steps": 0}, "num_steps is 0"),
        ({"num_steps": 4.7}, "num_steps 4.7 is not"),
        ({"num_steps": None}, "num_steps None is not"),
        ({"num_steps": 5000}, "num_steps is 5000"),
        ({"reset": "soft"}, '"soft"'),
        ({"readout": "rate"}, '"rate"'),
        ({"readout": "count"}, "readout: a threshold is needed"),
        ({"readout_scale": -1.0}, "readout_scale is -1"),
        ({"readout_scale": float("nan")}, "readout_scale is nan"),
        ({"layers": ()}, "no layers"),
        ({"layers": (CONV, changed(READOUT, source="conv"))}, "readout takes"),
        ({"layers": (CONV, HIDDEN)}, "hidden: a threshold is not needed"),
        ({"layers": (changed(CONV, threshold=None),), "readout": "count"}, "conv: a threshold is"),
        ({"layers": (CONV, HIDDEN, changed(READOUT, name="conv"))}, "not unique"),
        ({"input": InputSpec((3, 5, 5), 4, 1.0)}, "conv takes"),
        ({"layers": (changed(CONV, threshold=1001), HIDDEN, READOUT)}, "conv: threshold 1001 has"),
        ({"layers": (changed(CONV, current_decay=9), HIDDEN, READOUT)}, 'conv: .*reset "subtract"'),
        ({"layers": (changed(CONV, voltage_decay=9), HIDDEN, READOUT)}, 'conv: .*reset "subtract"'),
        (
            {"layers": (CONV, HIDDEN, changed(READOUT, voltage_decay=9)), "reset": "zero"},
            "readout: current_decay 4096 and voltage_decay 9 .* a readout",
        ),
    ],
)
def test_layers_that_do_not_fit_together_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        replace(NETWORK, **change)


def test_a_threshold_of_many_bits_needs_no_mantissa_where_nothing_is_subtracted() -> None:
    odd = changed(CONV, threshold=100_001)
    network = replace(NETWORK, layers=(odd, HIDDEN, READOUT), reset="zero")
    assert network.layers[0].neurons.threshold == 100_001


def test_a_sample_of_events_holds_every_step() -> None:
    events = replace(NETWORK, input=replace(NETWORK.input, encoding="events"))
    assert NETWORK.sample_shape == (2, 5, 5)
    assert events.sample_shape == (4, 2, 5, 5)


def test_the_result_may_be_an_image() -> None:
    image = changed(CONV, threshold=None)
    network = replace(NETWORK, layers=(image,))
    assert (network.outputs, network.depth) == (4 * 3 * 3, 1)
    assert (NETWORK.outputs, NETWORK.depth) == (3, 3)


def test_a_sum_of_paths_that_leaves_the_accumulator_is_refused_by_name() -> None:
    weight = np.full((1, 100), 254)  # 100 * 254 * 255 fits 24 bits, twice as much does not
    spec = InputSpec((100,), 8, 1.0)
    layer = dense_layer("wide", weight, 8, np.zeros(1, dtype=int), None, (100,))
    network_of(spec, (layer,), 4, "zero")
    both = changed(layer, skips=(changed(layer, name="skip", source="input"),))
    with pytest.raises(NetworkError, match=r"wide: .*can reach 12954000"):
        network_of(spec, (both,), 4, "zero")


def test_a_sum_that_leaves_the_accumulator_is_refused_by_name() -> None:
    weight = np.full((1, 200), 254)
    spec = InputSpec((200,), 8, 1.0)
    layer = dense_layer("wide", weight, 8, np.zeros(1, dtype=int), None, (200,))
    with pytest.raises(NetworkError, match=r"wide: .*can reach 12954000"):
        network_of(spec, (layer,), 4, "zero")


def test_arrays_cannot_be_changed_from_inside_or_outside() -> None:
    weight, bias = np.array([[2, 4]], dtype=np.int16), np.array([1], dtype=np.int32)
    layer = dense_layer("a", weight, 8, bias, 10, (2,))
    weight[0, 0], bias[0] = 100, 100
    assert (layer.synapses[0].weight.tolist(), layer.neurons.bias.tolist()) == ([[2, 4]], [1])
    for array in (layer.synapses[0].weight, layer.neurons.bias, layer.bias_image()):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 6


@pytest.mark.parametrize("item", [NETWORK, NETWORK.input, CONV, CONV.neurons, *CONV.synapses])
def test_no_field_can_be_set_again(item: Any) -> None:
    for field in fields(item):
        with pytest.raises(FrozenInstanceError):
            setattr(item, field.name, getattr(item, field.name))


def one_pixel(**changes: Any) -> QuantizedNetwork:
    """Return a network whose every field can be changed without another one having to follow.

    The convolution's one output stays one under any small change of its geometry.
    """
    conv = {
        "name": "conv",
        "weight": np.full((2, 2, 1, 1), 4),
        "weight_bits": 8,
        "bias": np.array([3, 4]),
        "threshold": 8,
        "input_shape": (2, 3, 3),
        "stride": (9, 9),
        "padding": (0, 0),
        "dilation": (1, 1),
        "groups": 1,
        "current_decay": 4096,
        "voltage_decay": 0,
        "source": "",
        "skips": (),
    }
    spec = {"shape": (2, 3, 3), "bits": 4, "scale": 0.5, "encoding": "first_step"}
    whole = {"num_steps": 4, "reset": "zero", "readout": "potential", "readout_scale": 1.0}
    for group in (conv, spec, whole):
        group.update((name, changes[name]) for name in group.keys() & changes.keys())
    threshold = None if whole["readout"] == "potential" else 8
    last = dense_layer("last", np.full((2, 2), 2), 8, np.zeros(2, dtype=int), threshold, (2, 1, 1))
    layers = (conv2d_layer(**conv), changed(last, **changes.get("last", {})))  # type: ignore[arg-type]
    network = network_of(InputSpec(**spec), layers, **whole)  # type: ignore[arg-type]
    return replace(network, firing_delay=changes.get("firing_delay", 0))


CHANGES: list[dict[str, Any]] = [
    {"shape": (2, 2, 3), "input_shape": (2, 2, 3)},
    {"bits": 5},
    {"scale": 0.25},
    {"encoding": "constant"},
    {"name": "other"},
    {"weight": np.full((2, 2, 1, 1), -4)},
    {"weight_bits": 7},
    {"bias": np.array([4, 3])},
    {"threshold": 9},
    {"stride": (9, 8)},
    {"padding": (0, 1)},
    {"dilation": (2, 1)},
    {"groups": 2, "weight": np.full((2, 1, 1, 1), 4)},
    {"current_decay": 4095},
    {"voltage_decay": 1},
    {
        "skips": (
            conv2d_layer(
                "skip",
                CONV.synapses[0].weight[:2, :, :1, :1],
                8,
                [0, 0],
                None,
                (2, 3, 3),
                stride=(9, 9),
                source="input",
            ),
        )
    },
    {"num_steps": 5},
    {"reset": "subtract"},
    {"firing_delay": 1, "reset": "subtract"},
    {"readout": "count"},
    {"readout_scale": 2.0},
    {"last": {"weight": np.full((2, 2), 4)}},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_the_digest_changes_with_every_field(change: dict[str, Any]) -> None:
    assert one_pixel().digest == one_pixel().digest
    assert one_pixel(**change).digest != one_pixel().digest


def test_the_digest_changes_with_the_firing_delay_alone() -> None:
    digests = {one_pixel(reset="subtract", firing_delay=delay).digest for delay in range(3)}
    assert len(digests) == 3
    assert one_pixel(reset="subtract").digest in digests  # 0 is what there was before it


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"firing_delay": 4}, "firing_delay is 4; allowed are 0 to 3"),
        ({"firing_delay": -1}, "firing_delay is -1; allowed are 0 to 3"),
        ({"firing_delay": 1.5}, "firing_delay 1.5 is not made of integers"),
        ({"firing_delay": 1, "reset": "zero"}, 'firing_delay is 1 with reset "zero"'),
    ],
)
def test_a_firing_delay_that_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    network = one_pixel(reset="subtract", num_steps=4)
    with pytest.raises(NetworkError, match=re.escape(message)):
        replace(network, **fields)


def test_a_window_starts_behind_the_delays_of_the_layers_before() -> None:
    events = one_pixel(reset="subtract", num_steps=4, firing_delay=2, encoding="events")
    assert events.wiring.firing_delays == (2, 0)  # a readout by potential has nothing to wait for
    assert events.wiring.starts == (1, 4)
    once = replace(events, input=replace(events.input, encoding="first_step"))
    assert once.wiring.firing_delays == (0, 0)  # all that comes in comes in the first step
    assert once.wiring.starts == once.wiring.depths == (1, 2)


def test_every_field_is_among_those_whose_change_is_tried() -> None:
    kinds = (InputSpec, Conv2d, Geometry, Neurons, QuantizedNetwork)
    known = {field.name for kind in kinds for field in fields(kind)}
    known -= {"input", "layers", "geometry", "meaning"}  # no digest has what outputs mean
    assert {name for change in CHANGES for name in change} - {"last", "skips"} == known


def test_digests_are_those_of_networks_that_knew_no_sources_and_skips() -> None:
    # Made by version 0.1 of the package, before layers had these fields.
    assert one_pixel().digest == "f5ea001492f042378265aa4b7b1ef8a8dc8679d43da56f405f3fd742239a9375"
    counted = one_pixel(readout="count", current_decay=7)
    assert counted.digest == "77ebdc298ba3a34c0a2f219e9939f254fb1b6eb18fabe125595df0a6799fdbf5"


def with_skips(*skips: Layer) -> QuantizedNetwork:
    """Return a network of three convolutions of one pixel, the last of them with skips."""
    first, last = one_pixel().layers
    middle = changed(SKIP, name="middle", threshold=8)
    block = changed(middle, name="block", source="middle", skips=skips)
    return replace(one_pixel(), layers=(first, middle, block, changed(last, source="block")))


SKIP = conv2d_layer(
    "skip", np.full((2, 2, 1, 1), 4), 8, np.zeros(2, int), None, (2, 1, 1), source="conv"
)  # fmt: skip


def test_the_digest_changes_with_every_field_of_a_skip() -> None:
    other = np.full((2, 1, 1, 1), 4)
    identity = one_to_one_layer(
        "skip", np.array([4]), 8, np.zeros(1, int), None, (2, 1, 1), source="conv"
    )
    second = changed(SKIP, name="second")
    networks = [
        with_skips(),
        *(with_skips(skip) for skip in (SKIP, second, identity)),
        *(with_skips(*skips) for skips in ((SKIP, second), (second, SKIP))),
        with_skips(changed(SKIP, weight=-SKIP.synapses[0].weight)),
        with_skips(changed(SKIP, weight_bits=7)),
        with_skips(changed(SKIP, source="middle")),
        with_skips(changed(SKIP, groups=2, weight=other)),
        *(with_skips(changed(SKIP, **{name: (2, 3)})) for name in ("stride", "dilation")),
    ]
    assert len({network.digest for network in networks}) == len(networks)


def test_the_kind_and_the_order_of_layers_are_in_the_digest() -> None:
    weight, bias = np.full((2, 2), 4), np.zeros(2, dtype=int)
    dense = dense_layer("a", weight, 8, bias, 8, (2, 1, 1))
    conv = conv2d_layer("a", weight.reshape(2, 2, 1, 1), 8, bias, 8, (2, 1, 1))
    spec = InputSpec((2, 1, 1), 4, 1.0)
    second, third = (dense_layer(name, weight, 8, bias, 8, (2,)) for name in ("b", "c"))
    last = dense_layer("last", weight, 8, bias, None, (2,))
    digests = {
        network_of(spec, layers, 4, "zero").digest
        for layers in (
            (dense, second, third, last),
            (dense, third, second, last),
            (conv, changed(second, input_shape=(2, 1, 1)), third, last),
            (dense, second, last),
        )
    }
    assert len(digests) == 4


def test_integers_of_numpy_and_python_make_the_same_network() -> None:
    conv = changed(CONV, stride=np.array([2, 2]), threshold=np.int64(3072), weight_bits=np.int8(8))
    layers = (conv, HIDDEN, READOUT)
    numbers: dict[str, Any] = {"num_steps": np.int32(4)}
    assert replace(NETWORK, layers=layers, **numbers).digest == NETWORK.digest


@settings(max_examples=60, deadline=None, derandomize=True)
@given(networks())
def test_fan_out_counts_the_synapses_of_every_input(network: QuantizedNetwork) -> None:
    for synapses in (one for layer in network for one in layer.synapses):
        assert synapses.fan_out.shape == synapses.input_shape
        expected = [len(targets) for targets in oracle.synapses(synapses)]
        assert synapses.fan_out.reshape(-1).tolist() == expected
