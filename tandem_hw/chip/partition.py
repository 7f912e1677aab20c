"""How a layer is spread over neuron cores: the rules of the Loihi 2 compiler, from its own tables.

A *dense* layer starts on one core. Where it breaks a limit, it is split evenly into as many times
more cores as the worst limit is exceeded, until all limits hold:

    words of a core = inputs * ceil(neurons of the core / 3.1)

A *convolution* is cut into blocks (width, height, channels); a core holds one block and the kernels
of its channels, which all positions share:

    words of a core = ceil(channels of the block * weights of one channel / 8)

A *transposed convolution* and *one-to-one* synapses are sparse matrices for Lava; what they take is
in ``synapse_memory``. Layers of them alone are split as dense ones. The synapses of a skip path lie
in the cores of the neurons that they reach.

A block's width is a power of two, its height and channels are the layer's divided by powers of two,
the channels only as far as the synapse memory demands. Of the blocks that fit, one with the fewest
cores is taken. These rules give the core count of every convolution in lava-dl's tables;
docs/chip-budget.md compares them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tandem_hw.chip.constants import (
    AXONS_IN_PER_CORE,
    AXONS_OUT_PER_CORE,
    NEURONS_PER_CORE,
    SYNAPSE_WORDS_PER_CORE,
)
from tandem_hw.chip.synapse_memory import (
    SynapseUse,
    dense_words,
    in_blocks,
    one_to_one_use,
    synapse_use,
)
from tandem_hw.counted import counted
from tandem_hw.errors import NetworkError
from tandem_hw.network.quantized import Layer, Shape

#: What a core can run out of: the field of ``CoreUse``, what it counts, and how much there is.
_LIMITS = (
    ("neurons", "neurons", NEURONS_PER_CORE),
    ("axons_in", "input axons", AXONS_IN_PER_CORE),
    ("axons_out", "outgoing axons", AXONS_OUT_PER_CORE),
    ("synapse_words", "words of synapse memory", SYNAPSE_WORDS_PER_CORE),
)


@dataclass(frozen=True)
class NeuronParts:
    """What the neurons of a layer carry beside themselves (``tandem_hw.sim.graph.stock_neurons``).

    Attributes:
        self_inhibition: each neuron inhibits itself, to reset by subtraction.
        clocks: clock neurons that silence the layer between two windows, and while it waits.
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
        block: (width, height, channels) of a core of a convolution, None for other layers.
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
    """Estimate the cores of one layer, the synapses of its skips included.

    Args:
        layer: what shall be placed.
        parts: what its neurons carry beside themselves.

    Returns:
        The estimate.

    Raises:
        NetworkError: not even one neuron fits a core.
    """
    if any(in_blocks(item) for item in layer.synapses):
        return _block_budget(layer, parts)

    def use(neurons: int) -> CoreUse:
        uses = [synapse_use(item, neurons, neurons) for item in layer.synapses]
        return _core_use(neurons, uses, parts)

    cores, core = _even_split(layer.num_neurons, use)
    if core.ratio > 1:
        raise NetworkError(
            f"layer {layer.name}: one neuron and its synapses need {core.excess}, so no chip holds "
            f"it; put a convolution with a larger stride or fewer channels before it"
        )
    return LayerBudget(layer.name, layer.num_neurons, cores, int(parts.clocks > 0), core)


def relay_budget(layer: Layer, stage: int) -> LayerBudget:
    """Estimate the cores of the neurons that hold a layer's spikes back by one step more.

    Args:
        layer: whose spikes they are.
        stage: which of its relays, from 1.

    Returns:
        The estimate: each relay is a Process of its own, so it has cores of its own.
    """
    cores, core = _even_split(
        layer.num_neurons, lambda neurons: _core_use(neurons, [one_to_one_use(neurons)], PLAIN)
    )
    return LayerBudget(f"{layer.name}, relay {stage}", layer.num_neurons, cores, 0, core)


def input_budget(shape: Shape, name: str = "input") -> LayerBudget:
    """Estimate the cores of input neurons without synapses, driven by a bias, as lava-dl has them.

    Networks of ours have none: their input comes from outside the cores.

    Args:
        shape: (C, H, W).
        name: what to call the layer.

    Returns:
        The estimate.
    """
    cores, block, use = _best_block(shape, lambda neurons, _: _core_use(neurons, [], PLAIN))
    return LayerBudget(name, math.prod(shape), cores, 0, use, block)


def _even_split(neurons: int, use: Callable[[int], CoreUse]) -> tuple[int, CoreUse]:
    """Split neurons evenly until a core holds its share, or only one neuron that it does not."""
    cores = 1
    while True:
        share = -(-neurons // cores)
        core = use(share)
        if core.ratio == 1 or share == 1:
            return cores, core
        cores = min(cores * core.ratio, neurons)


def _block_budget(layer: Layer, parts: NeuronParts) -> LayerBudget:
    def use(neurons: int, channels: int) -> CoreUse:
        uses = [synapse_use(item, neurons, channels) for item in layer.synapses]
        return _core_use(neurons, uses, parts)

    smallest = use(1, 1)
    if smallest.ratio > 1:
        kernel = sum(math.prod(item.weight.shape[1:]) for item in layer.synapses)
        raise NetworkError(
            f"layer {layer.name}: one output channel with its kernel of "
            f"{counted(kernel, 'weight')} needs "
            f"{smallest.excess}, so no chip holds it; use fewer input channels, groups or a "
            f"smaller kernel"
        )
    channels, *lengths = layer.output_shape
    # A layer (C, L) is for Lava an image of height 1.
    shape = (channels, 1, *lengths) if len(lengths) == 1 else layer.output_shape
    cores, block, core = _best_block(shape, use)
    return LayerBudget(layer.name, layer.num_neurons, cores, int(parts.clocks > 0), core, block)


def _best_block(shape: Shape, use: Callable[[int, int], CoreUse]) -> tuple[int, Shape, CoreUse]:
    """Return the number of cores, the block of a layer (C, H, W) with the fewest, and its use.

    Channels are split only as far as the synapse memory demands; the smallest block has to fit.
    ``use`` takes the neurons and the channels of a block.
    """
    channels, height, width = shape
    full = min(NEURONS_PER_CORE, math.prod(shape))
    roomy = [share for share in _halves(channels) if share <= full and use(full, share).ratio == 1]
    widths = [1 << power for power in range((width - 1).bit_length() + 1)]
    shares = [max(roomy)] if roomy else _halves(channels)
    fitting = [
        block
        for block in itertools.product(widths, _halves(height), shares)
        if use(math.prod(block), block[2]).ratio == 1
    ]

    def cores(block: Shape) -> int:
        pairs = zip((width, height, channels), block, strict=True)
        return math.prod(-(-length // piece) for length, piece in pairs)

    # Among equals the most channels, then the squarest; the count is what is estimated.
    best = min(fitting, key=lambda block: (cores(block), -block[2], block[0] + block[1]))
    return cores(best), best, use(math.prod(best), best[2])


def _halves(length: int) -> list[int]:
    """Return a length divided by 1, 2, 4, ..., rounded up, down to 1."""
    powers = range((length - 1).bit_length() + 1)
    return sorted({-(-length >> power) for power in powers})


def _core_use(neurons: int, incoming: Sequence[SynapseUse], parts: NeuronParts) -> CoreUse:
    """Add what the neurons carry beside themselves to the synapses that come from other layers.

    A neuron that inhibits itself has one more axon in, with one synapse in a word of its own, and
    one more axon out. A clock has one axon in with a synapse for each neuron.
    """
    incoming = [*incoming, *([one_to_one_use(neurons)] if parts.self_inhibition else [])]
    words = sum(item.words for item in incoming) + parts.clocks * dense_words(neurons)
    axons_in = sum(item.axons_in for item in incoming) + parts.clocks
    return CoreUse(neurons, words, axons_in, neurons * (2 if parts.self_inhibition else 1))
