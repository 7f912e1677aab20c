"""Factors of channels, folded into the weights of synapses before they are quantized.

``tandem_hw.learning.per_layer.assignment`` says why.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from tandem_hw.learning.quantizer import RealSynapses


def is_by_channel(scale: float | Tensor) -> bool:
    """Whether the real value of a count is one for each channel, [channels]."""
    return isinstance(scale, Tensor) and scale.dim() > 0


def columns(scale: float | Tensor, weight: Tensor, groups: int) -> Tensor:
    """Return the real value of what each weight takes in.

    Args:
        scale: [channels] of what comes in.
        weight: [out, in / groups, ...], where ``in`` is the channels, or of a dense layer all
            inputs, those of a channel behind each other.
        groups: of the channels.

    Returns:
        To be multiplied with the weights: [out, in / groups, 1 ...].
    """
    assert isinstance(scale, Tensor)  # ``is_by_channel`` says so
    inputs = weight.shape[1] * groups
    values = scale.to(weight.device, weight.dtype).repeat_interleave(inputs // len(scale))
    by_group = values.reshape(groups, -1).repeat_interleave(weight.shape[0] // groups, dim=0)
    return by_group.reshape(*weight.shape[:2], *([1] * (weight.dim() - 2)))


def rows(synapses: RealSynapses, factor: Tensor) -> RealSynapses:
    """Return synapses whose weights are multiplied by a factor of the channel that they end in.

    Args:
        synapses: with weights.
        factor: float64 [out].
    """
    weight = synapses.weight
    assert weight is not None  # one-to-one synapses end in no layer with thresholds of channels
    factor = factor.to(weight.device)
    return replace(synapses, weight=weight * factor.reshape(-1, *([1] * (weight.dim() - 1))))
