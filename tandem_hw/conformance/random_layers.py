"""Layers of random weights and biases, and skip paths that add spikes as they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from tandem_hw.conformance.layers import make, one_to_one_layer
from tandem_hw.network.layers import Layer
from tandem_hw.network.synapses.kind import Synapses


def random_layer(
    kind: type[Synapses],
    name: str,
    weight_shape: tuple[int, ...],
    input_shape: tuple[int, ...],
    threshold: int | None = None,
    *,
    weights: tuple[int, int] = (-127, 127),
    bias_reach: int = 100,
    weight_bits: int = 8,
    generator: np.random.Generator | None = None,
    **fields: Any,
) -> Layer:
    """Return a layer of random integers.

    Args:
        kind: class of the synapses.
        name: name of the layer.
        weight_shape: shape of the weights, output channels first.
        input_shape: shape of what comes in.
        threshold: firing threshold, or None.
        weights: the least weight and the largest, both halved: weights are even.
        bias_reach: largest magnitude of a bias.
        weight_bits: bits of a weight.
        generator: draws the weights, then the biases; by default one that starts from the name, so
            that the same name gives the same integers.
        fields: further fields, as ``tandem_hw.conformance.layers.make`` takes them.
    """
    generator = generator or np.random.default_rng(list(name.encode()))
    least, largest = weights
    weight = 2 * generator.integers(least, largest + 1, weight_shape)
    bias = generator.integers(-bias_reach, bias_reach + 1, weight_shape[0])
    return make(kind, name, weight, weight_bits, bias, threshold, input_shape, **fields)


def identity(shape: tuple[int, ...], source: str, weight: int = 300, name: str = "") -> Layer:
    """Return a skip path that adds a layer's spikes as they are, each worth ``weight``."""
    name = name or f"identity-from-{source}"
    return one_to_one_layer(name, [weight], 8, [0], None, shape, source=source)
