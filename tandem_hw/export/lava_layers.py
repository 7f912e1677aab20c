"""The layers of a network as connected Lava processes, without source and sinks.

    Conv | Dense -> neurons -> Conv | Dense -> neurons -> ...

The neurons are our Process ``IF`` or a ``LIFReset``, or, lowered, the stock parts of
``stock_neurons``: what goes to the chip.

This module imports Lava; import it only where Lava is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from lava.magma.core.process.process import AbstractProcess
from lava.proc.conv.process import Conv as LavaConv
from lava.proc.dense.process import Dense as LavaDense
from lava.proc.lif.process import LIFReset
from lava.utils.weightutils import SignMode

from tandem_hw.bounds import StateBounds
from tandem_hw.export.guard import guard_for, inhibition_parts, needs_guard
from tandem_hw.export.stock_neurons import INTEGRATOR, Window, stock_bias, stock_neurons
from tandem_hw.fixed_point import VTH_MAX
from tandem_hw.network import Conv2d, Dense, Layer, QuantizedNetwork
from tandem_hw.sim.processes.integrate_and_fire import IF
from tandem_hw.timing import check_period, window_start

#: Bits of a graded input spike.
_INPUT_MESSAGE_BITS = 8


@dataclass(frozen=True)
class LayerProcesses:
    """One layer of the graph.

    Attributes:
        layer: what it stands for.
        synapse: ``Conv`` or ``Dense``; its s_in is connected to the layer below, or to nothing.
        neuron: has a_in, s_out and v.
        parts: every process of the neurons, ``neuron`` first.
        window: when it works.
    """

    layer: Layer
    synapse: AbstractProcess
    neuron: AbstractProcess
    parts: tuple[AbstractProcess, ...]
    window: Window


def connect_layers(
    network: QuantizedNetwork, period: int, *, lowered: bool = False
) -> list[LayerProcesses]:
    """Build and connect the processes of all layers.

    Args:
        network: what to build.
        period: steps from one sample to the next.
        lowered: build neurons of stock processes only.

    Returns:
        The layers in order; the first synapse waits for its source.

    Raises:
        NetworkError: the period does not suit the network, or a lowered neuron does not fit the
            chip's registers.
    """
    check_period(network, period)
    layers: list[LayerProcesses] = []
    for index, (layer, bounds) in enumerate(
        zip(network.layers, network.bounds, strict=True), start=1
    ):
        window = Window(network.num_steps, period, window_start(index))
        synapse = _synapse(layer, _INPUT_MESSAGE_BITS if index == 1 else 0)
        parts = _neurons(network, layer, bounds, window, lowered)
        synapse.a_out.connect(parts[0].a_in)
        if layers:
            connect_signal(layers[-1].neuron.s_out, layer, synapse)
        layers.append(LayerProcesses(layer, synapse, parts[0], parts, window))
    return layers


def connect_signal(signal: Any, layer: Layer, synapse: AbstractProcess) -> None:
    """Connect an out port in Lava's axis order to a layer's synapses; a dense layer flattens it."""
    if isinstance(layer, Dense) and len(layer.input_shape) == 3:
        signal = signal.transpose([2, 1, 0]).flatten()
    signal.connect(synapse.s_in)


def _synapse(layer: Layer, message_bits: int) -> AbstractProcess:
    if isinstance(layer, Conv2d):
        return LavaConv(
            # PyTorch correlates and Lava convolves: flip both axes; then (out, in, y, x) -> Lava's.
            weight=np.ascontiguousarray(layer.weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)),
            input_shape=layer.input_shape[::-1],
            stride=layer.stride[::-1],
            padding=layer.padding[::-1],
            dilation=layer.dilation[::-1],
            groups=layer.groups,
            num_message_bits=message_bits,
        )
    # Lava keeps the top bits of an 8-bit weight, so narrower weights are moved up and the sum down.
    shift = 8 - layer.weight_bits
    return LavaDense(
        weights=layer.weight.astype(np.int32) << shift,
        weight_exp=-shift,
        num_weight_bits=layer.weight_bits,
        sign_mode=SignMode.MIXED,
        num_message_bits=message_bits,
    )


def _neurons(
    network: QuantizedNetwork, layer: Layer, bounds: StateBounds, window: Window, lowered: bool
) -> tuple[AbstractProcess, ...]:
    """Return the processes of a layer's neurons, the neuron itself first."""
    if not needs_guard(network, layer, window.period):
        return (_resetting(layer, window),)
    common: dict[str, Any] = {
        "shape": layer.output_shape[::-1],
        "threshold": layer.threshold,
        "bias": _bias(layer),
        "reset": network.reset,
    }
    if not lowered:
        num_steps, period, offset = window.num_steps, window.period, window.offset
        return (IF(num_steps=num_steps, period=period, offset=offset, **common),)
    inhibition = inhibition_parts(layer) if network.reset == "subtract" else (0, 0)
    guard = guard_for(layer, bounds, network.reset, window.num_steps, window.period)
    return stock_neurons(window=window, inhibition=inhibition, guard=guard, **common).parts


def _bias(layer: Layer) -> Any:
    return np.broadcast_to(layer.bias_image(), layer.output_shape).T


def _resetting(layer: Layer, window: Window) -> LIFReset:
    """Return neurons that need no guard: a readout, or windows that follow each other at once."""
    return LIFReset(
        shape=layer.output_shape[::-1],
        # A voltage is clipped below 2^23 and the comparison is strict: 2^17 is never exceeded.
        vth=VTH_MAX + 1 if layer.threshold is None else layer.threshold - 1,
        reset_interval=window.period,
        reset_offset=window.offset % window.period,
        **stock_bias(_bias(layer)),
        **(INTEGRATOR if layer.threshold is None else _decays(layer)),
    )


def _decays(layer: Layer) -> dict[str, int]:
    """Return du and dv of neurons that reset to zero; Lava takes off du + 1."""
    return {"du": layer.current_decay - 1, "dv": layer.voltage_decay}
