"""Synaptic operations as part of the loss, so that a network learns to do with fewer spikes.

    loss = task loss + synop_weight * SynOps / MACs

With penalty "busiest-core" the SynOps are those of the core that has the most of all, since a step
on the chip lasts as long as the busiest core (``tandem_hw.chip.step_time``):

    loss = task loss + synop_weight * max_l(share_l SynOps_l) / max_l(share_l MACs_l)

over the layers l that take spikes in, of whose neurons the fullest core has a share
(``tandem_hw.training.methods.core_share``).

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
from tandem_hw.training.methods.core_share import core_share
from tandem_hw.training.methods.names import SynOpsOf


class SynOpPenalty:
    """Adds up the synaptic operations of every forward pass of a model.

    Args:
        model: the network that is watched until ``remove`` is called.
        of: "total" for all SynOps, or "busiest-core" for those of the core that has the most.
    """

    def __init__(self, model: TandemNetwork, of: SynOpsOf = "total") -> None:
        self._of = of
        self._by_layer: dict[TandemLayer, Tensor] = {}
        self._core_shares: dict[TandemLayer, float] = {}
        self._core_macs: dict[TandemLayer, float] = {}
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
                if self._of == "busiest-core":
                    before = self._by_layer.get(layer)
                    self._by_layer[layer] = spent if before is None else before + spent
        if layer in self._by_layer and layer not in self._core_shares:
            shapes = [tuple(signal.counts.shape[1:]) for signal in signals]
            share = self._core_shares[layer] = core_share(layer, shapes)
            fan_outs = (self._fan_outs[path].double().sum() for path in layer.paths)
            self._core_macs[layer] = share * float(sum(fan_outs))

    def take(self) -> Tensor:
        """Return SynOps a sample over MACs since the last call, a scalar with a gradient."""
        if self._of == "busiest-core":
            return self._take_busiest()
        synops, self._synops = self._synops, None
        return torch.zeros(()) if synops is None else synops / self._macs

    def _take_busiest(self) -> Tensor:
        by_layer, self._by_layer, self._synops = self._by_layer, {}, None
        if not by_layer:
            return torch.zeros(())
        of_cores = [spent * self._core_shares[layer] for layer, spent in by_layer.items()]
        return torch.stack(of_cores).max() / max(self._core_macs.values())

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
