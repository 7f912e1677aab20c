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
from typing import Any

import numpy as np
from lava.magma.core.process.process import AbstractProcess
from lava.proc.conv.process import Conv as LavaConv
from lava.proc.dense.process import Dense as LavaDense
from lava.proc.lif.process import LIF
from lava.proc.sparse.process import Sparse
from lava.utils.weightutils import SignMode
from scipy.sparse import identity

from tandem_hw.chip.axis_order import lava_shape
from tandem_hw.chip.connection_matrix import connection_matrix
from tandem_hw.network.layers import one_to_one_parts
from tandem_hw.network.quantized import Conv1d, Conv2d, ConvTranspose2d, Dense, Layer, OneToOne
from tandem_hw.sim.graph.stock_neurons import NO_LEAK

#: Bits of a graded input spike.
INPUT_MESSAGE_BITS = 8
#: Weight of a relay's synapse, and the voltage that a relay has to exceed: one spike is enough.
_RELAY_WEIGHT, _RELAY_VTH = 2, 1


def synapse_process(synapses: Layer, *, graded: bool) -> AbstractProcess:
    """Return the process of synapses, not yet connected.

    Args:
        synapses: a layer or one of its skips.
        graded: whether they take the network's input, whose values are integers, or spikes.
    """
    return _BUILDERS[type(synapses)](synapses, INPUT_MESSAGE_BITS if graded else 0)


def _convolution(layer: Conv2d | Conv1d, message_bits: int) -> LavaConv:
    weight, geometry = layer.weight, (layer.stride, layer.padding, layer.dilation)
    if isinstance(layer, Conv1d):
        weight, geometry = weight[:, :, None], ((1, *layer.stride), (0, *layer.padding),
                                                (1, *layer.dilation))  # fmt: skip
    stride, padding, dilation = (pair[::-1] for pair in geometry)
    return LavaConv(
        # PyTorch correlates and Lava convolves: flip both axes; then (out, in, y, x) -> Lava's.
        weight=np.ascontiguousarray(weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)),
        input_shape=lava_shape(layer.input_shape),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=layer.groups,
        num_message_bits=message_bits,
    )


def _dense(layer: Dense, message_bits: int) -> LavaDense:
    weights = layer.weight.astype(np.int32)
    return LavaDense(
        **_narrow(weights, layer.weight_bits),
        sign_mode=SignMode.MIXED,
        num_message_bits=message_bits,
    )


def _transposed(layer: ConvTranspose2d, message_bits: int) -> Sparse:
    return Sparse(
        **_narrow(connection_matrix(layer), layer.weight_bits),
        sign_mode=SignMode.MIXED,
        num_message_bits=message_bits,
    )


def _narrow(weights: Any, weight_bits: int) -> dict[str, Any]:
    """Return weights, weight_exp and num_weight_bits; ``weights`` are int32, sparse or not.

    Lava keeps the top bits of an 8-bit weight, so narrower weights are moved up and the sum down.
    """
    shift = 8 - weight_bits
    return {
        "weights": weights * (1 << shift),
        "weight_exp": -shift,
        "num_weight_bits": weight_bits,
    }


def _one_to_one(layer: OneToOne, message_bits: int) -> Sparse:
    return _diagonal(layer.neurons, *one_to_one_parts(int(layer.weight[0])), message_bits)


def _diagonal(neurons: int, mantissa: int, exponent: int, message_bits: int = 0) -> Sparse:
    """Return positive synapses one to one; their sign is fixed, so no bit of a weight is lost."""
    return Sparse(
        weights=mantissa * identity(neurons, dtype=np.int32, format="csr"),
        weight_exp=exponent,
        sign_mode=SignMode.EXCITATORY,
        num_message_bits=message_bits,
    )


_BUILDERS: dict[type[Layer], Callable[[Any, int], AbstractProcess]] = {
    Dense: _dense,
    Conv2d: _convolution,
    Conv1d: _convolution,
    ConvTranspose2d: _transposed,
    OneToOne: _one_to_one,
}


def connect_signal(signal: Any, synapses: Layer, process: AbstractProcess) -> None:
    """Connect an out port in Lava's shape of ``synapses.input_shape`` to the synapses."""
    if isinstance(process, LavaDense) and len(synapses.input_shape) > 1:
        signal = signal.transpose([2, 1, 0]).flatten()  # into our order
    elif isinstance(process, Sparse):
        signal = signal.reshape((math.prod(synapses.input_shape),))
    signal.connect(process.s_in)


def connect_neurons(process: AbstractProcess, synapses: Layer, a_in: Any) -> None:
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
