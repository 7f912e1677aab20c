"""Layers and networks in few words, as the conformance suite makes them, for tests."""

from tandem_hw.conformance.layers import (
    BEFORE,
    as_input,
    changed,
    connected,
    conv1d_layer,
    conv2d_layer,
    conv_transpose2d_layer,
    dense_layer,
    make,
    make_synapses,
    network_of,
    one_to_one_layer,
)

__all__ = [
    "BEFORE",
    "as_input",
    "changed",
    "connected",
    "conv1d_layer",
    "conv2d_layer",
    "conv_transpose2d_layer",
    "dense_layer",
    "make",
    "make_synapses",
    "network_of",
    "one_to_one_layer",
]
