"""How a layer is spread over neuron cores: the rules of the Loihi 2 compiler, from its own tables.

A *dense* layer starts on one core. Where it breaks a limit, it is split evenly into as many times
more cores as the worst limit is exceeded, until all limits hold:

    words of a core = inputs * ceil(neurons of the core / 3.1)

A *convolution* is cut into blocks (width, height, channels); a core holds one block and the kernels
of its channels, which all positions share:

    words of a core = ceil(channels of the block * weights of one channel / 8)

A block's width is a power of two, its height and channels are the layer's divided by powers of two,
the channels only as far as the synapse memory demands. Of the blocks that fit, one with the fewest
cores is taken. These rules give the core count of every convolution in lava-dl's tables;
docs/chip-budget.md compares them.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from tandem_hw.errors import NetworkError
from tandem_hw.export.chip_constants import (
    AXONS_IN_PER_CORE,
    AXONS_OUT_PER_CORE,
    CONVOLUTION_AXONS_IN,
    DENSE_SYNAPSES_PER_WORD,
    KERNEL_WEIGHTS_PER_WORD,
    NEURONS_PER_CORE,
    SYNAPSE_WORDS_PER_CORE,
)
from tandem_hw.network import Conv2d, Layer, Shape

#: What a core can run out of: the field of ``CoreUse``, what it counts, and how much there is.
_LIMITS = (
    ("neurons", "neurons", NEURONS_PER_CORE),
    ("axons_in", "input axons", AXONS_IN_PER_CORE),
    ("axons_out", "outgoing axons", AXONS_OUT_PER_CORE),
    ("synapse_words", "words of synapse memory", SYNAPSE_WORDS_PER_CORE),
)


@dataclass(frozen=True)
class NeuronParts:
    """What the neurons of a layer carry beside themselves (``tandem_hw.export.stock_neurons``).

    Attributes:
        self_inhibition: each neuron inhibits itself, to reset by subtraction.
        clocks: clock neurons that silence the layer between two windows.
    """

    self_inhibition: bool = False
    clocks: int = 0


PLAIN = NeuronParts()


@dataclass(frozen=True)
class CoreUse:
    """What the fullest core of a layer holds.

    Attributes:
        neurons: neurons; of a convolution the size of its block, as the compiler counts it.
        synapse_words: 64-bit words of synapse memory.
        axons_in: input axons.
        axons_out: outgoing axons.
    """

    neurons: int
    synapse_words: int
    axons_in: int
    axons_out: int

    @property
    def ratio(self) -> int:
        """How many cores the contents need for the limit that is exceeded most; 1 if they fit."""
        return max(1, *(-(-int(getattr(self, name)) // limit) for name, _, limit in _LIMITS))

    @property
    def excess(self) -> str:
        """The first limit that is broken, in words."""
        return next(
            f"{getattr(self, name)} {what}, a core has {limit}"
            for name, what, limit in _LIMITS
            if getattr(self, name) > limit
        )


@dataclass(frozen=True)
class LayerBudget:
    """What a layer takes of a chip.

    Attributes:
        name: name of the layer.
        neurons: number of its neurons.
        cores: cores that hold them and their synapses.
        clock_cores: cores of its clock neurons: a Process of its own has a core of its own.
        core: what the fullest of ``cores`` holds.
        block: (width, height, channels) of a core of a convolution, None for a dense layer.
    """

    name: str
    neurons: int
    cores: int
    clock_cores: int
    core: CoreUse
    block: Shape | None = None

    @property
    def total_cores(self) -> int:
        """All cores of the layer."""
        return self.cores + self.clock_cores


def layer_budget(layer: Layer, parts: NeuronParts = PLAIN) -> LayerBudget:
    """Estimate the cores of one layer.

    Args:
        layer: a dense layer or a convolution.
        parts: what its neurons carry beside themselves.

    Returns:
        The estimate.

    Raises:
        NetworkError: not even one neuron fits a core.
    """
    if isinstance(layer, Conv2d):
        return _convolution_budget(layer, parts)
    return _dense_budget(layer, parts)


def input_budget(shape: Shape, name: str = "input") -> LayerBudget:
    """Estimate the cores of input neurons without synapses, driven by a bias, as lava-dl has them.

    Networks of ours have none: their input comes from outside the cores.

    Args:
        shape: (C, H, W).
        name: what to call the layer.

    Returns:
        The estimate.
    """
    cores, block = _best_block(shape, 0, PLAIN)
    return LayerBudget(name, math.prod(shape), cores, 0, _block_use(block, 0, PLAIN), block)


def _dense_budget(layer: Layer, parts: NeuronParts) -> LayerBudget:
    inputs, cores = math.prod(layer.input_shape), 1
    while True:
        neurons = -(-layer.neurons // cores)
        use = _core_use(neurons, inputs * dense_words(neurons), inputs, parts)
        if use.ratio == 1:
            return LayerBudget(layer.name, layer.neurons, cores, int(parts.clocks > 0), use)
        if neurons == 1:
            raise NetworkError(
                f"layer {layer.name}: one neuron with its {inputs} inputs needs {use.excess}, so "
                f"no chip holds it; put a convolution with a larger stride or fewer channels "
                f"before it"
            )
        cores = min(cores * use.ratio, layer.neurons)


def _convolution_budget(layer: Conv2d, parts: NeuronParts) -> LayerBudget:
    kernel = math.prod(layer.weight.shape[1:])
    smallest = _block_use((1, 1, 1), kernel, parts)
    if smallest.ratio > 1:
        raise NetworkError(
            f"layer {layer.name}: one output channel with its kernel of {kernel} weights needs "
            f"{smallest.excess}, so no chip holds it; use fewer input channels, groups or a "
            f"smaller kernel"
        )
    cores, block = _best_block(layer.output_shape, kernel, parts)
    use = _block_use(block, kernel, parts)
    return LayerBudget(layer.name, layer.neurons, cores, int(parts.clocks > 0), use, block)


def _best_block(shape: Shape, kernel: int, parts: NeuronParts) -> tuple[int, Shape]:
    """Return the number of cores and the block of a layer (C, H, W) with the fewest cores.

    Channels are split only as far as the synapse memory demands; the smallest block has to fit.
    """
    channels, height, width = shape
    full = min(NEURONS_PER_CORE, math.prod(shape))
    roomy = [
        share
        for share in _halves(channels)
        if share <= full and _core_use(full, _kernel_words(share, kernel), 0, parts).ratio == 1
    ]
    widths = [1 << power for power in range((width - 1).bit_length() + 1)]
    shares = [max(roomy)] if roomy else _halves(channels)
    fitting = [
        block
        for block in itertools.product(widths, _halves(height), shares)
        if _block_use(block, kernel, parts).ratio == 1
    ]

    def cores(block: Shape) -> int:
        pairs = zip((width, height, channels), block, strict=True)
        return math.prod(-(-length // piece) for length, piece in pairs)

    # Among equals the most channels, then the squarest; the count is what is estimated.
    best = min(fitting, key=lambda block: (cores(block), -block[2], block[0] + block[1]))
    return cores(best), best


def _halves(length: int) -> list[int]:
    """Return a length divided by 1, 2, 4, ..., rounded up, down to 1."""
    powers = range((length - 1).bit_length() + 1)
    return sorted({-(-length >> power) for power in powers})


def _block_use(block: Shape, kernel: int, parts: NeuronParts) -> CoreUse:
    words = _kernel_words(block[2], kernel)
    return _core_use(math.prod(block), words, CONVOLUTION_AXONS_IN, parts)


def _kernel_words(channels: int, kernel: int) -> int:
    return -(-channels * kernel // KERNEL_WEIGHTS_PER_WORD)


def _core_use(neurons: int, words: int, axons_in: int, parts: NeuronParts) -> CoreUse:
    """Add what the neurons carry beside themselves to the synapses that come from the layer below.

    A neuron that inhibits itself has one more axon in, with one synapse in a word of its own, and
    one more axon out. A clock has one axon in with a synapse for each neuron.
    """
    axons_out = neurons
    if parts.self_inhibition:
        words, axons_in, axons_out = words + neurons, axons_in + neurons, axons_out + neurons
    words += parts.clocks * dense_words(neurons)
    return CoreUse(neurons, words, axons_in + parts.clocks, axons_out)


def dense_words(synapses: int) -> int:
    """Return the words of synapse memory of one axon with so many synapses, rounded up."""
    return math.ceil(synapses / DENSE_SYNAPSES_PER_WORD)
