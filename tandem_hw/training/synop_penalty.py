"""Synaptic operations as part of the loss, so that a network learns to do with fewer spikes.

    loss = task loss + synop_weight * SynOps / MACs

A spike costs its fan-out, the synapses that it reaches; counts carry the tandem gradient, so the
penalty is differentiable. MACs are those of the same ordinary network (paper, section on
efficiency). What the input sends is not counted, since nothing can learn to change it, nor what the
neurons of a max pooling take in, whose weights are fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tandem_hw.learning.architecture import FROM_INPUT
from tandem_hw.learning.layers import SynapticPath, TandemLayer
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.signals import TandemSignal


class SynOpPenalty:
    """Adds up the synaptic operations of every forward pass of a model.

    Args:
        model: the network that is watched until ``remove`` is called.
    """

    def __init__(self, model: TandemNetwork) -> None:
        self._fan_outs: dict[SynapticPath, Tensor] = {}
        self._from_input: dict[TandemLayer, list[bool]] = {}
        self._macs = 0.0
        self._synops: Tensor | None = None
        self._hooks = []
        for index, module in enumerate(model.layers):
            if isinstance(module, TandemLayer):
                origins = model.origins(index)
                self._from_input[module] = [origin == FROM_INPUT for origin in origins]
                self._hooks.append(module.register_forward_pre_hook(self._look))

    def _look(self, layer: nn.Module, arguments: tuple[Any, ...]) -> None:
        assert isinstance(layer, TandemLayer)
        signals: Sequence[TandemSignal] = arguments[0]
        for path, signal, is_input in zip(
            layer.paths, signals, self._from_input[layer], strict=True
        ):
            if path not in self._fan_outs:
                self._fan_outs[path] = fan_out(path, signal.counts)
                self._macs += float(self._fan_outs[path].double().sum())
            if not is_input:
                spent = _synops(signal.counts, self._fan_outs[path])
                self._synops = spent if self._synops is None else self._synops + spent

    def take(self) -> Tensor:
        """Return SynOps a sample over MACs since the last call, a scalar with a gradient."""
        synops, self._synops = self._synops, None
        return torch.zeros(()) if synops is None else synops / self._macs

    def remove(self) -> None:
        """Stop watching the model."""
        for hook in self._hooks:
            hook.remove()


def _synops(counts: Tensor, fan_outs: Tensor) -> Tensor:
    # In bfloat16 a sum of thousands would have two digits.
    with torch.autocast(counts.device.type, enabled=False):
        return (counts.float().flatten(1) @ fan_outs.flatten()).mean()


def fan_out(path: SynapticPath, counts: Tensor) -> Tensor:
    """Return how many synapses one spike of each input reaches.

    It is the gradient of what all neurons together would take in if every weight were one.

    Args:
        path: the synapses.
        counts: [batch, *in_shape], for the shape and the device.

    Returns:
        float32 [*in_shape].
    """
    with torch.set_grad_enabled(True), torch.autocast(counts.device.type, enabled=False):
        ones = torch.ones_like(counts[:1], dtype=torch.float32, requires_grad=True)
        weight = path.real_weight
        all_one = ones if weight is None else torch.ones_like(weight, dtype=torch.float32).detach()
        reached = path.synapses.twin_input(ones, all_one)
        (gradient,) = torch.autograd.grad(reached.sum(), ones)
    return gradient[0].detach()
