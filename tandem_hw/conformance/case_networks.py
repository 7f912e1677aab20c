"""What a case of the conformance suite is, and the networks and inputs that cases are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.conformance.layers import network_of
from tandem_hw.conformance.random_layers import random_layer
from tandem_hw.network.fixed_point import floor_threshold
from tandem_hw.network.quantized import Encoding, InputSpec, Layer, QuantizedNetwork, Readout, Reset
from tandem_hw.network.synapses.convolutions import Conv2d
from tandem_hw.network.synapses.dense import Dense
from tandem_hw.network.synapses.kind import Synapses

RESETS: tuple[Reset, ...] = ("subtract", "zero")
SAMPLES = 3


@dataclass(frozen=True)
class Case:
    """One network, what it is given, and whether its layers shall fire.

    Attributes:
        name: shown as the test's parameter.
        network: what runs.
        inputs: uint8 [samples, *network.sample_shape].
        fires: True if every firing layer must have fired, False if none may.
        overflows: whether a state leaves 24 bits; a backend may refuse that, and nothing else.
        long: True if backends that take their time run it in exhaustive runs alone.
        padded: True if it runs with the period of a board, a power of two, where a shorter one
            would do; backends that have no period leave it out.
    """

    name: str
    network: QuantizedNetwork
    inputs: npt.NDArray[np.uint8]
    fires: bool = True
    overflows: bool = False
    long: bool = False
    padded: bool = False

    def __str__(self) -> str:
        """Return the name, which pytest shows."""
        return self.name


def convolutional(
    reset: Reset,
    num_steps: int,
    *,
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    weight_bits: int = 8,
    bias_reach: int = 150,
    encoding: Encoding = "constant",
) -> QuantizedNetwork:
    """Return two convolutions, a hidden dense layer and a readout by potential."""
    generator = np.random.default_rng(num_steps)
    spec = InputSpec((2, 7, 6), bits=3, scale=1 / 7, encoding=encoding)
    reach = (1 << (weight_bits - 1)) - 1
    layers: list[Layer] = []
    for name, channels, shape in (("conv1", 4, spec.shape), ("conv2", 6, None)):
        shape = shape or layers[-1].output_shape
        size = (channels, shape[0] // groups, *kernel)
        first = name == "conv1"
        layers.append(
            random_layer(
                *(Conv2d, name, size, shape, floor_threshold(reach * (12 if first else 3))),
                weights=(-reach, reach),
                bias_reach=bias_reach,
                weight_bits=weight_bits,
                generator=generator,
                # The second layer keeps its size, whatever the first one left.
                stride=stride if first else (1, 1),
                padding=padding if first else (kernel[0] - 1, kernel[1] - 1),
                dilation=dilation if first else (1, 1),
                groups=groups,
            )
        )
    hidden = dense("hidden", layers[-1].output_shape, 10, 2 * reach, generator, weight_bits)
    readout = dense("readout", hidden.output_shape, 5, None, generator, weight_bits)
    return network_of(spec, (*layers, hidden, readout), num_steps, reset)


def dense(
    name: str,
    input_shape: tuple[int, ...],
    out: int,
    threshold: int | None,
    generator: np.random.Generator,
    weight_bits: int = 8,
) -> Layer:
    """Return a dense layer of random weights and biases of both signs."""
    shape, reach = (out, math.prod(input_shape)), (1 << (weight_bits - 1)) - 1
    return random_layer(
        *(Dense, name, shape, input_shape, threshold),
        weights=(-reach, reach),
        weight_bits=weight_bits,
        generator=generator,
    )


def random_inputs(
    network: QuantizedNetwork, samples: int = 3, seed: int = 0
) -> npt.NDArray[np.uint8]:
    """Return random integers that the network takes.

    Args:
        network: what takes them.
        samples: how many.
        seed: draws them.
    """
    shape = (samples, *network.sample_shape)
    generator = np.random.default_rng(seed)
    return generator.integers(0, network.input.largest + 1, shape).astype(np.uint8)


def case_inputs(network: QuantizedNetwork) -> npt.NDArray[np.uint8]:
    """Return the same random integers for the same network."""
    return random_inputs(network, SAMPLES, seed=3)


def synapses(
    name: str,
    input_shape: tuple[int, ...],
    channels: int,
    *,
    kind: type[Synapses] = Conv2d,
    kernel: int | tuple[int, ...] = 3,
    threshold: int | None = 300,
    bias_reach: int = 100,
    **fields: Any,
) -> Layer:
    """Return a layer whose weights and biases are random, the same for the same name.

    Args:
        name: name of the layer.
        input_shape: shape of what comes in.
        channels: output channels.
        kind: class of the layer; with ``Dense`` there is no kernel.
        kernel: length of the kernel, along all axes or along each.
        threshold: firing threshold, or None.
        bias_reach: largest magnitude of a bias.
        fields: further fields of the layer, as ``tandem_hw.conformance.layers.make`` takes them.
    """
    if kind is Dense:
        shape: tuple[int, ...] = (channels, math.prod(input_shape))
    else:
        sizes = (kernel,) * (len(input_shape) - 1) if isinstance(kernel, int) else kernel
        shape = (channels, input_shape[0] // fields.get("groups", 1), *sizes)
    return random_layer(kind, name, shape, input_shape, threshold, bias_reach=bias_reach, **fields)


def projection(
    name: str, input_shape: tuple[int, ...], channels: int, source: str, **fields: Any
) -> Layer:
    """Return a skip path through random synapses, by default a 1x1 convolution."""
    wanted = {"kernel": 1, "threshold": None, "bias_reach": 0, "source": source} | fields
    return synapses(name, input_shape, channels, **wanted)


def case_of(
    name: str,
    reset: Reset,
    *layers: Layer,
    num_steps: int = 4,
    encoding: Encoding = "constant",
    readout: Readout = "potential",
    input_shape: tuple[int, ...] | None = None,
) -> Case:
    """Return a case of given layers and 3-bit inputs."""
    spec = InputSpec(input_shape or layers[0].synapses[0].input_shape, 3, 1 / 7, encoding)
    network = network_of(spec, layers, num_steps, reset, readout)
    return Case(f"{reset}-{name}", network, case_inputs(network))
