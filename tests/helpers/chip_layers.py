"""Layers of zeros for the chip budget, which looks at shapes only, and what every budget keeps."""

from __future__ import annotations

from typing import Any

import numpy as np

from tandem_hw.chip import constants as chip_constants
from tandem_hw.conformance.layers import conv2d_layer, dense_layer, network_of
from tandem_hw.network.quantized import InputSpec, Layer, QuantizedNetwork, Reset


def dense(inputs: int, outputs: int, threshold: int | None = 64, name: str = "dense") -> Layer:
    weight, bias = np.zeros((outputs, inputs), np.int16), np.zeros(outputs, np.int32)
    return dense_layer(name, weight, 8, bias, threshold, (inputs,))


def convolution(
    shape: tuple[int, int, int], channels: int, kernel: int = 3, name: str = "conv", **geometry: Any
) -> Layer:
    groups = geometry.get("groups", 1)
    weight = np.zeros((channels, shape[0] // groups, kernel, kernel), np.int16)
    return conv2d_layer(name, weight, 8, np.zeros(channels, np.int32), 64, shape, **geometry)


def chip_network(*layers: Layer, reset: Reset = "zero", num_steps: int = 8) -> QuantizedNetwork:
    spec = InputSpec(layers[0].synapses[0].input_shape, 4, 1 / 15)
    return network_of(spec, layers, num_steps, reset, "count")


def check_cores(budget: Any, neurons: int) -> None:
    core = budget.core
    assert budget.neurons == neurons <= budget.cores * core.neurons
    assert 1 <= core.neurons <= chip_constants.NEURONS_PER_CORE
    assert 1 <= core.synapse_words <= chip_constants.SYNAPSE_WORDS_PER_CORE
    assert 1 <= core.axons_in <= chip_constants.AXONS_IN_PER_CORE
    assert 1 <= core.axons_out <= chip_constants.AXONS_OUT_PER_CORE
