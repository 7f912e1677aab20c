"""From a trained model to the quantized network: the integers that ``model.eval()`` runs on."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from torch import Tensor

from tandem_hw.learning.architecture import FROM_INPUT
from tandem_hw.learning.calibration import was_measured
from tandem_hw.learning.kinds.max_pooling import TandemMaxPool
from tandem_hw.learning.layers import TandemLayer
from tandem_hw.learning.model import TandemNetwork, check_tandem
from tandem_hw.learning.quantizer import IntegerParameters
from tandem_hw.network.layers import INPUT_SOURCE, Input, Layer, Neurons
from tandem_hw.network.quantized import QuantizedNetwork, Shape
from tandem_hw.network.whole_numbers import whole_numbers
from tandem_hw.user_warnings import UncalibratedWarning


def freeze(model: TandemNetwork) -> QuantizedNetwork:
    """Return the integers of a model as a network of its own.

    Nothing is computed here: weights, biases and thresholds are the ones that the model's own
    forward pass uses in evaluation (``TandemLayer.integer_parameters``). A model that neither a
    training nor a calibration has passed is frozen with an ``UncalibratedWarning``: nobody has
    looked whether its potentials fit the chip's registers.

    Args:
        model: a tandem network, in whatever mode.

    Returns:
        The quantized network, checked against every limit of the chip.

    Raises:
        ConversionError: it is no tandem network.
        NetworkError: the integers break a limit; the message names the layer.
    """
    check_tandem(model)
    if not was_measured(model):
        warnings.warn(
            "no sample has passed this network, so its thresholds are guesses and its potentials "
            "may wrap in the chip's 24 bits; train it, or measure both with "
            "tandem_hw.convert(..., samples=...) or, at the command line, tandem-hw convert",
            UncalibratedWarning,
            stacklevel=2,
        )
    return integer_network(model)


def integer_network(model: TandemNetwork) -> QuantizedNetwork:
    """Return what ``freeze`` returns, without a word about networks that no sample has passed.

    Args:
        model: as for ``freeze``.

    Raises:
        NetworkError: as ``freeze``.
    """
    architecture = model.architecture
    layers: list[Layer] = []
    sent = {FROM_INPUT: _Sent(INPUT_SOURCE, architecture.input.shape, model.input_scale)}
    readout_scale = 1.0
    for index, module in enumerate(model.layers):
        taken = [sent[origin] for origin in model.origins(index)]
        if isinstance(module, TandemMaxPool):
            (pooled,) = taken
            layers.extend(module.integer_layers(pooled.name))
            last = layers[-1]
            sent[index] = _Sent(last.name, last.output_shape, pooled.scale)
        if not isinstance(module, TandemLayer):
            continue
        integers = module.integer_parameters(*(one.scale for one in taken))
        inputs = tuple(
            Input(one.name, path.integer_synapses(weight, one.shape))
            for one, path, weight in zip(taken, module.paths, integers.weights, strict=True)
        )
        layer = Layer(module.name, _neurons(module, integers), inputs)
        layers.append(layer)
        sent[index] = _Sent(layer.name, layer.output_shape, module.sent_value)
        readout_scale = integers.unit if integers.threshold is None else module.spike_value
    return QuantizedNetwork(
        input=architecture.input,
        layers=tuple(layers),
        num_steps=architecture.options.num_steps,
        reset=architecture.options.reset,
        readout=architecture.readout,
        readout_scale=readout_scale,
        firing_delay=architecture.options.firing_delay,
        meaning=model.meaning,
    )


class _Sent(NamedTuple):
    """What layers take: the name and shape of what sends, and the real value of one count.

    The value is a tensor [channels] where each channel has a threshold of its own.
    """

    name: str
    shape: Shape
    scale: float | Tensor


def _neurons(layer: TandemLayer, integers: IntegerParameters) -> Neurons:
    bias = whole_numbers(integers.bias.numpy(), np.int64, f"layer {layer.name}: biases")
    if integers.threshold is None:
        return Neurons(bias, threshold=None)
    decays = (layer.options.current_decay, layer.options.voltage_decay)
    return Neurons(bias, integers.threshold, *decays)
