"""Batch normalisation behind a ReLU, folded into the layer with weights behind it.

A neuron sends counts, not normalised ones, so the next layer's weights and bias take it up:

    W (g x + h) + b = (W g) x + (b + W h)        g, h: gain and shift of each channel

That is exact where every weight meets a value. Where it meets padding there is no shift, so the
bias would have to differ from neuron to neuron; layers have one for each channel. It is done once,
with the running statistics: what is trained from there has no such normalisation any more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tandem_hw.conversion import layer_reader
from tandem_hw.conversion.read_values import NormalisedSpikes, Spikes, WeightOrigin
from tandem_hw.counted import counted
from tandem_hw.errors import ConversionError
from tandem_hw.learning.architecture import LayerSpec


def normalised(path: str, norm: Any, tensor: Tensor, spikes: Spikes) -> NormalisedSpikes:
    """Read a batch normalisation of spikes.

    Args:
        path: its name.
        norm: a batch normalisation with running statistics.
        tensor: what it takes, [samples, *shape].
        spikes: what that means.

    Raises:
        ConversionError: its channels are not those of the neurons.
    """
    name = f"layer {path} ({type(norm).__name__})"
    channels = spikes.shape[0]
    if norm.num_features != channels:
        raise ConversionError(
            f"{name} normalises {counted(norm.num_features, 'feature')} apart, but what it takes "
            f"has {counted(channels, 'channel')}; put it before the Flatten, as BatchNorm2d"
        )
    values = layer_reader.norm_parameters(path, norm)
    gain = (values["norm.running_var"].double() + norm.eps).rsqrt()
    if "norm.weight" in values:
        gain = gain * values["norm.weight"].double()
    shift = -values["norm.running_mean"].double() * gain
    if "norm.bias" in values:
        shift = shift + values["norm.bias"].double()
    return NormalisedSpikes(name, spikes, gain, shift, tensor.clone())


def fold(
    path: str, spec: LayerSpec, origin: WeightOrigin, taken: NormalisedSpikes, *, has_rims: bool
) -> tuple[LayerSpec, WeightOrigin]:
    """Fold a normalisation into the layer that takes it.

    Args:
        path: name of the layer.
        spec: of the layer, without its source.
        origin: its weights, output channels first.
        taken: what it takes.
        has_rims: whether some outputs have fewer weights than others, as beside padding.

    Returns:
        The layer with other weights and a bias.

    Raises:
        ConversionError: some of its weights meet padding, where there is no shift.
    """
    if has_rims and bool(taken.shift.any()):
        raise ConversionError(
            f"{taken.path} follows no layer with weights, so it is folded into layer {path}, where "
            f"its shift would be missing at the border, since padding stays 0; put the "
            f"normalisation before the ReLU, or use a convolution without padding"
        )
    weight = origin.parameters["weight"]
    apart = weight.double().reshape(spec.groups, -1, len(taken.gain) // spec.groups, _rest(weight))
    if spec.kind == "linear":
        apart = weight.double().reshape(1, len(weight), len(taken.gain), -1)
    gain, shift = (one.reshape(spec.groups, 1, -1, 1) for one in (taken.gain, taken.shift))
    shifts = (apart * shift).reshape(len(weight), -1)
    bias = origin.parameters.get("bias", torch.zeros(len(weight))).to(shifts)
    parameters = origin.parameters | {
        "weight": (apart * gain).reshape(weight.shape).to(weight.dtype),
        "bias": (bias + shifts.sum(1)).to(weight.dtype),
    }
    magnitude = (bias.abs() + shifts.abs().sum(1)).to(weight.dtype)
    return replace(spec, bias=True), replace(origin, parameters=parameters, bias_terms=magnitude)


def _rest(weight: Tensor) -> int:
    """Return how many weights an output has for each of its inputs."""
    return int(weight[0, 0].numel())
