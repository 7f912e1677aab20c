"""Integrate-and-fire neurons with windows, built from stock Lava processes and nothing else.

This is what goes to the chip. It is also a second model of our Process ``IF``, so that its equality
with the leaf model is a test that needs no board.

    LIFReset  <- the current never decays (du=-1) and the voltage forgets at once (dv=4096), so that
                 v = u + bias; a reset clears both at each window's start
    Sparse    <- each neuron inhibits itself by its threshold, one step late
    LIF       <- a clock that fires once a period
    Dense     <- the clock's inhibition of the whole layer in the first step after the window

Where a layer waits before it fires, the clock has two more neurons: in the window's first step the
same inhibition holds the layer, in the first step in which it may fire it is taken back.

With reset "zero" the neuron is a plain ``LIFReset`` (du=4095, dv=0) with the same clock.

This module imports Lava; import it only where Lava is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from lava.magma.core.process.process import AbstractProcess
from lava.proc.dense.process import Dense
from lava.proc.lif.process import LIF, LIFReset
from lava.proc.sparse.process import Sparse
from lava.utils.weightutils import SignMode
from scipy.sparse import identity

from tandem_hw.chip.guard import Guard
from tandem_hw.network.fixed_point import BIAS_EXPONENT_MIN, STATE_FRACTION_BITS, bias_exponent
from tandem_hw.sim.graph.window import Window

#: du and dv of an integrator: the current never decays, the voltage forgets at once (v = u + bias).
INTEGRATOR = {"du": -1, "dv": 4096}
#: du and dv of a plain integrate-and-fire neuron: no memory of the current, no leak of the voltage.
NO_LEAK = {"du": 4095, "dv": 0}


@dataclass(frozen=True)
class StockNeurons:
    """The parts of one layer's neurons.

    Attributes:
        lif: the neurons; its a_in takes synaptic input, its s_out sends spikes.
        parts: every process of the layer's neurons, ``lif`` first.
    """

    lif: LIFReset
    parts: tuple[AbstractProcess, ...]


def stock_bias(bias: npt.NDArray[np.integer[Any]]) -> dict[str, Any]:
    """Return ``bias_mant`` and ``bias_exp`` of whole weight units."""
    exponent = bias_exponent(bias)
    return {"bias_mant": bias >> (exponent - BIAS_EXPONENT_MIN), "bias_exp": exponent}


def stock_neurons(
    shape: tuple[int, ...],
    threshold: int,
    bias: npt.NDArray[np.integer[Any]],
    window: Window,
    reset: str,
    inhibition: tuple[int, int],
    guard: Guard,
) -> StockNeurons:
    """Build and wire the parts of one firing layer.

    Args:
        shape: shape of the neurons, in Lava's axis order.
        threshold: firing threshold in weight units.
        bias: integer bias of each neuron in weight units, of shape ``shape``.
        window: when it works.
        reset: "subtract" or "zero".
        inhibition: mantissa and exponent of the threshold as a weight (``guard.inhibition_parts``);
            not used with reset "zero".
        guard: what silences it between windows.

    Returns:
        The parts, connected to each other.
    """
    subtract = reset == "subtract"
    lif = LIFReset(
        shape=shape,
        vth=threshold - 1,
        u=np.full(shape, -(guard.start << STATE_FRACTION_BITS)),
        reset_interval=window.period,
        reset_offset=window.offset % window.period,
        **stock_bias(bias),
        **(INTEGRATOR if subtract else NO_LEAK),
    )
    parts: list[AbstractProcess] = [lif]
    if subtract:
        parts.append(_self_inhibition(lif, shape, *inhibition))
    if guard.mantissa:
        parts += _guard_parts(lif, shape, window, guard)
    return StockNeurons(lif, tuple(parts))


def _self_inhibition(
    lif: LIFReset, shape: tuple[int, ...], mantissa: int, exponent: int
) -> AbstractProcess:
    """Connect each neuron to itself with the weight -mantissa * 2^exponent."""
    neurons = int(np.prod(shape))
    synapses = Sparse(
        weights=(-mantissa * identity(neurons, dtype=np.int32, format="csr")),
        weight_exp=exponent,
        sign_mode=SignMode.INHIBITORY,
    )
    lif.s_out.reshape((neurons,)).connect(synapses.s_in)
    synapses.a_out.reshape(shape).connect(lif.a_in)
    return synapses


def _beats(window: Window, guard: Guard) -> list[tuple[int, int]]:
    """Return the steps in which neurons of the clock fire first, and the signs of their weights."""
    beats = [((window.last_step - 1) % window.period + 1, -1)]
    if guard.holds:
        # Resets come once a period from the first steps on, long before the first window of a deep
        # layer, and let go of what silences it. Each is followed by a hold and its release; a
        # release alone would make the neurons fire, up to that window's first step.
        reset = (window.offset - 1) % window.period + 1
        held = reset if reset > 1 else reset + window.period  # no clock fires before the first step
        beats += [(held - 1, -1), (held + window.firing_delay - 1, 1)]
    return beats


def _guard_parts(
    lif: LIFReset, shape: tuple[int, ...], window: Window, guard: Guard
) -> list[AbstractProcess]:
    """Build the clock and its synapses, whose inhibition comes one step behind its spikes."""
    steps, signs = np.repeat(np.array(_beats(window, guard)), guard.copies, axis=0).T
    clock = LIF(
        shape=steps.shape,
        vth=window.period - 1,
        bias_mant=1,
        bias_exp=STATE_FRACTION_BITS,
        # It counts the steps: full after ``period`` of them, and first in the beat's own.
        v=(window.period - steps) << STATE_FRACTION_BITS,
        **NO_LEAK,
    )
    synapses = Dense(
        weights=np.tile(signs * guard.mantissa, (int(np.prod(shape)), 1)),
        weight_exp=guard.exponent,
        sign_mode=SignMode.MIXED if guard.holds else SignMode.INHIBITORY,
    )
    clock.s_out.connect(synapses.s_in)
    synapses.a_out.reshape(shape).connect(lif.a_in)
    return [clock, synapses]
