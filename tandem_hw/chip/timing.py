"""When which sample is in which layer of a Lava graph.

A synapse sends what the last step gave, so a layer works one step after the layers before it, and
after their firing delays. On shorter paths the spikes are held back (``tandem_hw.network.wiring``,
which counts each layer's start). With a period of P steps, sample k comes into a layer during the T
steps from ``window_start(start) + k P``, and with a firing delay of d the layer may fire in the T
steps that follow d steps later. The layers work as a pipeline on samples that follow back to back.
"""

from __future__ import annotations

from tandem_hw.counted import counted
from tandem_hw.errors import NetworkError
from tandem_hw.network.quantized import QuantizedNetwork

#: Lava counts steps from 1.
_FIRST_STEP = 1
#: Lava's ``SpikeDataloader`` loads a sample at the end of a step and sends it from the next one on.
_SOURCE_DELAY = 1


def default_period(network: QuantizedNetwork) -> int:
    """Return the shortest legal period.

    It holds a window, the steps that a layer waits before it fires, and with a reset by subtraction
    a step between windows.
    """
    between = 1 if network.reset == "subtract" else 0
    return network.num_steps + max(network.wiring.firing_delays) + between


def board_period(network: QuantizedNetwork) -> int:
    """Return the shortest period that a board can reset by: a power of two.

    Source: ``reset_interval`` in lava-dl's tutorial ``netx/mnist/run.ipynb``.
    """
    return 1 << (default_period(network) - 1).bit_length()


def check_period(network: QuantizedNetwork, period: int) -> None:
    """Refuse a period in which the graph could not be exact.

    Raises:
        NetworkError: the period is too short, or longer than a leaky layer can be kept silent.
    """
    least = default_period(network)
    if period < least:
        delay = max(network.wiring.firing_delays)
        waiting = f" and a firing delay of {delay}" if delay else ""
        raise NetworkError(
            f"a period of {counted(period, 'step')} is too short: reset "
            f'"{network.reset}" with num_steps {network.num_steps}{waiting} needs at least {least}'
        )
    leaky = [layer.name for layer in network.layers if layer.neurons.leaks]
    if leaky and period > least:
        raise NetworkError(
            f"a period of {counted(period, 'step')} is not supported: layer {leaky[0]} leaks, so "
            f"no inhibition keeps it silent in the steps after the window; use {least}"
        )


def window_start(start: int) -> int:
    """Return the step in which the first window of a layer starts, counted from 1.

    Args:
        start: steps by which it starts after the input's window (``Wiring.starts``), 0 for that.
    """
    return _FIRST_STEP + _SOURCE_DELAY + start


def total_steps(network: QuantizedNetwork, samples: int, period: int) -> int:
    """Return the steps after which the last sample has left the last layer."""
    last_window = window_start(network.result_start) + (samples - 1) * period
    return last_window + network.num_steps - 1
