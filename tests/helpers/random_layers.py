"""Layers of random weights and biases, as the conformance suite makes them, for tests."""

from tandem_hw.conformance.random_layers import identity, random_layer

__all__ = ["identity", "random_layer"]
