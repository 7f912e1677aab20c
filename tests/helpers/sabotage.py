"""Layers and networks that are off by one step of the grid."""

from __future__ import annotations

from dataclasses import replace

from tandem_hw.network.layers import Layer, OneToOne, one_to_one_parts
from tandem_hw.network.quantized import QuantizedNetwork


def other_layer(layer: Layer, name: str, index: int = 0) -> Layer:
    """Return a layer of which one weight is off by one step, of itself or of its skip ``name``."""
    if name != layer.name:
        skips = [other_layer(one, name, index) if one.name == name else one for one in layer.skips]
        return replace(layer, skips=tuple(skips))
    weight = layer.weight.astype(int)
    if isinstance(layer, OneToOne):
        mantissa, exponent = one_to_one_parts(int(weight[0]))
        weight[0] = (mantissa + (1 if mantissa < 255 else -1)) << exponent
    else:
        weight.flat[index] += -2 if weight.flat[index] > 0 else 2
    return replace(layer, weight=weight)


def with_layer(network: QuantizedNetwork, layer: Layer) -> QuantizedNetwork:
    """Return a network with one layer in the place of that of the same name."""
    layers = tuple(layer if one.name == layer.name else one for one in network)
    return replace(network, layers=layers)
