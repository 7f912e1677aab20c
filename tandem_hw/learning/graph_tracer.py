"""The operations of an ordinary network's forward pass and the shapes between them."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn

from tandem_hw.errors import ConversionError
from tandem_hw.learning import layer_reader


def trace(network: nn.Module) -> tuple[nn.Module, fx.Graph]:
    """List the operations of a forward pass.

    Args:
        network: any module.

    Returns:
        The module whose parts the graph names, and the graph.

    Raises:
        ConversionError: ``torch.fx`` cannot follow the forward pass.
    """
    layer_reader.check_forward("of the network", network)
    root = nn.Sequential(network) if layer_reader.is_leaf(network) else network
    try:
        return root, _Tracer().trace(root)
    except Exception as error:  # the forward pass is the user's own code
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConversionError(
            f"the forward pass of {type(network).__name__} cannot be followed by torch.fx "
            f"({reason}); it may not depend on the values that pass"
        ) from error


def sample_shapes(
    root: nn.Module, graph: fx.Graph, input_shape: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
    """Run a network once and return, by operation, the shape of one sample of its result.

    Args:
        root: the network; a copy of it runs.
        graph: its operations.
        input_shape: shape of one sample.

    Raises:
        ConversionError: the network does not take such samples.
    """
    first = next(root.parameters())
    run = _ShapeRun(fx.GraphModule(copy.deepcopy(root).eval(), graph))
    try:
        with torch.no_grad():
            run.run(torch.zeros(2, *input_shape, device=first.device, dtype=first.dtype))
    except (RuntimeError, ValueError, IndexError) as error:
        raise ConversionError(
            f"the network does not take samples of shape {input_shape}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    return run.shapes


class _Tracer(fx.Tracer):
    """Follows the modules of the user into their layers, which PyTorch's own are."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is read as a whole."""
        return layer_reader.is_leaf(m)


class _ShapeRun(fx.Interpreter):
    """Keeps the shapes of all results."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[str, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one operation."""
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.shapes[n.name] = tuple(result.shape[1:])
        return result
