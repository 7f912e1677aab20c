"""The digest of the integers that a layer computes with, to be compared with the network's own.

A backend takes it from what it multiplies and compares with: the reference from its tensors, the
model in PyTorch from the integers of its forward pass, Lava from the processes of its graph. A
weight that is off by one step is then seen whatever the samples are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.network.layers import Layer
from tandem_hw.network.synapses.geometry import Shape


def parameter_digest(
    weights: Sequence[npt.NDArray[Any]],
    bias: npt.NDArray[Any],
    threshold: int | None,
    output_shape: Shape,
) -> str:
    """Return the SHA-256 of one layer's weights, biases and threshold.

    Args:
        weights: integers in weight units, in PyTorch's axis order, of whatever dtype: those of
            each of its inputs.
        bias: integers in weight units, broadcastable to ``output_shape``.
        threshold: firing threshold in weight units, None for a readout.
        output_shape: shape of the neurons.

    Returns:
        64 hexadecimal digits; what is no whole number of 32 bits has a digest of its own.
    """
    state = hashlib.sha256()
    for array in (*weights, np.broadcast_to(bias, output_shape)):
        state.update(repr(array.shape).encode())
        with np.errstate(invalid="ignore"):
            whole = np.ascontiguousarray(array, dtype="<i4")
        state.update(whole.data)
        if not np.array_equal(whole, array):
            state.update(np.ascontiguousarray(array, dtype="<f8").data)
    state.update(f"threshold={threshold}".encode())
    return state.hexdigest()


def digest_of_layer(layer: Layer) -> str:
    """Return the ``parameter_digest`` that a layer of a network has to have on every backend."""
    weights = [synapses.weight for synapses in layer.synapses]
    threshold = layer.neurons.threshold
    return parameter_digest(weights, layer.bias_image(), threshold, layer.output_shape)
