"""SpikingJelly in its multi-step mode: every layer runs all steps at once, the neurons fused."""

from __future__ import annotations

import importlib.util
from typing import Final

import torch
from spikingjelly.activation_based import functional, neuron
from torch import Tensor, nn

from benchmarks.peers.spiking_graph import with_neurons

#: The backends of older versions, the fastest first; since version 2 the library chooses itself.
_ON_GPUS: Final = ("triton", "cupy")


class _Neurons(nn.Module):
    """The library's neurons between layers that have step and sample in one axis."""

    def __init__(self, num_steps: int, device: torch.device) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.neurons = neuron.IFNode(v_reset=None, step_mode="m", detach_reset=True)
        if device.type == "cuda" and hasattr(self.neurons, "supported_backends"):
            self.neurons.backend = _fastest(self.neurons.supported_backends)

    def forward(self, currents: Tensor) -> Tensor:
        spikes: Tensor = self.neurons(currents.unflatten(0, (self.num_steps, -1)))
        return spikes.flatten(0, 1)


class _OverTime(nn.Module):
    def __init__(self, network: nn.Module, num_steps: int, device: torch.device) -> None:
        super().__init__()
        self.steps = with_neurons(network, lambda: _Neurons(num_steps, device))
        self.num_steps = num_steps

    def forward(self, images: Tensor) -> Tensor:
        functional.reset_net(self)
        repeated = images.repeat(self.num_steps, *[1] * (images.dim() - 1))
        outputs: Tensor = self.steps(repeated)
        together: Tensor = outputs.unflatten(0, (self.num_steps, -1)).sum(0)
        return together


def _fastest(supported: tuple[str, ...]) -> str:
    """Return the fastest backend that the library knows and that is installed."""
    for name in _ON_GPUS:
        if name in supported and importlib.util.find_spec(name):
            return name
    return "torch"


def build(network: nn.Module, num_steps: int, device: torch.device) -> nn.Module:
    """Return the network with ``IFNode`` in step mode "m" on the fastest backend at hand."""
    return _OverTime(network, num_steps, device).to(device)
