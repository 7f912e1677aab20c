"""Optimizers, and which parameters they let decay.

    adam    Adam; its decay is L2 on every parameter
    adamw   Adam; weights are multiplied by 1 - learning rate * decay in every step
    sgd     momentum 0.9; decay * w is added to the gradient of the weights

A threshold, a bias and a normalisation's scale and shift are no weights: they are few, and pulled
to zero they take the whole layer with them.

Sources: Loshchilov and Hutter, arXiv 1711.05101 (adamw); He et al., arXiv 1812.01187, section 3.1
(no decay of biases and normalisation).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tandem_hw.learning.layers import TandemLayer
from tandem_hw.training.methods.names import MOMENTUM
from tandem_hw.training.options import TrainingOptions

#: Names of the weights of synapses within their layer, as they are and pruned.
_WEIGHTS = ("weight", "weight_orig")


def make_optimizer(model: nn.Module, options: TrainingOptions) -> torch.optim.Optimizer:
    """Return the optimizer of a training.

    Args:
        model: a tandem network, on its device.
        options: name the optimizer, its learning rate and decay.
    """
    rate, decay = options.learning_rate, options.weight_decay
    if options.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), rate, weight_decay=decay)
    groups = parameter_groups(model, decay)
    if options.optimizer == "adamw":
        return torch.optim.AdamW(groups, rate)
    return torch.optim.SGD(groups, rate, momentum=MOMENTUM)


def parameter_groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Part the parameters that are trained into weights, which decay, and all others.

    Args:
        model: a tandem network.
        decay: of the weights.

    Returns:
        As PyTorch's optimizers take them: weights of synapses first, then the others with decay 0.
    """
    weights = {
        parameter
        for module in model.modules()
        if isinstance(module, TandemLayer)
        for name, parameter in module.named_parameters(recurse=False)
        if name in _WEIGHTS
    }
    trained = [one for one in model.parameters() if one.requires_grad]
    decaying = [one for one in trained if one in weights]
    others = [one for one in trained if one not in weights]
    groups = [{"params": decaying, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
