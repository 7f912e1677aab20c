"""The synapses of a transposed convolution as one sparse matrix, in Lava's order of the neurons.

Lava has no process for it. With the weights W[i, j] of kernel place (i, j), [out, in], and matrices
Y[i] and X[j] that say which output row or column an input's reaches through that place,

    matrix = sum over (i, j) of  X[j] (x) Y[i] (x) W[i, j]        ((x): Kronecker product)

since Lava flattens neurons (W, H, C) in C order. Two places of the kernel never join the same two
neurons, so every entry is a single weight. No Lava is needed here.
"""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
from scipy import sparse

from tandem_hw.network.quantized import ConvTranspose2d


def connection_matrix(layer: ConvTranspose2d) -> sparse.csr_matrix:
    """Return the weights of all synapses.

    Args:
        layer: a transposed convolution.

    Returns:
        int32 [neurons, inputs] in weight units, both in Lava's order; weights of 0 are left out.
    """
    rows, columns = (_places(layer, axis) for axis in range(layer.rank))
    matrix = reduce(
        add,
        (
            sparse.kron(sparse.kron(column, row), _channels(layer, i, j), format="csr")
            for i, row in enumerate(rows)
            for j, column in enumerate(columns)
        ),
    ).astype(np.int32)
    matrix.eliminate_zeros()
    return matrix


def position_matrix(layer: ConvTranspose2d) -> sparse.csr_matrix:
    """Return which positions reach which, whatever the channels.

    Returns:
        int32 [output positions, input positions] of 0 and 1, both in Lava's order (W, H).
    """
    rows, columns = (reduce(add, _places(layer, axis)) for axis in range(layer.rank))
    return sparse.kron(columns, rows, format="csr")


def _places(layer: ConvTranspose2d, axis: int) -> list[sparse.csr_matrix]:
    """Return, for each place of the kernel along an axis, a matrix [outputs, inputs] of 0 and 1."""
    taps, shape = layer.taps(axis), (layer.output_shape[1 + axis], layer.input_shape[1 + axis])
    inputs = np.arange(len(taps))
    matrices = []
    for reached in taps.T:
        inside = (reached >= 0) & (reached < shape[0])
        ones = np.ones(int(inside.sum()), dtype=np.int32)
        matrices.append(sparse.csr_matrix((ones, (reached[inside], inputs[inside])), shape))
    return matrices


def _channels(layer: ConvTranspose2d, row: int, column: int) -> sparse.csr_matrix:
    """Return the weights [out, in] of one place of the kernel; groups lie on the diagonal."""
    weight = layer.weight[:, :, row, column].astype(np.int32)
    return sparse.block_diag(np.split(weight, layer.groups), format="csr")
