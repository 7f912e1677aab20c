"""Reads the forward pass of an ordinary network as layers with neurons and how they are connected.

``torch.fx`` lists the operations; each one makes of what came before one of two things:

    _Spikes   what neurons send after a ReLU, or the input: it may be pooled, flattened, dropped
              out, and taken in by synapses
    _Sum      what neurons take in before their ReLU: synapses with their normalisation, added up

A ReLU makes a layer of a sum. Everything else has no exact counterpart and is refused by name.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import fx, nn

from tandem_hw.errors import ConversionError
from tandem_hw.learning import layer_reader
from tandem_hw.learning.architecture import FROM_INPUT, LayerSpec
from tandem_hw.learning.graph_tracer import sample_shapes, trace
from tandem_hw.learning.layer_reader import SUPPORTED
from tandem_hw.network import Readout

_RELUS: Final = (torch.relu, torch.relu_, F.relu, F.relu_, "relu", "relu_")
_ADDITIONS: Final = (operator.add, operator.iadd, torch.add, "add", "add_")
_FLATTENINGS: Final = (torch.flatten, "flatten", "view", "reshape", torch.reshape)
_MEANS: Final = (torch.mean, "mean")
_POOLINGS: Final = {F.avg_pool1d: 1, F.avg_pool2d: 2}
_ADAPTIVE_POOLINGS: Final = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d)
_DROPOUTS: Final = {F.dropout: False, F.dropout1d: True, F.dropout2d: True}
_SIZES: Final = (getattr, operator.getitem, "size")
_AVG_POOL_ARGUMENTS: Final = (
    "kernel_size",
    "stride",
    "padding",
    "ceil_mode",
    "count_include_pad",
    "divisor_override",
)


@dataclass(frozen=True)
class Source:
    """Where the weights of some synapses come from.

    Attributes:
        path: name of the module in the network, or of the operation.
        module: the module with the weights; None for a sum or a pooling.
        norm: the batch normalisation behind it, or None.
    """

    path: str
    module: Any = None
    norm: Any = None


@dataclass
class ReadNetwork:
    """An ordinary network as it was read.

    Attributes:
        layers: the layers of the architecture, in order.
        sources: for each layer with neurons the weights of its synapses and of its skips.
    """

    layers: list[LayerSpec] = field(default_factory=list)
    sources: list[tuple[Source, ...]] = field(default_factory=list)


@dataclass(frozen=True)
class _Spikes:
    """What the layer ``index`` sends; ``pool`` is an average that has no neurons yet."""

    index: int
    flat: bool = False
    pool: LayerSpec | None = None
    pool_path: str = ""


@dataclass(frozen=True)
class _Sum:
    """What neurons take in; every term has its source in its specification."""

    path: str
    terms: tuple[tuple[LayerSpec, Source], ...]
    flat: bool = False


class _Size:
    """The size of a tensor, which only a flattening may use."""


def read_network(network: nn.Module, input_shape: tuple[int, ...], readout: Readout) -> ReadNetwork:
    """Read an ordinary network.

    Args:
        network: any module whose forward pass ``torch.fx`` can trace.
        input_shape: shape of one sample.
        readout: "potential" or "count".

    Returns:
        Its layers and where their weights come from.

    Raises:
        ConversionError: names what has no exact counterpart, and what is supported.
    """
    root, graph = trace(network)
    return _Reader(root, graph, input_shape).read(readout)


class _Reader:
    """Walks the operations in order."""

    def __init__(self, root: nn.Module, graph: fx.Graph, input_shape: tuple[int, ...]) -> None:
        self.root, self.graph, self.input_shape = root, graph, input_shape
        self.found = ReadNetwork()
        self.values: dict[fx.Node, Any] = {}
        self.used: dict[int, str] = {}

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """By name of an operation, the shape of one sample of its result."""
        return sample_shapes(self.root, self.graph, self.input_shape)

    def read(self, readout: Readout) -> ReadNetwork:
        """Read all operations, and run the network once so that shapes are known to fit."""
        inputs = 0
        for node in self.graph.nodes:
            if node.op != "output" and not node.users:
                raise ConversionError(
                    f"the result of {node.target} is not used; leave it out, or, where it works in "
                    f"place, use what it returns"
                )
            if node.op == "placeholder":
                inputs += 1
                if inputs > 1:
                    raise ConversionError(
                        f"the network takes several inputs, {node.target} among them; one is "
                        f"supported"
                    )
                self.values[node] = _Spikes(FROM_INPUT)
            elif node.op == "output":
                self._finish(self.values.get(node.args[0]), readout)
            elif node.op == "call_module":
                self.values[node] = self._module(node, self.root.get_submodule(str(node.target)))
            else:
                self.values[node] = self._operation(node)
        assert self.shapes is not None  # working them out finds shapes that do not fit
        return self.found

    # Layers --------------------------------------------------------------------------------------

    def _module(self, node: fx.Node, module: nn.Module) -> Any:
        path, value = str(node.target), self._first(node)
        layer_reader.check_forward(path, module)
        if isinstance(module, layer_reader.SYNAPSES):
            return self._synapses(path, module, value)
        if isinstance(module, layer_reader.NORMS):
            return self._normalised(path, module, value)
        if isinstance(module, nn.ReLU):
            return self._fire(f"{path} (ReLU)", value)
        if isinstance(module, layer_reader.POOLS):
            axes = 1 if isinstance(module, nn.AvgPool1d) else 2
            options = {name: getattr(module, name, None) for name in _AVG_POOL_ARGUMENTS}
            return self._pooled(path, layer_reader.pooling_spec(path, options, axes), value)
        if isinstance(module, layer_reader.ADAPTIVE_POOLS):
            return self._adaptive(path, node, module.output_size, value)
        if isinstance(module, layer_reader.DROPOUTS):
            return self._dropped(
                path, type(module).__name__, module.p, not isinstance(module, nn.Dropout), value
            )
        if isinstance(module, nn.Flatten):
            if (module.start_dim, module.end_dim) != (1, -1):
                raise ConversionError(
                    f"layer {path}: Flatten must flatten all axes but the batch's"
                )
            return self._flat(path, value)
        if isinstance(module, nn.Identity):
            return value
        raise layer_reader.refuse(path, module)

    def _synapses(self, path: str, module: Any, value: Any) -> _Sum:
        spikes = self._spikes(path, value)
        self._use(path, module)
        spec = layer_reader.synapses_spec(path, module)
        if isinstance(module, nn.Linear):
            spikes, window = self._folded_pool(spikes)
            spec = replace(spec, source=spikes.index, pool=window)
        elif spikes.flat:
            raise ConversionError(
                f"layer {path} ({type(module).__name__}) comes after a Flatten; put it before"
            )
        else:
            spec = replace(spec, source=self._settled(spikes).index)
        return _Sum(path, ((spec, Source(path, module)),))

    def _use(self, path: str, module: nn.Module) -> None:
        """Refuse weights and statistics that two layers share."""
        for shared in (module, *module.parameters()):
            if id(shared) in self.used:
                raise ConversionError(
                    f"layer {path} ({type(module).__name__}) shares its weights with layer "
                    f"{self.used[id(shared)]}, or is used twice; the copies would be trained "
                    f"apart, so give each its own"
                )
            self.used[id(shared)] = path

    def _normalised(self, path: str, norm: Any, value: Any) -> _Sum:
        name = type(norm).__name__
        if not (
            isinstance(value, _Sum)
            and len(value.terms) == 1
            and value.terms[0][1].module is not None
            and value.terms[0][1].norm is None
        ):
            raise ConversionError(
                f"layer {path} ({name}) must come right after a Conv2d or Linear (or another "
                f"layer with weights), which it is folded into"
            )
        fields = layer_reader.norm_fields(path, norm)
        self._use(path, norm)
        spec, source = value.terms[0]
        term = (replace(spec, **fields), replace(source, norm=norm))
        return _Sum(value.path, (term,), value.flat)

    def _fire(self, path: str, value: Any) -> _Spikes:
        if not isinstance(value, _Sum):
            raise ConversionError(f"layer {path} does not follow a Conv2d or Linear")
        return self._add_layer(value)

    def _pooled(self, path: str, spec: LayerSpec, value: Any) -> _Spikes:
        self._check_fired(path, value)
        spikes = self._spikes(path, value)
        if all(size == 1 for size in (*spec.kernel, *spec.stride)) and not any(spec.padding):
            return spikes
        return replace(self._settled(spikes), pool=spec, pool_path=path)

    def _adaptive(self, path: str, node: fx.Node, output_size: Any, value: Any) -> _Spikes:
        self._check_fired(path, value)
        lengths = self.shapes[node.all_input_nodes[0].name][1:]
        spec = layer_reader.adaptive_pooling_spec(path, lengths, output_size)
        return self._pooled(path, spec, value)

    def _dropped(self, path: str, name: str, p: float, channels: bool, value: Any) -> _Spikes:
        self._check_fired(f"{path} ({name})", value)
        spikes = self._settled(self._spikes(path, value))
        spec = replace(layer_reader.dropout_spec(path, p, channels), source=spikes.index)
        return replace(spikes, index=self._append(spec))

    def _flat(self, path: str, value: Any) -> _Spikes | _Sum:
        if isinstance(value, _Sum):
            return replace(value, flat=True)
        return replace(self._spikes(path, value), flat=True)

    # Operations ----------------------------------------------------------------------------------

    def _operation(self, node: fx.Node) -> Any:
        target: Any = node.target
        if node.op == "get_attr" or target in _SIZES:
            return _Size()
        value = self._first(node)
        if target in _RELUS:
            return self._fire(f"{node.name} (ReLU)", value)
        if target in _ADDITIONS:
            return self._added(node)
        if target in _FLATTENINGS:
            self._check_flattening(node)
            return self._flat(node.name, value)
        if target in _MEANS:
            return self._averaged(node, value)
        if target in _POOLINGS:
            options = dict(zip(_AVG_POOL_ARGUMENTS, node.args[1:], strict=False)) | node.kwargs
            options.pop("input", None)
            spec = layer_reader.pooling_spec(node.name, options, _POOLINGS[target])
            return self._pooled(node.name, spec, value)
        if target in _ADAPTIVE_POOLINGS:
            size = node.args[1] if len(node.args) > 1 else node.kwargs["output_size"]
            return self._adaptive(node.name, node, size, value)
        if target in _DROPOUTS:
            p: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("p", 0.5)
            name = getattr(target, "__name__", "dropout")
            return self._dropped(node.name, name, p, _DROPOUTS[target], value)
        if target == "contiguous":
            return value
        name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
        raise ConversionError(
            f"operation {node.name} ({name}) cannot be converted exactly; supported are {SUPPORTED}"
            f"{_function_proposal(name)}"
        )

    def _added(self, node: fx.Node) -> _Sum:
        terms: tuple[tuple[LayerSpec, Source], ...] = ()
        if len(node.args) != 2 or node.kwargs or not all(arg in self.values for arg in node.args):
            raise ConversionError(
                f"operation {node.name} (add) adds something else than two layers, which cannot be "
                f"converted exactly; a constant belongs into a bias"
            )
        flat = False
        for argument in node.args:
            value = self.values[argument]  # type: ignore[index]
            flat |= value.flat
            if isinstance(value, _Sum):
                terms += value.terms
            else:
                spikes = self._settled(self._spikes(node.name, value))
                spec = LayerSpec("sum", bias=False, source=spikes.index)
                terms += ((spec, Source(node.name)),)
        return _Sum(node.name, terms, flat)

    def _check_flattening(self, node: fx.Node) -> None:
        if len(self.shapes[node.name]) != 1:
            raise ConversionError(
                f"operation {node.name} must flatten all axes but the batch's; it gives samples of "
                f"shape {self.shapes[node.name]}"
            )

    def _averaged(self, node: fx.Node, value: Any) -> _Spikes:
        """Read a mean over all spatial axes, which is a global average pooling."""
        before = self.shapes[node.all_input_nodes[0].name]
        axes = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        rank = len(before) + 1
        wanted = {axis % rank for axis in axes} if isinstance(axes, tuple | list) else {axes}
        if wanted != set(range(2, rank)):
            raise ConversionError(
                f"operation {node.name} (mean) averages over the axes {axes}; only all spatial "
                f"axes are supported, as a global average pooling"
            )
        spec = layer_reader.adaptive_pooling_spec(node.name, before[1:], 1)
        return replace(self._pooled(node.name, spec, value), flat=len(self.shapes[node.name]) == 1)

    # Values --------------------------------------------------------------------------------------

    def _first(self, node: fx.Node) -> Any:
        nodes = node.all_input_nodes
        if not nodes:
            raise ConversionError(f"operation {node.name} takes nothing from the network's input")
        return self.values[nodes[0]]

    def _check_fired(self, path: str, value: Any) -> None:
        """Refuse what works on spikes where neurons are still to come."""
        if isinstance(value, _Sum):
            raise ConversionError(
                f"layer {path} stands before the ReLU of {value.path}; put it after the ReLU"
            )

    def _spikes(self, path: str, value: Any) -> _Spikes:
        if isinstance(value, _Sum):
            raise ConversionError(
                f"layer {value.path} is followed by {path} without a ReLU between; spikes are "
                f"never negative, so put a ReLU there or merge the two layers"
            )
        if not isinstance(value, _Spikes):
            raise ConversionError(f"operation {path} uses a size or a constant as a signal")
        return value

    def _settled(self, spikes: _Spikes) -> _Spikes:
        """Give a pooling that still waits neurons of its own."""
        if spikes.pool is None:
            return spikes
        spec = replace(spikes.pool, source=spikes.index)
        index = self._append(spec)
        self.found.sources.append((Source(spikes.pool_path),))
        return _Spikes(index, spikes.flat)

    def _folded_pool(self, spikes: _Spikes) -> tuple[_Spikes, tuple[int, ...]]:
        """Fold a pooling into the fully connected layer behind it, where its windows are apart."""
        pool = spikes.pool
        if pool is None:
            return spikes, (1, 1)
        if pool.stride != pool.kernel or any(pool.padding):
            return self._settled(spikes), (1, 1)
        return replace(spikes, pool=None), pool.kernel

    def _add_layer(self, value: _Sum) -> _Spikes:
        """Put neurons behind a sum; synapses with weights of their own are the main ones."""
        terms = sorted(value.terms, key=lambda term: term[0].kind == "sum")
        (main, _), *skips = terms
        self.found.sources.append(tuple(source for _, source in terms))
        spec = replace(main, skips=tuple(skip for skip, _ in skips))
        return _Spikes(self._append(spec), value.flat)

    def _append(self, spec: LayerSpec) -> int:
        """Add a layer; a source that is the layer before it goes without saying."""
        index = len(self.found.layers)
        if spec.source == index - 1:
            spec = replace(spec, source=None)
        self.found.layers.append(spec)
        return index

    def _finish(self, value: Any, readout: Readout) -> None:
        """Check the end of the network against the readout."""
        if not self.used:
            raise ConversionError(f"the network has no layers with weights; supported: {SUPPORTED}")
        if isinstance(value, _Sum):
            self._add_layer(value)
            return
        ends = isinstance(value, _Spikes) and value.index == len(self.found.layers) - 1
        if not ends or value.pool is not None or self.found.layers[-1].kind == "dropout":
            raise ConversionError(
                "the network must end in a layer with weights, whose potential or spikes are the "
                "result"
            )
        if readout == "potential":
            raise ConversionError(
                "the last layer is followed by a ReLU; with readout "
                '"potential" it must not be (or use readout="count")'
            )


def _function_proposal(name: str) -> str:
    if "pool" in name:
        return "; use average pooling, or a stride of 2 in the convolution before it"
    if name in ("conv1d", "conv2d", "linear", "conv_transpose2d", "batch_norm"):
        return "; use the layer of torch.nn, which has the weights"
    if name in ("mul", "sub", "truediv", "cat"):
        return "; scale, subtract or stack by the weights of a layer"
    return ""
