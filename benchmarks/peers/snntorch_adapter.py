"""snnTorch: a loop over the steps, gradients through time."""

from __future__ import annotations

import snntorch
import torch
from torch import Tensor, nn

from benchmarks.peers.spiking_graph import with_neurons


class _OverTime(nn.Module):
    def __init__(self, network: nn.Module, num_steps: int) -> None:
        super().__init__()
        self.step = with_neurons(network, _neurons)
        self.num_steps = num_steps

    def forward(self, images: Tensor) -> Tensor:
        for module in self.step.modules():
            if isinstance(module, snntorch.Leaky):
                module.reset_mem()
        total: Tensor = self.step(images)
        for _ in range(self.num_steps - 1):
            total = total + self.step(images)
        return total


def _neurons() -> nn.Module:
    """Return neurons without a leak, with the library's own surrogate and time of the reset."""
    neurons: nn.Module = snntorch.Leaky(beta=1.0, init_hidden=True)
    return neurons


def build(network: nn.Module, num_steps: int, device: torch.device) -> nn.Module:
    """Return the network as the library's tutorials write one: ``Leaky`` with a hidden state."""
    return _OverTime(network, num_steps).to(device)
