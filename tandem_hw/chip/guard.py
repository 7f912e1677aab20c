"""The guard that silences a layer between two windows, in numbers that the chip's registers hold.

A guard is a clock neuron that fires once a period and inhibits the whole layer by G in the first
step after the window. The layer's state does not decay, so one inhibition keeps it silent until its
reset (docs/arithmetic.md, "The stock construction"). Where a layer waits before it fires, two more
clocks do the same in its first steps: one takes G in the window's first step, the other gives it
back in the step in which the layer may fire for the first time.

How strong it has to be follows from the proven bounds of the layer's state. Where they leave no
strength that silences every state without carrying another one beyond 24 bits, the guard takes half
of the range, which silences what lies within half of it on either side. A state beyond makes a
neuron fire between windows, which every backend that runs the guard looks for and refuses: without
such a spike nothing passes from one window to the next.
"""

from __future__ import annotations

from dataclasses import dataclass

from tandem_hw.chip.timing import check_period
from tandem_hw.errors import NetworkError
from tandem_hw.network.bounds import StateBounds
from tandem_hw.network.fixed_point import (
    INHIBITORY_WEIGHT_MAX,
    STATE_LIMIT,
    WEIGHT_EXPONENT_MAX,
    threshold_parts,
)
from tandem_hw.network.quantized import Layer, QuantizedNetwork


@dataclass(frozen=True)
class Guard:
    """Inhibition of ``copies * mantissa * 2^exponent`` weight units.

    Attributes:
        mantissa: magnitude of the inhibitory weight, 0 to 255; 0 where no guard is needed. Where
            the layer is held it is even: the same synapses have weights of both signs then.
        exponent: the weights' exponent, 0 to 7.
        copies: clock neurons that fire together.
        proven: whether it silences every state that the layer can reach.
        start: how much is taken from every neuron before the first window, in weight units, so that
            a bias above the threshold does not fire there.
        holds: whether it also silences a layer that waits, and lets go of it.
    """

    mantissa: int
    exponent: int
    copies: int
    proven: bool
    start: int
    holds: bool = False

    @property
    def clocks(self) -> int:
        """Number of clock neurons."""
        if not self.mantissa:
            return 0
        return self.copies * (3 if self.holds else 1)

    @property
    def strength(self) -> int:
        """What is taken from every neuron, in weight units."""
        return self.copies * (self.mantissa << self.exponent)


def inhibition_parts(layer: Layer) -> tuple[int, int]:
    """Return mantissa and exponent of the weight with which a neuron subtracts its threshold.

    Raises:
        NetworkError: the exponent is larger than a weight's can be.
    """
    threshold = layer.neurons.threshold
    assert threshold is not None  # only firing layers reset
    mantissa, exponent = threshold_parts(threshold)
    if exponent > WEIGHT_EXPONENT_MAX:
        reach = INHIBITORY_WEIGHT_MAX << WEIGHT_EXPONENT_MAX
        raise NetworkError(
            f"layer {layer.name}: threshold {threshold} needs a weight exponent of "
            f"{exponent}, the chip has up to {WEIGHT_EXPONENT_MAX}: its reset by subtraction "
            f"reaches {reach} weight units; train with fewer input bits or a smaller "
            f"activation_max"
        )
    return mantissa, exponent


def guard_of(network: QuantizedNetwork, index: int, period: int) -> Guard:
    """Return the guard of a firing layer of a network; see ``guard_for``.

    Args:
        network: whose layer it is.
        index: of the layer.
        period: steps from one window to the next.
    """
    return guard_for(
        network.layers[index],
        network.bounds[index],
        network.reset,
        network.num_steps,
        period,
        holds=network.wiring.firing_delays[index] > 0,
    )


def guard_for(
    layer: Layer,
    bounds: StateBounds,
    reset: str,
    num_steps: int,
    period: int,
    *,
    holds: bool = False,
) -> Guard:
    """Return the weakest guard that surely silences a layer when it has to be silent.

    With reset "subtract" a neuron that fired last holds at most ``high - threshold``, and has to
    come below the threshold; one that waits holds up to ``high``. With reset "zero" the bias acts
    in every step of the padding.

    Args:
        layer: a firing layer.
        bounds: bounds of its state.
        reset: "subtract" or "zero".
        num_steps: length T of a window.
        period: steps from one window to the next.
        holds: whether the layer waits before it fires.

    Returns:
        The guard; it is not ``proven`` where no strength does that for every state.

    Raises:
        NetworkError: the biases need a guard beyond 24 bits.
    """
    threshold = layer.neurons.threshold
    assert threshold is not None  # a readout never fires
    largest_bias = max(0, int(layer.neurons.bias.max()))
    if reset == "zero":
        wanted = (period - num_steps) * largest_bias
        if wanted >= STATE_LIMIT // 2:
            raise NetworkError(
                f"layer {layer.name}: a bias of {largest_bias} in {period - num_steps} steps of "
                f"padding needs a guard of {wanted} weight units, the limit is {STATE_LIMIT // 2}; "
                f"choose num_steps closer to the period of {period} steps"
            )
        return _parts(wanted, proven=True, start=0)
    start = max(0, largest_bias - threshold + 1)
    wanted = max(0, bounds.high - (1 if holds else 2) * threshold + 1)
    guard = _parts(wanted, proven=True, start=start, holds=holds)
    lowest = min(bounds.low - threshold, -start) - guard.strength
    if bounds.proven and lowest > -STATE_LIMIT:
        return guard
    return _parts(STATE_LIMIT // 2, proven=False, start=start, holds=holds)


def check_lowering(network: QuantizedNetwork, period: int) -> None:
    """Refuse a network whose neurons cannot be built from stock processes exactly.

    Args:
        network: what shall be built.
        period: steps from one sample to the next.

    Raises:
        NetworkError: names the layer, the value, the limit and the way out.
    """
    check_period(network, period)
    for index, layer in enumerate(network.layers):
        if needs_guard(network, layer, period):
            if network.reset == "subtract":
                inhibition_parts(layer)
            guard_of(network, index, period)


def needs_guard(network: QuantizedNetwork, layer: Layer, period: int) -> bool:
    """Return whether a layer could fire between two windows, so that it has to be silenced."""
    return layer.fires and period > network.num_steps


def _parts(wanted: int, *, proven: bool, start: int, holds: bool = False) -> Guard:
    """Round up to copies of a weight of 8 bits and an exponent, an even weight where it holds."""
    least = 2 if holds else 1
    largest = INHIBITORY_WEIGHT_MAX // least * least
    copies = max(1, -(-wanted // (largest << WEIGHT_EXPONENT_MAX)))
    each = -(-wanted // copies)
    exponent = 0
    while each > largest << exponent:
        exponent += 1
    mantissa = least * -(-each // (least << exponent))
    return Guard(mantissa, exponent, copies, proven, start, holds)
