"""What the synapses of one connection take of a core that holds some of the neurons behind them.

Dense and convolutional synapses follow the tables that the Loihi 2 compiler printed. No table shows
a sparse matrix, so transposed convolutions and one-to-one synapses are *assumed* to be stored as
dense ones are, without the synapses that are not there: every input that reaches a core is an axon
with whole words, 3.1 synapses a word. See docs/chip-budget.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from tandem_hw.chip.connection_matrix import position_matrix
from tandem_hw.chip.constants import (
    CONVOLUTION_AXONS_IN,
    DENSE_SYNAPSES_PER_WORD,
    KERNEL_WEIGHTS_PER_WORD,
)
from tandem_hw.network.synapses.convolutions import Conv1d, Conv2d, Convolution, ConvTranspose2d
from tandem_hw.network.synapses.dense import Dense, OneToOne
from tandem_hw.network.synapses.kind import Synapses, row_of


@dataclass(frozen=True)
class SynapseUse:
    """What synapses take of a core.

    Attributes:
        words: 64-bit words of synapse memory.
        axons_in: input axons.
    """

    words: int
    axons_in: int


def synapse_use(synapses: Synapses, neurons: int, channels: int) -> SynapseUse:
    """Estimate what synapses take of a core.

    Args:
        synapses: of one kind or another.
        neurons: how many of the neurons behind them the core holds.
        channels: how many output channels these neurons belong to; used by convolutions.

    Raises:
        NetworkError: nothing is known of their kind.
    """
    return row_of(_STORAGES, synapses, "the chip's budget").use(synapses, neurons, channels)


def in_blocks(synapses: Synapses) -> bool:
    """Return whether a core holds a block of positions, which share the kernels of its channels.

    Raises:
        NetworkError: nothing is known of their kind.
    """
    return row_of(_STORAGES, synapses, "the chip's budget").in_blocks


def _kernel_use(synapses: Convolution, neurons: int, channels: int) -> SynapseUse:
    weights = channels * math.prod(synapses.weight.shape[1:])
    return SynapseUse(-(-weights // KERNEL_WEIGHTS_PER_WORD), CONVOLUTION_AXONS_IN)


def _dense_use(synapses: Dense, neurons: int, channels: int) -> SynapseUse:
    inputs = math.prod(synapses.input_shape)
    return SynapseUse(inputs * dense_words(neurons), inputs)


def one_to_one_use(neurons: int) -> SynapseUse:
    """Return what one synapse a neuron takes: a word and an axon of its own each."""
    return SynapseUse(neurons, neurons)


def dense_words(synapses: int) -> int:
    """Return the words of synapse memory of one axon with so many synapses, rounded up."""
    return math.ceil(synapses / DENSE_SYNAPSES_PER_WORD)


def _matrix_use(synapses: Convolution, neurons: int, channels: int) -> SynapseUse:
    """Count what the fullest core takes if each holds so many neurons, in Lava's order (W, H, C).

    An input channel reaches the output channels of its group alike, so counting synapses takes the
    positions only: with m neurons of a group at each position, an axon has m @ positions of them.
    """
    total, places = synapses.output_shape[0], position_matrix(synapses)
    neuron = np.arange(math.prod(synapses.output_shape))
    core, position, channel = neuron // neurons, neuron // total, neuron % total
    words, axons = np.zeros((2, int(core[-1]) + 1), dtype=np.int64)
    groups, per_group = synapses.geometry.groups, synapses.weight.shape[1]
    per_word = DENSE_SYNAPSES_PER_WORD
    for group in range(groups):
        inside = channel // (total // groups) == group
        ones = np.ones(int(inside.sum()), dtype=np.int64)
        held = sparse.csr_matrix(
            (ones, (core[inside], position[inside])), (len(words), places.shape[0])
        )
        reached = (held @ places).tocoo()
        filled = -(-reached.data * per_word.denominator // per_word.numerator)
        words += per_group * np.bincount(reached.row, filled, len(words)).astype(int)
        axons += per_group * np.bincount(reached.row, minlength=len(words))
    return SynapseUse(int(words.max()), int(axons.max()))


@dataclass(frozen=True)
class _Storage:
    """How synapses of one kind are stored: what they take, and whether in blocks."""

    use: Callable[[Any, int, int], SynapseUse]
    in_blocks: bool = False


_STORAGES: dict[type[Synapses], _Storage] = {
    Dense: _Storage(_dense_use),
    OneToOne: _Storage(lambda synapses, neurons, channels: one_to_one_use(neurons)),
    Conv2d: _Storage(_kernel_use, in_blocks=True),
    Conv1d: _Storage(_kernel_use, in_blocks=True),
    ConvTranspose2d: _Storage(_matrix_use),
}
