"""What the synapses of one connection take of a core that holds some of the neurons behind them.

Dense and convolutional synapses follow the tables that the Loihi 2 compiler printed. No table shows
a sparse matrix, so transposed convolutions and one-to-one synapses are *assumed* to be stored as
dense ones are, without the synapses that are not there: every input that reaches a core is an axon
with whole words, 3.1 synapses a word. See docs/chip-budget.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from tandem_hw.chip.connection_matrix import position_matrix
from tandem_hw.chip.constants import (
    CONVOLUTION_AXONS_IN,
    DENSE_SYNAPSES_PER_WORD,
    KERNEL_WEIGHTS_PER_WORD,
)
from tandem_hw.network.quantized import Conv1d, Conv2d, ConvTranspose2d, Layer, OneToOne


@dataclass(frozen=True)
class SynapseUse:
    """What synapses take of a core.

    Attributes:
        words: 64-bit words of synapse memory.
        axons_in: input axons.
    """

    words: int
    axons_in: int


def synapse_use(synapses: Layer, neurons: int, channels: int) -> SynapseUse:
    """Estimate what synapses take of a core.

    Args:
        synapses: a layer or one of its skips.
        neurons: how many of the neurons behind them the core holds.
        channels: how many output channels these neurons belong to; used by convolutions.
    """
    if isinstance(synapses, Conv1d | Conv2d):
        weights = channels * math.prod(synapses.weight.shape[1:])
        return SynapseUse(-(-weights // KERNEL_WEIGHTS_PER_WORD), CONVOLUTION_AXONS_IN)
    if isinstance(synapses, OneToOne):
        return one_to_one_use(neurons)
    if isinstance(synapses, ConvTranspose2d):
        return _transposed_use(synapses, neurons)
    inputs = math.prod(synapses.input_shape)
    return SynapseUse(inputs * dense_words(neurons), inputs)


def one_to_one_use(neurons: int) -> SynapseUse:
    """Return what one synapse a neuron takes: a word and an axon of its own each."""
    return SynapseUse(neurons, neurons)


def dense_words(synapses: int) -> int:
    """Return the words of synapse memory of one axon with so many synapses, rounded up."""
    return math.ceil(synapses / DENSE_SYNAPSES_PER_WORD)


def _transposed_use(layer: ConvTranspose2d, neurons: int) -> SynapseUse:
    """Count what the fullest core takes if each holds so many neurons, in Lava's order (W, H, C).

    An input channel reaches the output channels of its group alike, so counting synapses takes the
    positions only: with m neurons of a group at each position, an axon has m @ positions of them.
    """
    channels, places = layer.output_shape[0], position_matrix(layer)
    neuron = np.arange(layer.neurons)
    core, position, channel = neuron // neurons, neuron // channels, neuron % channels
    words, axons = np.zeros((2, int(core[-1]) + 1), dtype=np.int64)
    per_word = DENSE_SYNAPSES_PER_WORD
    for group in range(layer.groups):
        inside = channel // (channels // layer.groups) == group
        ones = np.ones(int(inside.sum()), dtype=np.int64)
        held = sparse.csr_matrix(
            (ones, (core[inside], position[inside])), (len(words), places.shape[0])
        )
        synapses = (held @ places).tocoo()
        filled = -(-synapses.data * per_word.denominator // per_word.numerator)
        words += layer.weight.shape[1] * np.bincount(synapses.row, filled, len(words)).astype(int)
        axons += layer.weight.shape[1] * np.bincount(synapses.row, minlength=len(words))
    return SynapseUse(int(words.max()), int(axons.max()))
