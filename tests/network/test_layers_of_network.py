"""Layers are PyTorch's of the same name, and their graph is refused or in step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem_hw.conformance import oracle
from tandem_hw.conformance.layers import changed, connected, make, network_of
from tandem_hw.errors import NetworkError
from tandem_hw.network.layers import chain
from tandem_hw.network.quantized import InputSpec, Layer, QuantizedNetwork, Shape
from tandem_hw.network.synapses.convolutions import Conv1d, Conv2d, Convolution, ConvTranspose2d
from tandem_hw.network.synapses.dense import Dense, OneToOne, one_to_one_parts
from tandem_hw.network.synapses.geometry import TransposedGeometry
from tandem_hw.network.synapses.kind import Synapses
from tandem_hw.network.wiring import wire
from tests.helpers.networks import networks

Float64 = torch.float64


def all_synapses(network: QuantizedNetwork) -> Iterator[Synapses]:
    for layer in network:
        yield from layer.synapses


# Against PyTorch ---------------------------------------------------------------------------------


def in_pytorch(layer: Synapses) -> torch.nn.Module:
    """Return PyTorch's own layer with the same weights."""
    weight = torch.from_numpy(layer.weight.astype(np.float64))
    made: torch.nn.Module
    if isinstance(layer, Dense):
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=Float64)
        linear.weight.data = weight
        return torch.nn.Sequential(torch.nn.Flatten(), linear)
    assert isinstance(layer, Convolution)
    arguments: dict[str, Any] = {
        name: getattr(layer.geometry, name) for name in ("stride", "padding", "dilation", "groups")
    }
    channels = (layer.input_shape[0], layer.weight.shape[0])
    kernel: Any = layer.weight.shape[2:]
    arguments |= {"bias": False, "dtype": Float64}
    if isinstance(layer.geometry, TransposedGeometry):
        arguments["output_padding"] = layer.geometry.output_padding
        made = torch.nn.ConvTranspose2d(*channels, kernel, **arguments)
        # Input channels first: [groups, out, in] becomes [groups, in, out].
        parts = weight.reshape(layer.geometry.groups, -1, *weight.shape[1:]).transpose(1, 2)
        weight = parts.reshape(channels[0], -1, *kernel)
    else:
        kind = torch.nn.Conv1d if isinstance(layer, Conv1d) else torch.nn.Conv2d
        made = kind(*channels, kernel, **arguments)
    assert made.weight.shape == weight.shape
    made.weight.data = weight
    return made


def test_every_kind_has_the_shape_and_the_synapses_of_pytorch_s_layer() -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(networks(), st.integers(0, 99))
    @torch.no_grad()
    def look(network: QuantizedNetwork, seed: int) -> None:
        for layer in all_synapses(network):
            seen[type(layer).__name__] += 1
            signal = np.random.default_rng(seed).integers(0, 9, layer.input_shape)
            walked = np.zeros(layer.output_shape, np.int64).reshape(-1)
            for source, targets in enumerate(oracle.synapses(layer)):
                for neuron, weight in targets:
                    walked[neuron] += weight * int(signal.reshape(-1)[source])
            if isinstance(layer, OneToOne):
                expected = signal * int(layer.weight[0])
            else:
                batch = torch.from_numpy(signal[None].astype(np.float64))
                expected = in_pytorch(layer)(batch)[0].numpy()
            assert layer.output_shape == expected.shape
            assert walked.tolist() == expected.reshape(-1).tolist()

    look()
    assert set(seen) == {"Dense", "OneToOne", "Conv1d", "Conv2d", "ConvTranspose2d"}
    assert min(seen.values()) >= 5


def test_drawn_networks_are_graphs_of_every_form() -> None:
    seen: Counter[object] = Counter()

    @settings(max_examples=250, deadline=None, derandomize=True)
    @given(networks())
    def look(network: QuantizedNetwork) -> None:
        for connections in network.wiring.connections:
            seen["paths", len(connections)] += 1
            seen["delay of the main synapses", connections[0].delay] += 1
            for connection in connections[1:]:
                seen["delay of a skip", connection.delay, connection.source is None] += 1
        seen["axes of the input", len(network.input.shape)] += 1
        seen["axes of the result", len(network.layers[-1].output_shape)] += 1

    look()
    expected = {
        *(("paths", 1), ("paths", 2), ("paths", 3)),
        *(("delay of the main synapses", 0), ("delay of the main synapses", 1)),
        *(("delay of a skip", delay, False) for delay in (0, 1, 2)),
        ("delay of a skip", 0, True),
        *((f"axes of the {end}", axes) for end in ("input", "result") for axes in (1, 2, 3)),
    }
    assert not [form for form in expected if not seen[form]]


# Layers ------------------------------------------------------------------------------------------


def layer_of(kind: type[Synapses], shape: Shape, weights: Shape, **fields: Any) -> Any:
    values: dict[str, Any] = {
        "name": "a",
        "weight": np.full(weights, 4),
        "weight_bits": 8,
        "bias": np.zeros(weights[0], int),
        "threshold": 8,
        "input_shape": shape,
    }
    return make(kind, **(values | fields))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_shape": (2, 5, 5)}, r"a: a convolution takes an input \(C, L\) and weights"),
        ({"input_shape": (10,)}, r"\[out, in / groups, kernel\], found \(10,\) and \(4, 2, 3\)"),
        ({"weight": np.full((4, 2, 3, 1), 4)}, r"\(C, L\) .* \(4, 2, 3, 1\)"),
        ({"stride": (1, 1)}, r"a: stride \(1, 1\) must be one of >= 1"),
        ({"stride": 2}, r"a: stride 2 must be one of >= 1"),
        ({"stride": (0,)}, r"a: stride \(0,\)"),
        ({"padding": (-1,)}, r"a: padding \(-1,\)"),
        ({"dilation": (0,)}, r"a: dilation \(0,\)"),
        ({"dilation": (3,)}, r"a: the kernel \(3,\) is larger than the padded input \(2, 5\)"),
        ({"groups": 2}, "a: weights .* take 2 input channels a group"),
        ({"groups": 4}, "a: 4 groups do not divide 2 input and 4 output channels"),
        ({"weight": np.full((4, 2, 3), 5)}, "a: weights must be even"),
    ],
)
def test_impossible_conv1d_are_refused(change: dict[str, Any], message: str) -> None:
    assert layer_of(Conv1d, (2, 5), (4, 2, 3)).output_shape == (4, 3)
    with pytest.raises(NetworkError, match=message):
        layer_of(Conv1d, (2, 5), (4, 2, 3), **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_shape": (2, 5)}, r"a: a convolution takes an input \(C, H, W\)"),
        ({"output_padding": (2, 0)}, r"a: output_padding \(2, 0\) must be less than the stride"),
        ({"output_padding": (0, -1)}, r"a: output_padding \(0, -1\) must be two of >= 0"),
        ({"output_padding": 1}, "a: output_padding 1 must be two"),
        ({"output_padding": (0.5, 0)}, r"a: output_padding \(0.5, 0\) is not made of integers"),
        ({"stride": (2,)}, r"a: stride \(2,\) must be two"),
        ({"padding": (3, 0)}, r"a: .*\(2, 2, 2\)"),
        ({"groups": 3}, "a: 3 groups do not divide"),
        ({"weight": np.full((4, 1, 3, 3), 4)}, "a: weights .* take 1 input channel a group"),
    ],
)
def test_impossible_transposed_convolutions_are_refused(
    change: dict[str, Any], message: str
) -> None:
    fields = {"stride": (2, 1)}
    made = layer_of(ConvTranspose2d, (2, 2, 2), (4, 2, 3, 3), **fields)
    assert made.output_shape == (4, 5, 4)
    with pytest.raises(NetworkError, match=message):
        layer_of(ConvTranspose2d, (2, 2, 2), (4, 2, 3, 3), **(fields | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": np.array([0])}, "a: a one-to-one weight is 0; allowed are 1 to 32640"),
        ({"weight": np.array([-4])}, "a: a one-to-one weight is -4; allowed"),
        ({"weight": np.array([32641])}, "a: a one-to-one weight is 32641; allowed"),
        ({"weight": np.array([1001])}, r"a: a one-to-one weight is 1001; it must be m \* 2\^e"),
        ({"weight": np.array([4.0])}, "a: weight is float64, not an integer"),
        ({"weight": np.array([1 << 40])}, "a: weight does not fit int32"),
        ({"weight_bits": 7}, "a: weight_bits is 7; one-to-one synapses have 8"),
        (
            {"weight": np.full(2, 4), "bias": np.zeros(2, int)},
            r"a: one-to-one synapses have one weight, found an array of shape \(2,\)",
        ),
        ({"weight": np.full((1, 1), 4)}, r"a: one-to-one .* shape \(1, 1\)"),
    ],
)
def test_impossible_one_to_one_synapses_are_refused(change: dict[str, Any], message: str) -> None:
    assert layer_of(OneToOne, (2, 3), (1,)).output_shape == (2, 3)
    with pytest.raises(NetworkError, match=message):
        layer_of(OneToOne, (2, 3), (1,), **change)


def test_one_to_one_weights_are_all_of_a_mantissa_and_an_exponent() -> None:
    possible = {m << e for m in range(1, 256) for e in range(8)}
    for weight in range(-1, (255 << 7) + 2):
        if weight in possible:
            mantissa, exponent = one_to_one_parts(weight)
            assert mantissa << exponent == weight
            assert 1 <= mantissa <= 255
            assert 0 <= exponent <= 7
        else:
            with pytest.raises(NetworkError, match="a one-to-one weight is"):
                one_to_one_parts(weight)


# Wiring ------------------------------------------------------------------------------------------


def dense(name: str, **fields: Any) -> Layer:
    made: Layer = layer_of(Dense, (3,), (3, 3), name=name, **fields)
    return made


def skip(name: str, source: str, **fields: Any) -> Layer:
    return dense(name, **({"threshold": None, "source": source} | fields))


def test_paths_of_different_lengths_are_held_back_until_they_are_in_step() -> None:
    layers = (
        dense("a"),
        dense("b"),
        dense("side", source="a"),
        dense("c", source="b"),
        dense("d", source="side", skips=(skip("a-d", "a"), skip("c-d", "c"), skip("b-d", "b"))),
        dense("out"),
    )
    wiring = wire(connected(layers), (3,))
    assert wiring.depths == (1, 2, 2, 3, 4, 5)
    assert [[(one.source, one.delay) for one in paths] for paths in wiring.connections] == [
        [(None, 0)],
        [(0, 0)],
        [(0, 0)],
        [(1, 0)],
        [(2, 1), (0, 2), (3, 0), (1, 1)],
        [(4, 0)],
    ]
    assert [one.synapses.name for one in wiring.connections[4]] == ["d", "a-d", "c-d", "b-d"]
    assert [wiring.takes_input(index) for index in range(6)] == [True] + [False] * 5
    assert [wiring.last_use(index) for index in range(6)] == [4, 4, 4, 4, 5, 5]


def test_several_layers_may_take_the_input_and_one_may_take_it_twice() -> None:
    layers = (
        dense("a"),
        dense("b", source="input", skips=(skip("more", "input"),)),
        dense("out", skips=(skip("a-out", "a"),)),
    )
    wiring = wire(connected(layers), (3,))
    assert wiring.depths == (1, 1, 2)
    assert [[(one.source, one.delay) for one in paths] for paths in wiring.connections] == [
        [(None, 0)],
        [(None, 0), (None, 0)],
        [(1, 0), (0, 0)],
    ]
    assert [wiring.takes_input(index) for index in range(3)] == [True, True, False]


A, OUT = dense("a"), dense("out")
WIDE = layer_of(Dense, (3,), (4, 3), name="wide", threshold=None, source="a")


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((A, dense("a")), r"layer names are not unique: \['a', 'a'\]"),
        ((A, dense("b", skips=(skip("a", "a"),)), OUT), "names are not unique"),
        ((A, dense("b", skips=(skip("s", "a"), skip("s", "a"))), OUT), "names are not unique"),
        ((dense("input"), OUT), 'no layer can be named "input"'),
        ((A, dense("b", skips=(skip("input", "a"),))), 'no layer can be named "input"'),
        ((A, dense("b", skips=(skip("s", ""),))), 'layer s takes its spikes from "", which is no'),
        (
            (A, dense("b", source="c")),
            'layer b takes its spikes from "c", which is no layer before it; there are input, a',
        ),
        ((A, dense("b", source="b")), 'layer b takes its spikes from "b", which is no layer'),
        ((A, dense("b", source="out"), OUT), 'layer b takes its spikes from "out"'),
        ((A, dense("b", skips=(skip("s", "b"),))), 'layer s takes its spikes from "b"'),
        ((A, dense("b", skips=(skip("s", "out"),)), OUT), 'layer s takes its spikes from "out"'),
        (
            (A, dense("b", skips=(skip("s", "a"),)), dense("out", source="s")),
            'layer out takes its spikes from "s"',
        ),
        (
            (A, layer_of(Dense, (2, 2), (3, 4), name="b")),
            r"layer b takes \(2, 2\), but \(3,\) comes in",
        ),
        (
            (A, dense("b", skips=(layer_of(OneToOne, (4,), (1,), name="s", threshold=None,
                                           source="a"),))),
            r"layer s takes \(4,\), but \(3,\) comes in",
        ),
        (
            (A, dense("b", skips=(WIDE,))),
            r"layer b has neurons of shape \(3,\), its skip wide reaches \(4,\)",
        ),
        (
            (A, dense("b", skips=(skip("s", "input"),))),
            "layer b: the skip path s starts at the network's input, whose values no neuron can",
        ),
        ((A, dense("b", source="input", skips=(skip("s", "a"),))), "layer b: the skip path b "),
        ((A, dense("b", source="input"), OUT), "layer a feeds no other layer; leave it out"),
    ],
)  # fmt: skip
def test_impossible_graphs_are_refused(layers: tuple[Layer, ...], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        wire(connected(layers), (3,))
    spec = InputSpec((3,), 4, 1.0)
    with pytest.raises(NetworkError, match=message):
        network_of(spec, layers, 4, "zero", "count")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": ()}, "layer a: its inputs are a tuple without pairs"),
        ({"inputs": A.inputs[0]}, "layer a: its inputs are a Input without pairs"),
        ({"inputs": A.synapses}, "layer a: its inputs are a tuple without pairs"),
        ({"inputs": (("input", None),)}, "layer a: its inputs are a tuple without pairs"),
        ({"inputs": ((A.synapses[0], "input"),)}, "layer a: its inputs are a tuple without"),
        ({"inputs": 3}, "layer a: its inputs are a int without"),
        ({"inputs": OUT.inputs}, "layer a: its first synapses need the layer's own name"),
        ({"neurons": None}, "layer a: its neurons are a NoneType; give Neurons"),
        ({"name": 3}, "layer name 3 must be printable text"),
    ],
)
def test_impossible_parts_of_a_layer_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        replace(A, **change)


@pytest.mark.parametrize("shape", [(), (-2, -2), 8, (0,)])
def test_impossible_shapes_of_inputs_are_refused(shape: Any) -> None:
    for kind, weight in ((OneToOne, np.array([4])), (Dense, np.full((3, 4), 4))):
        with pytest.raises(NetworkError, match=r"layer a: input_shape .* lengths of at least 1"):
            kind("a", weight, 8, shape)


def test_a_chain_is_made_of_synapses_and_neurons() -> None:
    first, last = chain((A.synapses[0], A.neurons), (OUT.synapses[0], OUT.neurons))
    assert [one.source for layer in (first, last) for one in layer.inputs] == ["input", "a"]
    wrong: Any = (A.neurons, A.synapses[0])
    with pytest.raises(NetworkError, match=r"chain takes pairs .* found a Neurons in the place"):
        chain(wrong)


def test_a_name_of_numpy_is_a_name_like_any_other() -> None:
    assert type(replace(A.synapses[0], name=np.str_("a")).name) is str


def test_the_last_layer_need_not_feed_any() -> None:
    assert wire(connected((A, OUT)), (3,)).last_use(1) == 1


def test_a_leak_and_a_readout_are_looked_at_behind_skips_too() -> None:
    spec = InputSpec((3,), 4, 1.0)
    block = dense("b", skips=(skip("s", "a"),), threshold=1001)
    with pytest.raises(NetworkError, match="layer b: threshold 1001 has"):
        network_of(spec, (A, block, changed(OUT, threshold=None)), 4, "subtract")


def test_convolutions_of_equal_fields_differ_by_their_kind() -> None:
    plain = layer_of(Conv2d, (2, 2, 2), (2, 2, 1, 1))
    transposed = layer_of(ConvTranspose2d, (2, 2, 2), (2, 2, 1, 1))
    spec = InputSpec((2, 2, 2), 4, 1.0)
    made = [network_of(spec, (one,), 4, "zero", "count") for one in (plain, transposed)]
    assert made[0].digest != made[1].digest
