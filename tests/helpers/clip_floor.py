"""A phased network in float64: every layer as the clipped and floored sum of PyTorch's own layers.

    c = clip(floor((W c_in + B) / threshold), 0, T)

It shares no arithmetic with the package: sums of whole numbers below 2^53 are exact in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.synapses.convolutions import Conv1d, Conv2d, ConvTranspose2d
from tandem_hw.network.synapses.dense import Dense
from tandem_hw.network.synapses.kind import Synapses


def clip_floor(network: QuantizedNetwork, inputs: npt.NDArray[np.uint8]) -> dict[str, Tensor]:
    """Return by layer its counts, or the potential of a readout, float64 [samples, *shape].

    Args:
        network: phased, its input sent once.
        inputs: [samples, *input shape].
    """
    assert network.firing_delay == network.num_steps - 1
    assert network.input.encoding == "first_step"
    values = {"input": torch.from_numpy(inputs).double()}
    for layer in network.layers:
        total = torch.from_numpy(layer.bias_image().astype(np.float64))
        for one in layer.inputs:
            total = total + _product(one.synapses, values[one.source])
        if layer.neurons.threshold is not None:
            total = (total / layer.neurons.threshold).floor().clamp(0, network.num_steps)
        values[layer.name] = total
    return values


def _product(synapses: Synapses, counts: Tensor) -> Tensor:
    weight = torch.from_numpy(synapses.weight.astype(np.float64))
    if isinstance(synapses, Dense):
        return F.linear(counts.flatten(1), weight)
    geometry: Any = getattr(synapses, "geometry", None)
    if isinstance(synapses, Conv1d | Conv2d):
        convolve: Any = F.conv1d if isinstance(synapses, Conv1d) else F.conv2d
        options = (geometry.stride, geometry.padding, geometry.dilation, geometry.groups)
        result: Tensor = convolve(counts, weight, None, *options)
        return result
    if isinstance(synapses, ConvTranspose2d):
        assert geometry.groups == 1  # whose weights have the inputs first
        return F.conv_transpose2d(
            counts,
            weight.transpose(0, 1),
            None,
            geometry.stride,
            geometry.padding,
            geometry.output_padding,
            1,
            geometry.dilation,
        )
    return counts * weight
