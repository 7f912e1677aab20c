"""An ordinary network with another library's neurons in place of its ReLUs, for the comparison."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Final

from torch import fx, nn

#: What is kept as it is: every library that is compared takes PyTorch's own layers.
_KEPT: Final = (
    *(nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d),
    *(nn.Flatten, nn.Identity),
)


class CannotBuildError(Exception):
    """A library, or its adapter here, has no counterpart for a part of the network."""


def with_neurons(network: nn.Module, neuron: Callable[[], nn.Module]) -> fx.GraphModule:
    """Return the network with neurons of its own at every call of a ReLU.

    A module that is called twice, as the ReLU of a residual block is, becomes two neurons: each
    has a state. The weights are shared with the given network.

    Args:
        network: made of convolutions, linear layers, batch normalisation, average pooling,
            flattening, sums and ReLU modules.
        neuron: returns fresh neurons.

    Raises:
        CannotBuildError: it holds something else.
    """
    traced: fx.GraphModule = fx.symbolic_trace(network)
    modules = dict(traced.named_modules())
    calls = 0
    for node in traced.graph.nodes:
        if node.op == "call_module":
            module = modules[str(node.target)]
            if isinstance(module, nn.ReLU):
                node.target = f"neurons{calls}"
                traced.add_submodule(node.target, neuron())
                calls += 1
            elif not isinstance(module, _KEPT):
                raise CannotBuildError(f"{node.target} is a {type(module).__name__}")
        elif node.op == "call_function" and node.target is operator.add:
            continue
        elif node.op not in ("placeholder", "output"):
            raise CannotBuildError(f"{node.name} is {node.op} of {node.target}")
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced
