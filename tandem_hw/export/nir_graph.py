"""Foreign NIR graphs as layers of real numbers: which neurons take what from where.

Neurons of type IF become layers. What lies between two of them, a weighted node with Flatten and
pooling around it, is one set of synapses: a pooling whose windows do not overlap is folded into the
convolution or the matrix behind it, which changes nothing. Several paths into the same neurons are
added, so all but one of them become skips. Everything else is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import ConversionError
from tandem_hw.export.nir_file import TreeItems
from tandem_hw.network.layers import INPUT_SOURCE
from tandem_hw.network.synapses.geometry import LENGTH_MAX, Geometry

Real: TypeAlias = npt.NDArray[np.float64]
Axes: TypeAlias = tuple[int, ...]

_WEIGHTED: Final = ("Affine", "Linear", "Conv1d", "Conv2d")
_POOLING: Final = ("SumPool2d", "AvgPool2d")
_AXES: Final = {"Conv1d": 1, "Conv2d": 2}
#: Weights that a pooling may become: a window is two numbers in a file, whatever its size.
_UNFOLDED_MAX: Final = 1 << 24
#: What is proposed for nodes that are refused.
_PROPOSALS: Final = {
    "LIF": "its leak is no integer; use IF neurons, or train it with tandem-hw's own leak",
    "CubaLIF": "its leak is no integer; use IF neurons, or train it with tandem-hw's own leak",
    "LI": "its leak is no integer; end the graph with the weights, whose outputs are added up",
    "CubaLI": "its leak is no integer; end the graph with the weights, whose outputs are added up",
    "NIRGraph": "replace the graph within the graph by its nodes; recurrent ones cannot be run",
    "Scale": "multiply it into the weights",
    "Delay": "delays cannot be run; leave it out",
}


@dataclass(frozen=True)
class RealPath:
    """Synapses from a source to neurons, in real numbers.

    Attributes:
        name: of the weighted node, or of the pooling, or made of both ends' names.
        source: name of the neurons where it starts; None for the graph's input, since neurons can
            have any name.
        kind: "Dense", "Conv1d", "Conv2d" or "OneToOne".
        weight: float64, output channels first; None for one-to-one synapses.
        bias: float64, one a channel, in every step.
        geometry: of a convolution, otherwise None.
        pool: windows before the weights, which have to tile the image; None where there are none,
            and once the path is ``fitted``.
        each_channel: whether the weights are those of one channel and hold for each, which are as
            many as the source has; never once the path is ``fitted``.
    """

    name: str
    source: str | None
    kind: str
    weight: Real | None
    bias: Real
    geometry: Geometry | None = None
    pool: Axes | None = None
    each_channel: bool = False


@dataclass(frozen=True)
class RealNeurons:
    """Neurons and all that they take in.

    Attributes:
        name: of their node; of the Output where the graph ends with weights.
        paths: the main synapses first.
        resistance: float64 R; None for a readout.
        threshold: float64 v_threshold; None for a readout.
    """

    name: str
    paths: tuple[RealPath, ...]
    resistance: Real | None
    threshold: Real | None


class _Graph:
    """The nodes and edges of a graph."""

    def __init__(self, nodes: TreeItems, edges: list[tuple[str, str]], where: str) -> None:
        self.nodes = {
            name: replace(nodes.group(name), location=f"{where}: node {name}")
            for name in nodes.names
        }
        self.where = where
        self.before: dict[str, list[str]] = {name: [] for name in self.nodes}
        for source, target in edges:
            if source not in self.nodes or target not in self.nodes:
                raise ConversionError(f"{where}: the edge {source!r} -> {target!r} has no node")
            if source in self.before[target]:  # once or twice the spikes: NIR does not say which
                raise ConversionError(f"{where}: the edge {source!r} -> {target!r} is given twice")
            self.before[target].append(source)

    def type(self, name: str) -> str:
        """Return the type of a node."""
        return self.nodes[name].text("type")

    def place(self, name: str) -> str:
        """Return the place of a node, for messages."""
        return self.nodes[name].location

    def only(self, kind: str) -> str:
        """Return the name of the only node of a type."""
        found = [name for name in self.nodes if self.type(name) == kind]
        if len(found) != 1:
            raise ConversionError(
                f"{self.where}: the graph has {len(found)} nodes of type {kind}; one is needed"
            )
        return found[0]

    def leading_to(self, end: str) -> set[str]:
        """Return the names of all nodes from which a path leads to one, itself included."""
        found, waiting = {end}, [end]
        while waiting:
            before = set(self.before[waiting.pop()]) - found
            found |= before
            waiting += before
        return found

    def order(self) -> list[str]:
        """Return all nodes, sources first."""
        try:
            return list(TopologicalSorter(self.before).static_order())
        except CycleError as error:
            raise ConversionError(
                f"{self.where}: the graph is recurrent (node {error.args[1][0]}); only "
                f"feed-forward graphs can be run"
            ) from error


def real_layers(
    nodes: TreeItems, edges: list[tuple[str, str]], where: str
) -> tuple[tuple[int, ...], list[RealNeurons]]:
    """Read a feed-forward graph.

    Args:
        nodes: the nodes by name.
        edges: pairs of names.
        where: what the graph is called in messages.

    Returns:
        The shape of the input, and the neurons, sources first; the last is the result.

    Raises:
        ConversionError: the graph cannot be run; the message names the node.
        FileFormatError: a node lacks a field or has one of another kind.
    """
    graph = _Graph(nodes, edges, where)
    start, end = graph.only("Input"), graph.only("Output")
    order = graph.order()
    shape = tuple(graph.nodes[start].integers("shape").reshape(-1).tolist())
    names = [name for name in order if graph.type(name) == "IF"]
    layers = [_neurons(graph, name, start) for name in names]
    last = graph.before[end]
    # All neurons lead to the output, so what alone stands before it comes last.
    if not (len(last) == 1 and graph.type(last[0]) == "IF"):
        layers.append(_neurons(graph, end, start))
    useful = graph.leading_to(end)
    useless = [name for name in names if name not in useful]
    if useless:
        raise ConversionError(
            f"{graph.place(useless[0])} leads to no output: leave it out, or end the graph with it"
        )
    return shape, layers


def _neurons(graph: _Graph, name: str, start: str) -> RealNeurons:
    before = graph.before[name]
    if not before:
        raise ConversionError(f"{graph.place(name)} takes nothing in")
    paths = [_path(graph, source, name, start) for source in before]
    paths.sort(key=lambda path: path.weight is None)  # the main synapses have weights, if any do
    node = graph.nodes[name]
    if graph.type(name) == "Output":
        return RealNeurons(name, tuple(paths), None, None)
    if node.has("v_reset") and np.any(node.reals("v_reset")):
        raise ConversionError(f"{node.location} resets to v_reset, which must be 0")
    resistance, threshold = node.reals("r"), node.reals("v_threshold")
    if np.any(threshold <= 0) or np.any(resistance <= 0):
        raise ConversionError(f"{node.location} has r or v_threshold that is not positive")
    if resistance.shape != threshold.shape and 1 not in (resistance.size, threshold.size):
        raise ConversionError(
            f"{node.location} has r of shape {resistance.shape} and v_threshold of shape "
            f"{threshold.shape}; they have to be the same"
        )
    return RealNeurons(name, tuple(paths), resistance, threshold)


def _path(graph: _Graph, name: str, target: str, start: str) -> RealPath:
    """Walk from a node that feeds neurons back to where its spikes come from."""
    chain: list[str] = []
    while name != start and graph.type(name) != "IF":
        kind = graph.type(name)
        if kind not in (*_WEIGHTED, *_POOLING, "Flatten"):
            proposal = _PROPOSALS.get(kind, f"there are {', '.join(_WEIGHTED)}, IF and pooling")
            raise ConversionError(f"{graph.place(name)} is of type {kind}; {proposal}")
        if len(graph.before[name]) != 1:
            raise ConversionError(
                f"{graph.place(name)} takes in {len(graph.before[name])} nodes; only neurons add"
            )
        chain.append(name)
        name = graph.before[name][0]
    chain.reverse()
    source = None if name == start else name
    weighted = [one for one in chain if graph.type(one) in _WEIGHTED]
    pooling = [one for one in chain if graph.type(one) in _POOLING]
    place = graph.place(chain[-1] if chain else target)
    if len(weighted) > 1 or len(pooling) > 1:
        raise ConversionError(f"{place}: there are no neurons between {' and '.join(chain)}")
    if weighted and pooling and chain.index(pooling[0]) > chain.index(weighted[0]):
        raise ConversionError(
            f"{graph.place(pooling[0])} pools what no neurons have taken in; put it behind neurons"
        )
    kinds = [graph.type(one) for one in chain]
    if "Flatten" in kinds and any(kind in _AXES for kind in kinds[kinds.index("Flatten") :]):
        raise ConversionError(f"{place}: a convolution behind a Flatten")
    if pooling:
        return _pooled(graph, pooling[0], weighted, source)
    if weighted:
        return _weighted(graph, weighted[0], source)
    start_name = INPUT_SOURCE if source is None else source
    return RealPath(f"{start_name}_to_{target}", source, "OneToOne", None, np.zeros(1))


def _weighted(graph: _Graph, name: str, source: str | None) -> RealPath:
    node, place, kind = graph.nodes[name], graph.place(name), graph.type(name)
    weight = node.reals("weight")
    axes = _AXES.get(kind, 0)
    if weight.ndim != 2 + axes or not weight.size:
        raise ConversionError(
            f"{place} has weights of shape {weight.shape}, not of {2 + axes} axes"
        )
    bias = np.zeros(len(weight))
    if kind != "Linear" and node.tree.get("bias") is not None:
        bias = node.reals("bias").reshape(-1)
    if bias.shape != weight.shape[:1]:
        raise ConversionError(f"{place} has {bias.size} biases for {len(weight)} channels")
    if not axes:
        return RealPath(name, source, "Dense", weight, bias)
    return RealPath(name, source, kind, weight, bias, _geometry(node, weight.shape[2:]))


def _geometry(node: TreeItems, kernel: Axes) -> Geometry:
    stride, dilation = (_axes(node, field, len(kernel), 1) for field in ("stride", "dilation"))
    padding = node.tree.get("padding")
    if not isinstance(padding, str):
        around = _axes(node, "padding", len(kernel), 0)
    elif padding == "valid":
        around = (0,) * len(kernel)
    else:
        whole = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
        if padding != "same" or any(one % 2 for one in whole) or set(stride) != {1}:
            raise ConversionError(
                f"{node.location} has padding {padding!r}; give numbers that hold for both sides "
                f"of the image"
            )
        around = tuple(one // 2 for one in whole)
    return Geometry(stride, around, dilation, node.integer("groups", range(1, LENGTH_MAX + 1)))


def _pooled(graph: _Graph, name: str, weighted: list[str], source: str | None) -> RealPath:
    """Return a pooling alone, or folded into the weights behind it."""
    node, place = graph.nodes[name], graph.place(name)
    kernel, stride, padding = (
        _axes(node, field, 2, least)
        for field, least in (("kernel_size", 0), ("stride", 1), ("padding", 0))
    )
    if min(kernel) < 1:
        raise ConversionError(f"{place} has windows of {kernel}; both numbers must be 1 or more")
    _check_unfolded(kernel[0] * kernel[1], place)
    share = 1.0 if graph.type(name) == "SumPool2d" else 1 / (kernel[0] * kernel[1])
    if not weighted:
        window = np.full((1, 1, *kernel), share)
        geometry = Geometry(stride, padding, (1, 1))
        return RealPath(name, source, "Conv2d", window, np.zeros(1), geometry, each_channel=True)
    if kernel != stride or any(padding):
        raise ConversionError(
            f"{place}: windows of {kernel} every {stride} with padding {padding} cannot be folded "
            f"into {weighted[0]}; use windows that tile the image, or put neurons behind it"
        )
    path = _weighted(graph, weighted[0], source)
    assert path.weight is not None
    if path.kind == "Dense":
        return replace(path, weight=path.weight * share, pool=kernel)
    if path.kind != "Conv2d" or path.geometry is None or set(path.geometry.dilation) != {1}:
        raise ConversionError(f"{place}: it can be folded into a Conv2d without dilation only")
    _check_unfolded(path.weight.size * kernel[0] * kernel[1], place)
    weight = path.weight.repeat(kernel[0], axis=2).repeat(kernel[1], axis=3) * share
    widened = replace(
        path.geometry,
        stride=_times(path.geometry.stride, kernel),
        padding=_times(path.geometry.padding, kernel),
    )
    return replace(path, weight=weight, geometry=widened, pool=kernel)


def _times(one: Axes, other: Axes) -> Axes:
    return tuple(a * b for a, b in zip(one, other, strict=True))


def fitted(path: RealPath, shape: tuple[int, ...], where: str) -> RealPath:
    """Return a path with what only the shape of its source decides.

    Args:
        path: as ``real_layers`` returned it.
        shape: shape of what comes in.
        where: what the graph is called in messages.

    Raises:
        ConversionError: the windows of a pooling do not tile an image of this shape.
    """
    weight, bias, geometry = path.weight, path.bias, path.geometry
    if weight is None:
        return path
    if path.pool is not None:
        y, x = path.pool
        if len(shape) != 3 or shape[1] % y or shape[2] % x:
            raise ConversionError(
                f"{where}: node {path.name}: windows of {path.pool} before it do not tile {shape}"
            )
        if geometry is None:  # a convolution has the windows in its kernel
            small = (shape[0], shape[1] // y, shape[2] // x)
            if weight.shape[1] != np.prod(small):
                raise ConversionError(
                    f"{where}: node {path.name} takes {weight.shape[1]} values, {small} come in"
                )
            _check_unfolded(weight.size * y * x, f"{where}: node {path.name}")
            spread = weight.reshape(-1, *small).repeat(y, axis=2).repeat(x, axis=3)
            weight = spread.reshape(len(weight), -1)
    if path.each_channel and geometry is not None:  # a pooling alone: a convolution of each channel
        _check_unfolded(weight.size * shape[0], f"{where}: node {path.name}")
        weight, bias = weight.repeat(shape[0], axis=0), bias.repeat(shape[0])
        geometry = replace(geometry, groups=shape[0])
    return RealPath(path.name, path.source, path.kind, weight, bias, geometry)


def _check_unfolded(weights: int, place: str) -> None:
    """Refuse a pooling that becomes more weights than any network has, before they are made."""
    if weights > _UNFOLDED_MAX:
        raise ConversionError(
            f"{place}: its windows become {weights} weights; at most {_UNFOLDED_MAX} can be"
        )


def _axes(node: TreeItems, name: str, count: int, least: int) -> Axes:
    """Return one number for each axis, of ``least`` or more; a single one stands for all."""
    values = node.integers(name).reshape(-1)
    if values.size not in (1, count):
        raise ConversionError(
            f"{node.location}: {name} holds {values.size} values for {count} axes"
        )
    numbers = tuple(np.broadcast_to(values, (count,)).tolist())
    if min(numbers) < least or max(numbers) > LENGTH_MAX:
        raise ConversionError(
            f"{node.location}: {name} is {numbers}; allowed are {least} to {LENGTH_MAX}"
        )
    return numbers
