"""lava-dl's SLAYER: blocks of current-based neurons, on tensors whose last axis is time."""

from __future__ import annotations

from typing import Any, Final

import torch
from lava.lib.dl import slayer
from torch import Tensor, nn

from benchmarks.peers.spiking_graph import CannotBuildError

#: Neurons that forget their current at once and leak nothing: integrate and fire.
_NEURON: Final = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.0}


class _OverTime(nn.Module):
    def __init__(self, blocks: list[nn.Module], num_steps: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.num_steps = num_steps

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.blocks(images.unsqueeze(-1).repeat_interleave(self.num_steps, -1))
        return outputs.sum(-1)


def build(network: nn.Module, num_steps: int, device: torch.device) -> nn.Module:
    """Return the chain of ``slayer.block.cuba`` blocks of a chain of layers.

    Each convolution or linear layer, with the batch normalisation and the ReLU behind it, is one
    block with its weights, which the library quantizes to 8 bits; it has no biases. Batch
    normalisation becomes ``WgtScaleBatchNorm``, the library's own. Spikes arrive in the step in
    which they are sent, as in the other libraries.

    Raises:
        CannotBuildError: the network is no chain of such layers.
    """
    if not isinstance(network, nn.Sequential):
        raise CannotBuildError(f"a {type(network).__name__} is no chain of layers")
    modules = list(network)
    blocks: list[nn.Module] = []
    while modules:
        layer = modules.pop(0)
        if isinstance(layer, nn.Flatten):
            blocks.append(slayer.block.cuba.Flatten())
            continue
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            raise CannotBuildError(f"its blocks have no place for {type(layer).__name__}")
        normalised = bool(modules) and isinstance(modules[0], nn.BatchNorm1d | nn.BatchNorm2d)
        if normalised:
            modules.pop(0)
        fires = bool(modules) and isinstance(modules[0], nn.ReLU)
        if fires:
            modules.pop(0)
        elif modules:
            raise CannotBuildError("a layer without a ReLU is no block, unless it is the last")
        blocks.append(_block(layer, normalised, fires))
    return _OverTime(blocks, num_steps).to(device)


def _block(layer: nn.Conv2d | nn.Linear, normalised: bool, fires: bool) -> nn.Module:
    parameters: dict[str, Any] = dict(_NEURON)
    if normalised:
        parameters["norm"] = slayer.neuron.norm.WgtScaleBatchNorm
    cuba, shift = slayer.block.cuba, {"delay_shift": False}
    if isinstance(layer, nn.Linear):
        sizes = (parameters, layer.in_features, layer.out_features)
        block = cuba.Dense(*sizes, **shift) if fires else cuba.Affine(*sizes, dynamics=False)
    elif fires:
        block = cuba.Conv(
            parameters,
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            groups=layer.groups,
            **shift,
        )
    else:
        raise CannotBuildError("the last layer is a convolution, and only Affine gives its current")
    weight = block.synapse.weight
    with torch.no_grad():
        weight.copy_(layer.weight.reshape(weight.shape))
    built: nn.Module = block
    return built
