"""From an ONNX file to an ordinary network of PyTorch."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tandem_hw.conversion.onnx.onnx_file import Graph, Node, read_graph
from tandem_hw.conversion.onnx.operators import (
    OPERATORS,
    Built,
    Operator,
    Taken,
    UnsupportedError,
    build,
)
from tandem_hw.errors import ConversionError


class OnnxNetwork(nn.Module):
    """A feed-forward network out of an ONNX file, as layers of PyTorch.

    Attributes:
        input_shape: of one sample, or None where the file leaves it open.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        shape = graph.input_shape[1:]
        known = tuple(length for length in shape if length is not None)
        self.input_shape: tuple[int, ...] | None = known if known and known == shape else None
        self._input, self._output = graph.input, graph.output
        self._steps: list[tuple[str | Operator, tuple[str, ...], str]] = []

    def add(self, node: Node, built: Built) -> None:
        """Append an operator."""
        takes = tuple(node.inputs[place] for place in built.takes)
        step: str | Operator = built.operator
        if isinstance(built.operator, nn.Module):
            step = re.sub(r"\W+", "_", node.name).strip("_") or node.kind
            while hasattr(self, step):
                step = f"{step}_"
            self.add_module(step, built.operator)
        self._steps.append((step, takes, node.outputs[0]))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the output of the file's network.

        Args:
            inputs: [samples, *input_shape].
        """
        values: dict[str, Any] = {self._input: inputs}
        for step, takes, gives in self._steps:
            operator: Any = getattr(self, step) if isinstance(step, str) else step
            values[gives] = operator(*(values[name] for name in takes))
        output: Tensor = values[self._output]
        return output


def from_onnx(path: str | os.PathLike[str]) -> OnnxNetwork:
    """Read a feed-forward network from an ONNX file; ``convert`` and ``prepare`` take it.

    The operators are those of the layers that convert: Conv (one or two axes, grouped),
    ConvTranspose, Gemm and MatMul with constant weights, with an Add of a constant behind them,
    BatchNormalization, Relu, Clip, MaxPool, AveragePool, GlobalAveragePool, ReduceMean, Flatten,
    Reshape, Add, Concat, Dropout, Identity, Constant, Softmax and LogSoftmax, the shapes that
    exporters compute, and some activations, so that ``prepare`` can swap them. No code of a file is
    run, and no tensor takes memory that the file does not hold. Data outside of it are read in its
    own folder alone.

    Args:
        path: an ONNX file, such as ``torch.onnx.export(network.eval(), ...)`` writes.

    Returns:
        The network in evaluation mode, on the CPU.

    Raises:
        ConversionError: operators are not supported; the message names all of them. Or the package
            ``onnx`` is missing.
        FileFormatError: the file is missing, damaged, or no network of one input and one output.
    """
    graph = _with_biases(read_graph(Path(path)))
    network = OnnxNetwork(graph)
    constants = {name: Taken(value, value.ndim) for name, value in graph.constants.items()}
    known: dict[str, Taken] = {**constants, "": Taken()}
    known[graph.input] = Taken(rank=len(graph.input_shape) or None)
    batch = graph.input_shape[0] if graph.input_shape else None
    refused = []
    for node in graph.nodes:
        taken = [known[name] for name in node.inputs]
        while taken and node.inputs[len(taken) - 1] == "":
            taken.pop()
        try:
            built = build(node, taken, batch)
        except UnsupportedError as reason:
            refused.append(f"- {node.name} ({node.kind}) {reason}")
            known.update(dict.fromkeys(node.outputs, Taken()))
            continue
        network.add(node, built)
        known[node.outputs[0]] = Taken(rank=built.rank, is_shape=built.is_shape)
    if refused:
        raise ConversionError(
            f"{path}: {len(refused)} of {len(graph.nodes)} operators cannot be imported:",
            *refused,
            f"imported are {', '.join(OPERATORS)}",
        )
    return network.eval()


def _with_biases(graph: Graph) -> Graph:
    """Make an Add of a constant the bias of the layer before it, where it is one."""
    constants = dict(graph.constants)
    users: dict[str, int] = {graph.output: 1}
    for node in graph.nodes:
        for name in node.inputs:
            users[name] = users.get(name, 0) + 1
    makers = {node.outputs[0]: place for place, node in enumerate(graph.nodes)}
    nodes: list[Node | None] = list(graph.nodes)
    for place, node in enumerate(graph.nodes):
        if node.kind != "Add" or len(node.inputs) != 2:
            continue
        added = [name for name in node.inputs if name in constants]
        other = [name for name in node.inputs if name not in constants]
        if len(added) != 1 or users.get(other[0]) != 1 or other[0] not in makers:
            continue
        layer = nodes[makers[other[0]]]
        if layer is None or not _takes_bias(layer, constants, added[0]):
            continue
        bias = f"{node.outputs[0]}.bias"
        constants[bias] = constants[added[0]].reshape(-1)
        kind = "Gemm" if layer.kind == "MatMul" else layer.kind
        inputs = (*layer.inputs[:2], bias)
        nodes[makers[other[0]]] = replace(layer, kind=kind, inputs=inputs, outputs=node.outputs)
        makers[node.outputs[0]] = makers[other[0]]
        nodes[place] = None
    kept = tuple(node for node in nodes if node is not None)
    return replace(graph, nodes=kept, constants=constants)


def _takes_bias(layer: Node, constants: Mapping[str, Any], added: str) -> bool:
    """Whether a layer has no bias yet, and a constant has a number for each of its channels."""
    if layer.kind not in ("MatMul", "Conv") or len(layer.inputs) != 2:
        return False
    weight = constants.get(layer.inputs[1])
    if weight is None or weight.ndim < 2:
        return False
    channels = weight.shape[1] if layer.kind == "MatMul" else weight.shape[0]
    behind = 0 if layer.kind == "MatMul" else weight.ndim - 2
    shape = (channels, *[1] * behind)
    found = constants[added].shape
    return tuple(found[-len(shape) :]) == shape and set(found[: -len(shape)]) <= {1}
