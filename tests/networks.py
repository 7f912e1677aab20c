"""Small random networks for property tests."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from tandem_hw.fixed_point import floor_threshold, weight_limit
from tandem_hw.network import (
    Conv2d,
    Dense,
    Encoding,
    InputSpec,
    Layer,
    QuantizedNetwork,
    Readout,
    Reset,
)

#: Reach of a layer's biases in weight units: most of them small beside the synaptic input.
_BIASES = (0, 0, 5, 40, 300, 4095, 8190)
#: Thresholds as shares of the largest synaptic input of a step: from every step to now and then.
_THRESHOLD_SHARES = (0, 0.1, 0.25, 0.5, 0.8, 1.5, 3, 1000)

#: Decays of current and voltage in 1/4096: ends, one beside them, and what is in use.
_CURRENT_DECAYS = (4096, 4096, 4095, 3000, 1024, 1, 0)
_VOLTAGE_DECAYS = (0, 0, 1, 123, 1024, 4095, 4096)


@dataclass(frozen=True)
class _Incoming:
    """What a layer is drawn for: the largest integer of an input, and the least weight width."""

    largest: int = 1
    least_bits: int = 2


@st.composite
def networks(draw: st.DrawFn, *, overflowing: bool = False) -> QuantizedNetwork:
    """Draw a network of one to three layers.

    Args:
        draw: Hypothesis' own argument.
        overflowing: feed the first layer so much that its state can leave 24 bits.
    """
    spec = draw(_inputs(overflowing))
    readout = draw(st.sampled_from(get_args(Readout)))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    first = _Incoming(spec.largest, 6 if overflowing else 2)
    layers: list[Layer] = []
    if len(spec.shape) == 3:
        layers.append(draw(_convolutions(spec.shape, generator, first)))
    depth = draw(st.integers(1, 2))
    for index in range(depth):
        shape = layers[-1].output_shape if layers else spec.shape
        fires = readout == "count" or index < depth - 1
        incoming = _Incoming() if layers else first
        layers.append(draw(_dense_layers(f"dense{index}", shape, generator, incoming, fires)))
    reset: Reset = draw(st.sampled_from(get_args(Reset)))
    if reset == "zero":
        layers = [draw(_leaking(layer)) for layer in layers]
    return QuantizedNetwork(spec, tuple(layers), draw(st.integers(1, 8)), reset, readout)


@st.composite
def _leaking(draw: st.DrawFn, layer: Layer) -> Layer:
    """Give a firing layer a leak, or none."""
    if layer.threshold is None or draw(st.booleans()):
        return layer
    current = draw(st.sampled_from(_CURRENT_DECAYS))
    return replace(
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
) -> Dense:
    shape = (draw(st.integers(1, 5)), math.prod(input_shape))
    parameters = _parameters(draw, generator, shape, incoming, fires)
    return Dense(name=name, input_shape=input_shape, **parameters)


@st.composite
def _convolutions(
    draw: st.DrawFn,
    input_shape: tuple[int, ...],
    generator: np.random.Generator,
    incoming: _Incoming,
) -> Conv2d:
    channels = input_shape[0]
    groups = draw(st.sampled_from([g for g in (1, 2, 4) if channels % g == 0]))
    out = groups * draw(st.integers(1, 2))
    kernel, stride, padding, dilation = [], [], [], []
    for length in input_shape[1:]:
        padding.append(draw(st.integers(0, 2)))
        dilation.append(draw(st.integers(1, 2)))
        longest = (length + 2 * padding[-1] - 1) // dilation[-1] + 1
        kernel.append(draw(st.integers(1, min(3, longest))))
        stride.append(draw(st.integers(1, 3)))
    shape = (out, channels // groups, *kernel)
    parameters = _parameters(draw, generator, shape, incoming, fires=True)
    return Conv2d(
        name="conv",
        input_shape=input_shape,
        stride=_pair(stride),
        padding=_pair(padding),
        dilation=_pair(dilation),
        groups=groups,
        **parameters,
    )


def _pair(values: list[int]) -> tuple[int, int]:
    return values[0], values[1]


def random_inputs(
    network: QuantizedNetwork, samples: int = 3, seed: int = 0
) -> npt.NDArray[np.uint8]:
    """Return random integers that the network takes."""
    shape = (samples, *network.sample_shape)
    generator = np.random.default_rng(seed)
    return generator.integers(0, network.input.largest + 1, shape).astype(np.uint8)


def small_network(reset: Reset = "subtract", num_steps: int = 4) -> QuantizedNetwork:
    """Return an active network of a convolution, a hidden layer and a readout."""
    generator = np.random.default_rng(1)
    spec = InputSpec((2, 5, 5), 4, 1 / 15, "constant")
    conv = Conv2d(
        "conv", 2 * generator.integers(-60, 120, (4, 2, 3, 3)), 8, np.arange(4) - 2, 3072,
        spec.shape, stride=(2, 2), padding=(1, 1),
    )  # fmt: skip
    hidden = Dense(
        "hidden", 2 * generator.integers(-60, 120, (6, 36)), 8, np.arange(6), 500, (4, 3, 3)
    )
    readout = Dense(
        "readout", 2 * generator.integers(-60, 60, (3, 6)), 8, np.ones(3, int), None, (6,)
    )
    return QuantizedNetwork(spec, (conv, hidden, readout), num_steps, reset)


def small_file_network(reset: Reset = "subtract", reach: int = 127) -> QuantizedNetwork:
    """Return a network of one convolution and a readout, with weights of up to 2 ``reach``."""
    values = np.random.default_rng(1)
    conv = Conv2d(
        name="conv",
        weight=2 * values.integers(-reach, reach + 1, (2, 1, 3, 3)),
        weight_bits=8,
        bias=np.array([3, -4]),
        threshold=96,
        input_shape=(1, 5, 5),
        stride=(2, 2),
        padding=(1, 1),
    )
    last = Dense(
        name="out",
        weight=2 * values.integers(-reach, reach + 1, (3, 18)),
        weight_bits=8,
        bias=np.array([1, 2, 3]),
        threshold=None,
        input_shape=(2, 3, 3),
    )
    return QuantizedNetwork(InputSpec((1, 5, 5), 4, 1 / 15), (conv, last), 7, reset)
