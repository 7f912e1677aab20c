"""The synapses of a network as stock Lava processes, and how they are connected.

| layer | Lava Process | what goes in and out |
|---|---|---|
| Dense | ``Dense`` | the source's neurons, flattened in our order |
| Conv2d, Conv1d | ``Conv`` | images in Lava's order; a Conv1d is one of height 1 |
| ConvTranspose2d | ``Sparse`` | neurons flattened in Lava's order (``connection_matrix``) |
| OneToOne | ``Sparse``, a diagonal | the same |

A relay is a diagonal ``Sparse`` and a stock ``LIF`` (``tandem_hw.chip.relays``).

This module imports Lava; import it only where Lava is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from lava.magma.core.process.process import AbstractProcess
from lava.proc.conv.process import Conv as LavaConv
from lava.proc.dense.process import Dense as LavaDense
from lava.proc.lif.process import LIF
from lava.proc.sparse.process import Sparse
from lava.utils.weightutils import SignMode, clip_weights, truncate_weights
from scipy.sparse import identity

from tandem_hw.chip.axis_order import lava_shape
from tandem_hw.chip.connection_matrix import connection_matrix
from tandem_hw.network.synapses.convolutions import Conv1d, Conv2d, Convolution, ConvTranspose2d
from tandem_hw.network.synapses.dense import Dense, OneToOne, one_to_one_parts
from tandem_hw.network.synapses.geometry import Geometry, row_geometry
from tandem_hw.network.synapses.kind import Synapses, row_of
from tandem_hw.sim.graph.stock_neurons import NO_LEAK

#: Bits of a weight in Lava's processes.
_WEIGHT_BITS = 8
#: Bits of a graded input spike.
INPUT_MESSAGE_BITS = 8
#: Weight of a relay's synapse, and the voltage that a relay has to exceed: one spike is enough.
_RELAY_WEIGHT, _RELAY_VTH = 2, 1


def synapse_process(synapses: Synapses, *, graded: bool) -> AbstractProcess:
    """Return the process of synapses, not yet connected.

    Args:
        synapses: of one kind or another.
        graded: whether they take the network's input, whose values are integers, or spikes.

    Raises:
        NetworkError: Lava has no process for their kind.
    """
    build = row_of(_IN_LAVA, synapses, "the Lava graph").build
    return build(synapses, INPUT_MESSAGE_BITS if graded else 0)


def weights_of_process(synapses: Synapses, process: AbstractProcess) -> npt.NDArray[Any]:
    """Return the weights that a process adds up, in the axis order and shape of the network's.

    Args:
        synapses: what the process was built for, which say what shape that is.
        process: as ``synapse_process`` returned it.

    Returns:
        Integers in weight units; of another shape where the process holds other synapses.
    """
    return row_of(_IN_LAVA, synapses, "the Lava graph").read(synapses, process)


def _convolution(synapses: Conv2d, message_bits: int) -> LavaConv:
    return _lava_convolution(synapses, synapses.weight, synapses.geometry, message_bits)


def _row_convolution(synapses: Conv1d, message_bits: int) -> LavaConv:
    """Return the convolution of an image of one row."""
    row = row_geometry(synapses.geometry)
    return _lava_convolution(synapses, synapses.weight[:, :, None], row, message_bits)


def _lava_convolution(
    synapses: Convolution, weight: npt.NDArray[Any], geometry: Geometry, message_bits: int
) -> LavaConv:
    stride, padding, dilation = (
        pair[::-1] for pair in (geometry.stride, geometry.padding, geometry.dilation)
    )
    return LavaConv(
        # PyTorch correlates and Lava convolves: flip both axes; then (out, in, y, x) -> Lava's.
        weight=np.ascontiguousarray(weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)),
        input_shape=lava_shape(synapses.input_shape),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=geometry.groups,
        num_message_bits=message_bits,
    )


def _dense(synapses: Dense, message_bits: int) -> LavaDense:
    weights = synapses.weight.astype(np.int32)
    return LavaDense(
        **_narrow(weights, synapses.weight_bits),
        sign_mode=SignMode.MIXED,
        num_message_bits=message_bits,
    )


def _matrix(synapses: Convolution, message_bits: int) -> Sparse:
    return Sparse(
        **_narrow(connection_matrix(synapses), synapses.weight_bits),
        sign_mode=SignMode.MIXED,
        num_message_bits=message_bits,
    )


def _narrow(weights: Any, weight_bits: int) -> dict[str, Any]:
    """Return weights, weight_exp and num_weight_bits; ``weights`` are int32, sparse or not.

    Lava keeps the top bits of an 8-bit weight, so narrower weights are moved up and the sum down.
    """
    shift = _WEIGHT_BITS - weight_bits
    return {
        "weights": weights * (1 << shift),
        "weight_exp": -shift,
        "num_weight_bits": weight_bits,
    }


def _one_to_one(synapses: OneToOne, message_bits: int) -> Sparse:
    neurons = math.prod(synapses.output_shape)
    return _diagonal(neurons, *one_to_one_parts(int(synapses.weight[0])), message_bits)


def _diagonal(neurons: int, mantissa: int, exponent: int, message_bits: int = 0) -> Sparse:
    """Return positive synapses one to one; their sign is fixed, so no bit of a weight is lost."""
    return Sparse(
        weights=mantissa * identity(neurons, dtype=np.int32, format="csr"),
        weight_exp=exponent,
        sign_mode=SignMode.EXCITATORY,
        num_message_bits=message_bits,
    )


# Back from a process ------------------------------------------------------------------------------


def _read_convolution(synapses: Conv2d, process: AbstractProcess) -> npt.NDArray[Any]:
    # Lava's (out, x, y, in), flipped, into (out, in, y, x).
    weight: npt.NDArray[Any] = process.weight.init.transpose(0, 3, 2, 1)[:, :, ::-1, ::-1]
    return weight


def _read_row_convolution(synapses: Conv1d, process: AbstractProcess) -> npt.NDArray[Any]:
    weight: npt.NDArray[Any] = process.weight.init.transpose(0, 3, 2, 1)[:, :, 0, ::-1]
    return weight


def _read_dense(synapses: Dense, process: AbstractProcess) -> npt.NDArray[Any]:
    return np.asarray(_added_up(process))


def _read_matrix(synapses: Convolution, process: AbstractProcess) -> npt.NDArray[Any]:
    """Return the kernel whose matrix this is: the network's own, or the matrix where it is not."""
    matrix = _added_up(process)
    same = (connection_matrix(synapses) != matrix).nnz == 0
    return synapses.weight if same else _entries(matrix)


def _read_one_to_one(synapses: OneToOne, process: AbstractProcess) -> npt.NDArray[Any]:
    matrix = _added_up(process)
    values: npt.NDArray[Any] = matrix.diagonal()
    one_to_one = matrix.nnz == len(values) and np.all(values == values[0])
    return values[:1] if one_to_one else _entries(matrix)


def _added_up(process: AbstractProcess) -> Any:
    """Return the weights of a ``Dense`` or ``Sparse`` as its fixed-point model adds them up."""
    given = process.proc_params
    mode, exponent = given["sign_mode"], given["weight_exp"]
    weights = clip_weights(process.weights.init, mode, num_bits=_WEIGHT_BITS)
    weights = truncate_weights(weights, mode, given.get("num_weight_bits", _WEIGHT_BITS))
    factor = 1 << abs(exponent)
    if isinstance(weights, np.ndarray):
        return weights * factor if exponent >= 0 else weights // factor
    weights.data = weights.data * factor if exponent >= 0 else weights.data // factor
    return weights


def _entries(matrix: Any) -> npt.NDArray[Any]:
    """Return rows, columns and values [3, entries], which no layer has as its weights."""
    found = matrix.tocoo()
    return np.stack([found.row, found.col, found.data])


@dataclass(frozen=True)
class _InLava:
    """Synapses of one kind in Lava: how their process is built, and its weights read back."""

    build: Callable[[Any, int], AbstractProcess]
    read: Callable[[Any, AbstractProcess], npt.NDArray[Any]]


_IN_LAVA: dict[type[Synapses], _InLava] = {
    Dense: _InLava(_dense, _read_dense),
    Conv2d: _InLava(_convolution, _read_convolution),
    Conv1d: _InLava(_row_convolution, _read_row_convolution),
    ConvTranspose2d: _InLava(_matrix, _read_matrix),
    OneToOne: _InLava(_one_to_one, _read_one_to_one),
}


# Between source, synapses and neurons -------------------------------------------------------------


def connect_signal(signal: Any, synapses: Synapses, process: AbstractProcess) -> None:
    """Connect an out port in Lava's shape of ``synapses.input_shape`` to the synapses."""
    if isinstance(process, LavaDense) and len(synapses.input_shape) > 1:
        signal = signal.transpose([2, 1, 0]).flatten()  # into our order
    elif isinstance(process, Sparse):
        signal = signal.reshape((math.prod(synapses.input_shape),))
    signal.connect(process.s_in)


def connect_neurons(process: AbstractProcess, synapses: Synapses, a_in: Any) -> None:
    """Connect synapses to the in port of the neurons behind them, in Lava's shape."""
    a_out = process.a_out
    if isinstance(process, Sparse):
        a_out = a_out.reshape(lava_shape(synapses.output_shape))
    a_out.connect(a_in)


def relay_chain(neuron: AbstractProcess, stages: int) -> list[tuple[Sparse, LIF]]:
    """Return relays that hold the spikes of neurons back, one step each, connected in a row.

    Args:
        neuron: has s_out.
        stages: how many relays.

    Returns:
        Of each relay its synapses and its neurons, which have an s_out of the same shape.
    """
    chain: list[tuple[Sparse, LIF]] = []
    shape = neuron.s_out.shape
    for _ in range(stages):
        signal = chain[-1][1].s_out if chain else neuron.s_out
        synapses = _diagonal(math.prod(shape), _RELAY_WEIGHT, exponent=0)
        lif = LIF(shape=shape, vth=_RELAY_VTH, **NO_LEAK)
        signal.reshape((math.prod(shape),)).connect(synapses.s_in)
        synapses.a_out.reshape(shape).connect(lif.a_in)
        chain.append((synapses, lif))
    return chain
