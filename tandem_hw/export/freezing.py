"""From a trained model to the quantized network: the integers that ``model.eval()`` runs on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tandem_hw.learning.layers import TandemConv2d
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.network import Conv2d, Dense, Layer, QuantizedNetwork


def freeze(model: TandemNetwork) -> QuantizedNetwork:
    """Return the integers of a model as a network of its own.

    Nothing is computed here: weights, biases and thresholds are the ones that the model's own
    forward pass uses in evaluation (``TandemLayer.integer_parameters``).

    Args:
        model: a tandem network, in whatever mode.

    Returns:
        The quantized network, checked against every limit of the chip.

    Raises:
        NetworkError: the integers break a limit; the message names the layer.
    """
    architecture = model.architecture
    scale, readout_scale = model.input_scale, 1.0
    shape = architecture.input.shape
    layers: list[Layer] = []
    for layer in model.tandem_layers:
        integers = layer.integer_parameters(scale)
        common: dict[str, Any] = {
            "name": layer.name,
            "weight": integers.weight.numpy().astype("int64"),
            "weight_bits": architecture.options.weight_bits,
            "bias": integers.bias.numpy().astype("int64"),
            "threshold": integers.threshold,
            "input_shape": shape,
        }
        if layer.fires:
            common["current_decay"] = architecture.options.current_decay
            common["voltage_decay"] = architecture.options.voltage_decay
        if isinstance(layer, TandemConv2d):
            layers.append(Conv2d(**common, **asdict(layer.geometry)))
        else:
            layers.append(Dense(**common))
        shape = layers[-1].output_shape
        scale = architecture.options.spike_value
        readout_scale = integers.unit if integers.threshold is None else scale
    return QuantizedNetwork(
        input=architecture.input,
        layers=tuple(layers),
        num_steps=architecture.options.num_steps,
        reset=architecture.options.reset,
        readout=architecture.readout,
        readout_scale=readout_scale,
    )
