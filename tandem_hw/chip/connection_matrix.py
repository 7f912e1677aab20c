"""The synapses of a convolution as one sparse matrix, in Lava's order of the neurons.

Lava has no process for a transposed one. With the weights W[i, j] of kernel place (i, j), [out,
in], and matrices Y[i] and X[j] that say which output row or column an input's reaches through that
place,

    matrix = sum over (i, j) of  X[j] (x) Y[i] (x) W[i, j]        ((x): Kronecker product)

since Lava flattens neurons (W, H, C) in C order. Two places of the kernel never join the same two
neurons, so every entry is a single weight. No Lava is needed here.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial, reduce
from itertools import product
from operator import add

import numpy as np
from scipy import sparse

from tandem_hw.network.synapses.convolutions import Convolution


def connection_matrix(synapses: Convolution) -> sparse.csr_matrix:
    """Return the weights of all synapses.

    Args:
        synapses: a convolution of any number of axes, transposed or not.

    Returns:
        int32 [neurons, inputs] in weight units, both in Lava's order; weights of 0 are left out.
    """
    places = product(*(range(length) for length in synapses.kernel))
    along = [_places(synapses, axis) for axis in range(synapses.rank)]
    matrices = (
        _kron(
            [
                *(axis[at] for axis, at in reversed([*zip(along, place, strict=True)])),
                _channels(synapses, place),
            ]
        )
        for place in places
    )
    matrix = reduce(add, matrices).astype(np.int32)
    matrix.eliminate_zeros()
    return matrix


def position_matrix(synapses: Convolution) -> sparse.csr_matrix:
    """Return which positions reach which, whatever the channels.

    Returns:
        int32 [output positions, input positions] of 0 and 1, both in Lava's order, (W, H) or (W).
    """
    axes = [reduce(add, _places(synapses, axis)) for axis in range(synapses.rank)]
    return _kron(reversed(axes))


def _kron(matrices: Iterable[sparse.csr_matrix]) -> sparse.csr_matrix:
    return reduce(partial(sparse.kron, format="csr"), matrices)


def _places(synapses: Convolution, axis: int) -> list[sparse.csr_matrix]:
    """Return, for each place of the kernel along an axis, a matrix [outputs, inputs] of 0 and 1."""
    shape = (synapses.output_shape[1 + axis], synapses.input_shape[1 + axis])
    return [
        sparse.csr_matrix((np.ones(len(pairs[0]), dtype=np.int32), pairs), shape)
        for pairs in synapses.meetings(axis)
    ]


def _channels(synapses: Convolution, place: tuple[int, ...]) -> sparse.csr_matrix:
    """Return the weights [out, in] of one place of the kernel; groups lie on the diagonal."""
    index: tuple[slice | int, ...] = (slice(None), slice(None), *place)
    weight = synapses.weight[index].astype(np.int32)
    blocks = [sparse.csr_matrix(one) for one in np.split(weight, synapses.geometry.groups)]
    return sparse.block_diag(blocks, format="csr")
