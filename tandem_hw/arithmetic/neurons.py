"""The integrate-and-fire neuron over a window, written once for training and simulation.

With weights W, threshold theta, bias B and incoming spikes s_in, in weight units:

    reset "subtract":  u[t] = u[t-1] + W s_in[t] - theta s[t-1];   s[t] = 1 if u[t] + B >= theta
    reset "zero":      v[t] = v[t-1] (1 - s[t-1]) + W s_in[t] + B;  s[t] = 1 if v[t] >= theta
    readout:           u[t] = u[t-1] + W s_in[t];                   potential u[T] + B
    firing delay d:    the first row with s[t] = 0 for t <= d, over T + d steps, the last d of them
                       without input; spike k of T is that of step k + d
    leaky "zero":      u[t] = keep(u[t-1], current_decay) + W s_in[t]
                       v[t] = keep(v[t-1] (1 - s[t-1]), voltage_decay) + u[t] + B

keep(x, d) is x (4096 - d) / 4096 rounded toward zero, in units of 1/64 weight unit.

These are Lava's own neurons (``lava/proc/lif/models.py``, ``PyLifResetModelBitAcc``), "zero" with
du=current_decay-1 and dv=voltage_decay, 4095 and 0 where nothing leaks, the others with du=-1 and
dv=4096: see docs/arithmetic.md. Where a state may leave
24 bits, Lava's wrap of the current and its clip of the voltage are followed bit for bit.

Tensors hold integers in floating point, or in 16 bits where that is enough (``short_states``).
Where ``tandem_hw.network.bounds`` proves that no state leaves 24 bits, float32 is exact and nothing
wraps. Where it does not, float32 is tried and every state looked at; should one come too near the
limit, the window is run again in float64 with wrap and clip. In a training step on a GPU, which
shall not wait for that look, it is put off to the end of the forward pass, and then the pass is run
again (``deferred_checks``). Leaky layers always run in float64: the product of a state and a decay
needs 36 bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from torch import Tensor

from tandem_hw.arithmetic.exact_sums import exact_arithmetic
from tandem_hw.arithmetic.layer_window import LayerActivity, LayerWindow
from tandem_hw.arithmetic.neuron_parameters import NeuronParameters
from tandem_hw.arithmetic.spikes.trains import Incoming, SpikeTrain, Synapse, Train

__all__ = [
    "Incoming",
    "LayerActivity",
    "NeuronParameters",
    "SpikeTrain",
    "Synapse",
    "Train",
    "simulate_layer",
]

#: Values that the signals, the synaptic inputs and the membranes of a part of a batch may have, so
#: that they stay in a core's cache.
_PART_SIGNALS: Final = 1 << 21
_PART_INPUTS: Final = 1 << 20
_PART_MEMBRANES: Final = 1 << 18


def simulate_layer(
    incoming: Sequence[Incoming],
    neurons: NeuronParameters,
    num_steps: int,
    *,
    keep_spikes: bool = True,
    follow_peak: bool = False,
    counts: Tensor | None = None,
) -> LayerActivity:
    """Run one layer of a batch over a whole window.

    Args:
        incoming: what comes in, through the synapses of the layer and of its skips; the sum of one
            step stays below 2^23 weight units in magnitude.
        neurons: the neurons.
        num_steps: length T of the window.
        keep_spikes: keep the spikes of every step for the next layer.
        follow_peak: find the largest magnitude that a state reaches.
        counts: memory for the spike counts of a firing layer, [batch, *shape], of a data type that
            holds ``num_steps``; by default float32 of its own.

    Returns:
        Spikes and counts of a firing layer, the potential of a readout.
    """
    batch = incoming[0].train.batch
    window = LayerWindow(neurons, num_steps, batch, keep_spikes, follow_peak, counts)
    by_step = any(one.train.by_step for one in incoming)
    sent = max(one.train.values for one in incoming)
    # A GPU is busy with a whole batch only, and has no cache that a part could stay in.
    number = neurons.number if incoming[0].train.device.type == "cpu" else None
    # Integers in the bfloat16 of mixed precision would not be the chip's.
    with exact_arithmetic(neurons.bias.device.type, neurons.checks):
        for samples in _parts(window.batch, number, sent, num_steps if by_step else 1):
            part = [replace(one, train=one.train.part(samples)) for one in incoming]
            window.run(samples, part)
        return window.activity()


def _parts(batch: int, number: int | None, sent: int, steps: int) -> Iterator[slice]:
    """Part a batch so that a part's signals, synaptic inputs and membranes stay in a cache."""
    size = batch
    if number is not None:
        size = min(
            _PART_SIGNALS // max(steps * sent, 1),
            _PART_INPUTS // (steps * number),
            _PART_MEMBRANES // number,
        )
    parts = -(-batch // max(size, 1))
    size = -(-batch // max(parts, 1))  # all alike, since each size is tried once, and few are slow
    for start in range(0, max(batch, 1), max(size, 1)):  # an empty batch is a part as well
        yield slice(start, start + size)
