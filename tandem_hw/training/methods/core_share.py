"""Which share of a layer's work its fullest core has, as the chip budget would place the layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tandem_hw.chip.partition import NeuronParts, layer_budget
from tandem_hw.errors import NetworkError
from tandem_hw.learning.layers import TandemLayer
from tandem_hw.network.layers import Input, Layer, Neurons
from tandem_hw.network.synapses.geometry import Shape

#: A layer's place depends on shapes alone, so any threshold does.
_ANY_THRESHOLD = 64


def core_share(layer: TandemLayer, input_shapes: Sequence[Shape]) -> float:
    """Return the neurons of a layer's fullest core over all its neurons, above 0 to 1.

    Args:
        layer: of a model, with weights of any value.
        input_shapes: of what comes in, one for each of ``layer.paths``.

    Raises:
        NetworkError: no core holds even one of its neurons with its synapses.
    """
    inputs = []
    for number, (path, shape) in enumerate(zip(layer.paths, input_shapes, strict=True)):
        real = path.real_weight
        weight = torch.ones(1) if real is None else torch.zeros(real.shape)
        inputs.append(Input(f"input {number}", path.integer_synapses(weight, shape)))
    biases = np.zeros(len(inputs[0].synapses.weight), np.int32)
    threshold = _ANY_THRESHOLD if layer.fires else None
    neurons = Neurons(biases, threshold)
    guarded = layer.fires and layer.options.reset == "subtract"
    placed = Layer(layer.name, neurons, tuple(inputs))
    try:
        budget = layer_budget(placed, NeuronParts(guarded, int(guarded)))
    except NetworkError as error:
        raise NetworkError(
            f'{error}; or train with penalty "total", which asks for no place'
        ) from error
    return min(1.0, budget.core.neurons / budget.neurons)
