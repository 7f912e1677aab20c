"""From a trained model to the quantized network: the integers that ``model.eval()`` runs on."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from torch import Tensor

from tandem_hw.learning.architecture import FROM_INPUT
from tandem_hw.learning.calibration import was_measured
from tandem_hw.learning.layer_kinds import TandemConv, TandemConvTranspose2d, TandemOneToOne
from tandem_hw.learning.layers import TandemLayer
from tandem_hw.learning.model import TandemNetwork, check_tandem
from tandem_hw.learning.quantizer import IntegerParameters
from tandem_hw.network.layers import INPUT_SOURCE, Input, Layer, Neurons
from tandem_hw.network.quantized import QuantizedNetwork, Shape
from tandem_hw.network.synapses.convolutions import Conv1d, Conv2d, ConvTranspose2d
from tandem_hw.network.synapses.dense import Dense, OneToOne
from tandem_hw.network.synapses.kind import Synapses
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
    origins = _Origins(model)
    readout_scale = 1.0
    for index, module in enumerate(model.layers):
        if not isinstance(module, TandemLayer):
            continue
        sources = origins.of(index)
        scales = [model.input_scale if one is None else one.spike_value for one in sources]
        integers = module.integer_parameters(*scales)
        shapes = [_shape(one, layers, architecture.input.shape) for one in sources]
        inputs = tuple(
            Input(INPUT_SOURCE if origin is None else origin.name, _frozen(synapses, weight, shape))
            for synapses, weight, shape, origin in zip(
                module.synapses, integers.weights, shapes, sources, strict=True
            )
        )
        layers.append(Layer(module.name, _neurons(module, integers), inputs))
        readout_scale = integers.unit if integers.threshold is None else module.spike_value
    return QuantizedNetwork(
        input=architecture.input,
        layers=tuple(layers),
        num_steps=architecture.options.num_steps,
        reset=architecture.options.reset,
        readout=architecture.readout,
        readout_scale=readout_scale,
    )


class _Origins:
    """Finds the layer whose neurons fire behind a signal; a dropout passes them on."""

    def __init__(self, model: TandemNetwork) -> None:
        self.model = model

    def of(self, index: int) -> list[TandemLayer | None]:
        """Return the origin of each signal that a layer takes; None for the network's input."""
        return [self._origin(source) for source in self.model.sources(index)]

    def _origin(self, index: int) -> TandemLayer | None:
        while index != FROM_INPUT:
            module = self.model.layers[index]
            if isinstance(module, TandemLayer):
                return module
            (index,) = self.model.sources(index)
        return None


def _shape(origin: TandemLayer | None, layers: list[Layer], input_shape: Shape) -> Shape:
    if origin is None:
        return input_shape
    return next(layer.output_shape for layer in layers if layer.name == origin.name)


def _neurons(layer: TandemLayer, integers: IntegerParameters) -> Neurons:
    bias = whole_numbers(integers.bias.numpy(), np.int64, f"layer {layer.name}: biases")
    if integers.threshold is None:
        return Neurons(bias, threshold=None)
    decays = (layer.options.current_decay, layer.options.voltage_decay)
    return Neurons(bias, integers.threshold, *decays)


def _frozen(layer: TandemLayer, weight: Tensor, input_shape: Shape) -> Synapses:
    """Return the synapses of a layer or of a skip as integers."""
    arguments: dict[str, Any] = {
        "name": layer.name,
        "weight": whole_numbers(weight.numpy(), np.int64, f"layer {layer.name}: weights"),
        "weight_bits": layer.options.weight_bits,
        "input_shape": input_shape,
    }
    if isinstance(layer, TandemOneToOne):
        return OneToOne(**arguments | {"weight_bits": 8})
    if isinstance(layer, TandemConvTranspose2d):
        return ConvTranspose2d(**arguments, geometry=layer.geometry)
    if isinstance(layer, TandemConv):
        kind = Conv1d if len(layer.geometry.stride) == 1 else Conv2d
        return kind(**arguments, geometry=layer.geometry)
    return Dense(**arguments)
