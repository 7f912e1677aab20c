"""Graphs of IF neurons as other programs make them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tandem_hw.network.quantized import InputSpec

nir = pytest.importorskip("nir")

SPEC = InputSpec((2, 8, 8), 1, 1.0, "constant")
STEPS = 8


def whole_weights(
    generator: np.random.Generator, *shape: int, reach: int = 127
) -> npt.NDArray[Any]:
    """Return even weights whose largest is 254: the quantizer keeps them, with a unit of 1."""
    weight = 2.0 * generator.integers(-reach, reach + 1, shape)
    weight.reshape(-1)[0] = 254
    return weight.astype(np.float32)


def if_node(shape: tuple[int, ...], threshold: float, r: float = 1.0, v_reset: float = 0.0) -> Any:
    """Return neurons; odd thresholds are never met exactly by even potentials."""
    full = [np.full(shape, value, np.float32) for value in (r, threshold, v_reset)]
    return nir.IF(r=full[0], v_threshold=full[1], v_reset=full[2])


def conv_node(weight: npt.NDArray[Any], shape: tuple[int, int], **other: Any) -> Any:
    arguments = {
        "input_shape": shape,
        "weight": weight,
        "stride": (1, 1),
        "padding": (1, 1),
        "dilation": (1, 1),
        "groups": 1,
        "bias": np.zeros(len(weight), np.float32),
    }
    return nir.Conv2d(**arguments | other)


def pool_node(kind: str, size: int = 2, stride: int | None = None, padding: int = 0) -> Any:
    sizes = (np.array([value] * 2) for value in (size, stride or size, padding))
    return getattr(nir, kind)(*sizes)


def graph_of(nodes: dict[str, Any], *edges: str) -> Any:
    """Return a graph; edges are written "a b c", a path."""
    pairs: list[tuple[str, str]] = []
    for path in edges:
        names = path.split()
        pairs += pairwise(names)
    return nir.NIRGraph(nodes, pairs, type_check=False)


def ends_of(outputs: tuple[int, ...], inputs: tuple[int, ...] = SPEC.shape) -> dict[str, Any]:
    return {"input": nir.Input(np.array(inputs)), "output": nir.Output(np.array(outputs))}


def pooled_graph(kind: str) -> Any:
    """Return a residual network with pooling before a convolution, a layer and a matrix."""
    generator = np.random.default_rng(5)
    share = {"SumPool2d": 1, "AvgPool2d": 0.25}[kind]
    nodes = ends_of((3,)) | {
        "conv": conv_node(whole_weights(generator, 4, 2, 3, 3), (8, 8)),
        "if1": if_node((4, 8, 8), 255),
        "pool1": pool_node(kind),
        "conv2": conv_node(whole_weights(generator, 4, 4, 3, 3), (4, 4)),
        "if2": if_node((4, 4, 4), 251 * share),  # folded weights are whole in units of the share
        "conv3": conv_node(whole_weights(generator, 4, 4, 3, 3), (4, 4)),
        "projection": conv_node(whole_weights(generator, 4, 4, 1, 1), (4, 4), padding=(0, 0)),
        "if3": if_node((4, 4, 4), 253),
        "pool2": pool_node(kind),
        "flatten": nir.Flatten(np.array([4, 2, 2]), 0, -1),
        "linear": nir.Linear(whole_weights(generator, 3, 16)),
    }
    return graph_of(
        nodes,
        "input conv if1 pool1 conv2 if2 conv3 if3 pool2 flatten linear output",
        "if2 projection if3",
    )
