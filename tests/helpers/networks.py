"""Small random networks for property tests."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
from hypothesis import strategies as st

from tandem_hw.conformance.case_networks import random_inputs as random_inputs
from tandem_hw.conformance.layers import (
    changed,
    conv1d_layer,
    conv2d_layer,
    conv_transpose2d_layer,
    dense_layer,
    make,
    network_of,
    one_to_one_layer,
)
from tandem_hw.network.fixed_point import floor_threshold, weight_limit
from tandem_hw.network.quantized import Encoding, InputSpec, Layer, QuantizedNetwork, Readout, Reset
from tandem_hw.network.synapses.convolutions import Conv1d, Conv2d, ConvTranspose2d
from tandem_hw.network.synapses.kind import Synapses

#: Reach of a layer's biases in weight units: most of them small beside the synaptic input.
_BIASES = (0, 0, 5, 40, 300, 4095, 8190)
#: Thresholds as shares of the largest synaptic input of a step: from every step to now and then.
_THRESHOLD_SHARES = (0, 0.1, 0.25, 0.5, 0.8, 1.5, 3, 1000)

#: What the first layer is followed by; see ``_residual``.
_BLOCKS = (
    *("chain", "chain", "parallel", "identity", "projection"),
    *("long identity", "both", "delayed main", "delayed main"),
)
#: Weights of identity skips as shares of the threshold behind them.
_SKIP_SHARES = (0, 0.3, 1, 1.7)

#: Decays of current and voltage in 1/4096: ends, one beside them, and what is in use.
_CURRENT_DECAYS = (4096, 4096, 4095, 3000, 1024, 1, 0)
_VOLTAGE_DECAYS = (0, 0, 1, 123, 1024, 4095, 4096)


@dataclass(frozen=True)
class _Incoming:
    """What a layer is drawn for: the largest integer of an input, and the least weight width."""

    largest: int = 1
    least_bits: int = 2


@st.composite
def networks(
    draw: st.DrawFn, *, overflowing: bool = False, delayed: bool = False
) -> QuantizedNetwork:
    """Draw a network: a first layer, perhaps a residual block, and one or two last layers.

    Args:
        draw: Hypothesis' own argument.
        overflowing: feed the first layer so much that its state can leave 24 bits; such networks
            are chains.
        delayed: with a reset by subtraction and a firing delay.
    """
    spec = draw(_inputs(overflowing))
    readout = draw(st.sampled_from(get_args(Readout)))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    first = _Incoming(spec.largest, 6 if overflowing else 2)
    layers: list[Layer] = []
    if len(spec.shape) > 1:
        layers.append(draw(_convolutions("conv", spec.shape, generator, first, plain=overflowing)))
    elif not overflowing and draw(st.booleans()):
        layers.append(draw(_dense_layers("first", spec.shape, generator, first, True)))
    if layers and not overflowing:
        layers = draw(_residual(layers[0], generator))
    fires = readout == "count"
    if layers and len(layers[-1].output_shape) > 1 and draw(st.sampled_from([False, False, True])):
        shape = layers[-1].output_shape
        layers.append(draw(_convolutions("image", shape, generator, _Incoming(), fires)))
    else:
        layers += draw(_dense_tail(layers, spec.shape, generator, first, fires))
    if delayed:
        num_steps = draw(st.integers(2, 8))
        delay = draw(st.sampled_from([1, num_steps - 1, draw(st.integers(1, num_steps - 1))]))
        network = network_of(spec, tuple(layers), num_steps, "subtract", readout)
        return replace(network, firing_delay=delay)
    reset: Reset = draw(st.sampled_from(get_args(Reset)))
    if reset == "zero":
        layers = [draw(_leaking(layer)) for layer in layers]
    return network_of(spec, tuple(layers), draw(st.integers(1, 8)), reset, readout)


@st.composite
def _residual(draw: st.DrawFn, first: Layer, generator: np.random.Generator) -> list[Layer]:
    """Return the first layer, perhaps with a parallel one added, and perhaps a residual block."""
    kind = draw(st.sampled_from(_BLOCKS))
    if kind == "parallel":
        return [changed(first, skips=(_projection("parallel", first, "input", generator),))]
    layers = [first]
    if kind == "chain":
        return layers
    shape = first.output_shape
    for index in range(1 if kind in ("identity", "projection") else 2):
        layers.append(draw(_same_shape(f"block{index}", shape, generator)))
    last = layers[-1]
    skips = []
    if kind == "delayed main":
        skips.append(_projection("recent", last, layers[-2].name, generator))
        last = changed(last, source=first.name)
    if kind in ("identity", "long identity", "both"):
        share, threshold = draw(st.sampled_from(_SKIP_SHARES)), last.neurons.threshold
        assert threshold is not None
        weight = floor_threshold(min(share * threshold, 32640))
        skips.append(
            one_to_one_layer("identity", np.array([weight]), 8, [0], None, shape, source=first.name)
        )
    if kind in ("projection", "both"):
        skips.append(_projection("projection", last, first.name, generator))
    layers[-1] = changed(last, skips=tuple(skips))
    return layers


def _projection(name: str, layer: Layer, source: str, generator: np.random.Generator) -> Layer:
    """Return random synapses of the kind that a layer has, from a source of the same shape."""
    reach = weight_limit(layer.synapses[0].weight_bits) // 2
    return changed(
        layer,
        name=name,
        weight=2 * generator.integers(-reach, reach + 1, layer.synapses[0].weight.shape),
        bias=np.zeros_like(layer.neurons.bias),
        threshold=None,
        source=source,
    )


@st.composite
def _same_shape(
    draw: st.DrawFn, name: str, shape: tuple[int, ...], generator: np.random.Generator
) -> Layer:
    """Draw a firing layer that puts out the shape that it takes in."""
    if len(shape) == 1:
        weights = _parameters(draw, generator, (shape[0], shape[0]), _Incoming(), True)
        return dense_layer(name=name, input_shape=shape, **weights)
    axes = len(shape) - 1
    groups = draw(st.sampled_from([1, shape[0]]))
    kernel = draw(st.sampled_from([1, 3]))
    weight_shape = (shape[0], shape[0] // groups, *[kernel] * axes)
    return make(
        Conv1d if axes == 1 else Conv2d,
        name=name,
        input_shape=shape,
        padding=(kernel // 2,) * axes,
        groups=groups,
        **_parameters(draw, generator, weight_shape, _Incoming(), True),
    )


@st.composite
def _dense_tail(
    draw: st.DrawFn,
    before: list[Layer],
    input_shape: tuple[int, ...],
    generator: np.random.Generator,
    first: _Incoming,
    fires: bool,
) -> list[Layer]:
    """Draw one or two dense layers, the last perhaps with a skip path from any layer before it."""
    layers = list(before)
    depth = draw(st.integers(1, 2))
    for index in range(depth):
        shape = layers[-1].output_shape if layers else input_shape
        incoming = _Incoming() if layers else first
        is_last = index == depth - 1
        layers.append(
            draw(_dense_layers(f"dense{index}", shape, generator, incoming, fires or not is_last))
        )
    last, earlier = layers[-1], layers[:-1]
    if len(before) > 0 and draw(st.booleans()):
        source = draw(st.sampled_from(earlier))
        weight = 2 * generator.integers(
            -1, 2, (last.synapses[0].weight.shape[0], source.num_neurons)
        )
        skip = dense_layer(
            "skip", weight, 2, np.zeros(len(weight), int), None, source.output_shape,
            source=source.name,
        )  # fmt: skip
        layers[-1] = changed(
            last, source=draw(st.sampled_from(["", earlier[-1].name])), skips=(skip,)
        )
    return layers[len(before) :]


@st.composite
def _leaking(draw: st.DrawFn, layer: Layer) -> Layer:
    """Give a firing layer a leak, or none."""
    if not layer.fires or draw(st.booleans()):
        return layer
    current = draw(st.sampled_from(_CURRENT_DECAYS))
    return changed(
        layer, current_decay=current, voltage_decay=draw(st.sampled_from(_VOLTAGE_DECAYS))
    )


@st.composite
def _inputs(draw: st.DrawFn, overflowing: bool) -> InputSpec:
    encoding: Encoding = draw(st.sampled_from(get_args(Encoding)))
    if overflowing:
        shape = draw(st.sampled_from([(60,), (4, 4, 4)]))
        return InputSpec(shape, 8, 1 / 255, encoding)
    shape = draw(
        st.one_of(
            st.tuples(st.integers(1, 6)),
            st.tuples(st.sampled_from([1, 2, 4]), st.integers(1, 7)),
            st.tuples(st.sampled_from([1, 2, 4]), st.integers(1, 5), st.integers(1, 5)),
        )
    )
    bits = draw(st.integers(1, 8))
    return InputSpec(shape, bits, 1 / ((1 << bits) - 1), encoding)


def _parameters(
    draw: st.DrawFn,
    generator: np.random.Generator,
    shape: tuple[int, ...],
    incoming: _Incoming,
    fires: bool,
) -> dict[str, Any]:
    """Return weights, biases and threshold of one layer."""
    bits = draw(st.integers(incoming.least_bits, 8))
    reach = weight_limit(bits) // 2
    low = draw(st.sampled_from([-reach, 0, reach // 2]))
    bias_reach = draw(st.sampled_from(_BIASES))
    bias = generator.integers(-bias_reach, bias_reach + 1, shape[0])
    if bias_reach > 4095:
        bias = bias // 2 * 2
    weight = 2 * generator.integers(low, reach + 1, shape)
    excitation = int(np.maximum(weight, 0).reshape(shape[0], -1).sum(axis=1).max())
    share = draw(st.sampled_from(_THRESHOLD_SHARES))
    threshold = floor_threshold(share * excitation * incoming.largest)
    return {
        "weight": weight,
        "weight_bits": bits,
        "bias": bias,
        "threshold": threshold if fires else None,
    }


@st.composite
def _dense_layers(
    draw: st.DrawFn,
    name: str,
    input_shape: tuple[int, ...],
    generator: np.random.Generator,
    incoming: _Incoming,
    fires: bool,
) -> Layer:
    shape = (draw(st.integers(1, 5)), math.prod(input_shape))
    parameters = _parameters(draw, generator, shape, incoming, fires)
    return dense_layer(name=name, input_shape=input_shape, **parameters)


@st.composite
def _convolutions(
    draw: st.DrawFn,
    name: str,
    input_shape: tuple[int, ...],
    generator: np.random.Generator,
    incoming: _Incoming,
    fires: bool = True,
    plain: bool = False,
) -> Layer:
    """Draw a convolution of one or two dimensions; a transposed one too, unless ``plain``."""
    channels = input_shape[0]
    groups = draw(st.sampled_from([g for g in (1, 2, 4) if channels % g == 0]))
    out = groups * draw(st.integers(1, 2))
    kinds = [Conv1d] if len(input_shape) == 2 else [Conv2d] if plain else [Conv2d, ConvTranspose2d]
    kind: type[Synapses] = draw(st.sampled_from(kinds))
    axis = _transposed_axes if kind is ConvTranspose2d else _axes
    kernel, *geometry = zip(*(draw(axis(length)) for length in input_shape[1:]), strict=True)
    shape = (out, channels // groups, *kernel)
    names = ("stride", "padding", "dilation", "output_padding")
    fields: dict[str, Any] = dict(zip(names, geometry, strict=False))
    fields |= _parameters(draw, generator, shape, incoming, fires)
    return make(kind, name=name, input_shape=input_shape, groups=groups, **fields)


@st.composite
def _axes(draw: st.DrawFn, length: int) -> tuple[int, int, int, int]:
    """Draw kernel, stride, padding and dilation along an axis."""
    padding, dilation = draw(st.integers(0, 2)), draw(st.integers(1, 2))
    longest = (length + 2 * padding - 1) // dilation + 1
    return draw(st.integers(1, min(3, longest))), draw(st.integers(1, 3)), padding, dilation


@st.composite
def _transposed_axes(draw: st.DrawFn, length: int) -> tuple[int, int, int, int, int]:
    """Draw kernel, stride, padding, dilation and output_padding along an axis; a long one stays."""
    kernel, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    stride = draw(st.integers(1, 2 if length <= 3 else 1))
    added = draw(st.integers(0, max(stride, dilation) - 1))
    whole = (length - 1) * stride + dilation * (kernel - 1) + 1 + added
    padding = draw(st.integers(0, min(2, (whole - 1) // 2)))
    return kernel, stride, padding, dilation, added


def small_network(reset: Reset = "subtract", num_steps: int = 4) -> QuantizedNetwork:
    """Return an active network of a convolution, a hidden layer and a readout."""
    generator = np.random.default_rng(1)
    spec = InputSpec((2, 5, 5), 4, 1 / 15, "constant")
    conv = conv2d_layer(
        "conv", 2 * generator.integers(-60, 120, (4, 2, 3, 3)), 8, np.arange(4) - 2, 3072,
        spec.shape, stride=(2, 2), padding=(1, 1),
    )  # fmt: skip
    hidden = dense_layer(
        "hidden", 2 * generator.integers(-60, 120, (6, 36)), 8, np.arange(6), 500, (4, 3, 3)
    )
    readout = dense_layer(
        "readout", 2 * generator.integers(-60, 60, (3, 6)), 8, np.ones(3, int), None, (6,)
    )
    return network_of(spec, (conv, hidden, readout), num_steps, reset)


def small_file_network(reset: Reset = "subtract", reach: int = 127) -> QuantizedNetwork:
    """Return a network of one convolution and a readout, with weights of up to 2 ``reach``."""
    values = np.random.default_rng(1)
    conv = conv2d_layer(
        name="conv",
        weight=2 * values.integers(-reach, reach + 1, (2, 1, 3, 3)),
        weight_bits=8,
        bias=np.array([3, -4]),
        threshold=96,
        input_shape=(1, 5, 5),
        stride=(2, 2),
        padding=(1, 1),
    )
    last = dense_layer(
        name="out",
        weight=2 * values.integers(-reach, reach + 1, (3, 18)),
        weight_bits=8,
        bias=np.array([1, 2, 3]),
        threshold=None,
        input_shape=(2, 3, 3),
    )
    return network_of(InputSpec((1, 5, 5), 4, 1 / 15), (conv, last), 7, reset)


def small_graph_network(reset: Reset = "zero") -> QuantizedNetwork:
    """Return two one-dimensional convolutions, the second with two skips, and a dense readout."""
    values = np.random.default_rng(2)

    def parameters(*shape: int, threshold: int | None = 96) -> dict[str, Any]:
        bias = np.zeros(shape[0], int) if threshold is None else np.arange(shape[0]) - 1
        return {
            "weight": 2 * values.integers(-20, 21, shape),
            "weight_bits": 8,
            "bias": bias,
            "threshold": threshold,
        }

    first = conv1d_layer(name="first", input_shape=(2, 6), padding=(1,), **parameters(2, 2, 3))
    identity = one_to_one_layer(
        "identity", np.array([40]), 8, np.zeros(1, int), None, (2, 6), source="first"
    )
    other = conv1d_layer(
        name="other", input_shape=(2, 6), source="first", **parameters(2, 2, 1, threshold=None)
    )
    block = conv1d_layer(
        name="block",
        input_shape=(2, 6),
        padding=(1,),
        groups=2,
        source="first",
        skips=(identity, other),
        **parameters(2, 1, 3),
    )
    readout = dense_layer(name="out", input_shape=(2, 6), **parameters(3, 12, threshold=None))
    spec = InputSpec((2, 6), 4, 1 / 15, "constant")
    return network_of(spec, (first, block, readout), 7, reset)


def small_image_network(reset: Reset = "zero") -> QuantizedNetwork:
    """Return a convolution and a transposed one, whose potentials are the image."""
    values = np.random.default_rng(3)
    code = conv2d_layer(
        "code", 2 * values.integers(-20, 21, (2, 1, 3, 3)), 8, np.array([3, -4]), 96, (1, 5, 5),
        stride=(2, 2), padding=(1, 1),
    )  # fmt: skip
    image = conv_transpose2d_layer(
        "image", 2 * values.integers(-20, 21, (1, 2, 2, 2)), 8, np.array([5]), None, (2, 3, 3),
        stride=(2, 2), padding=(1, 0), output_padding=(1, 0),
    )  # fmt: skip
    return network_of(InputSpec((1, 5, 5), 4, 1 / 15, "constant"), (code, image), 7, reset)
