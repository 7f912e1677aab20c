"""Reads functions and methods of tensors, as their names and arguments say."""

from __future__ import annotations

from typing import Any, Final

from torch import Tensor

from tandem_hw.conversion import layer_reader
from tandem_hw.conversion.forward_recorder import Call
from tandem_hw.conversion.layer_builder import LayerBuilder
from tandem_hw.conversion.read_values import Refused, Sum, Value, WeightOrigin
from tandem_hw.errors import ConversionError
from tandem_hw.learning.architecture import LayerSpec

#: What leaves all values as they are, and in their order.
_RESHAPES: Final = frozenset(
    (
        *("flatten", "view", "reshape", "squeeze", "unsqueeze", "unflatten", "ravel", "view_as"),
        *("reshape_as", "contiguous", "clone", "detach", "alias", "positive", "requires_grad"),
        *("float", "double", "to", "type", "type_as", "cuda", "cpu"),
    )
)
#: Activations that are cut off, the arguments that say where, and what they are by default.
_LIMITED: Final[dict[str, dict[str, float | None]]] = {
    "hardtanh": {"min_val": -1.0, "max_val": 1.0},
    "clamp": {"min": None, "max": None},
    "clip": {"min": None, "max": None},
    "clamp_min": {"min": None},
    "clamp_max": {"max": None},
}
_CEILING_OF_RELU6: Final = 6.0
_POOLINGS: Final = {"avg_pool1d": 1, "avg_pool2d": 2}
_MAX_POOLINGS: Final = {"max_pool1d": 1, "max_pool2d": 2}
_ADAPTIVE_POOLINGS: Final = ("adaptive_avg_pool1d", "adaptive_avg_pool2d")
_DROPOUTS: Final = {"dropout": False, "dropout1d": True, "dropout2d": True}
_SOFTMAXES: Final = ("softmax", "log_softmax")
_JOININGS: Final = ("cat", "concat", "concatenate")


def read(
    reader: LayerBuilder, path: str, name: str, tensor: Tensor, value: Value, call: Call
) -> Value:
    """Read one operation.

    Args:
        reader: keeps what was read.
        path: the operation's name, with the module that it is in.
        name: the function's name.
        tensor: the first of its arguments that comes from the network's input.
        value: what that means.
        call: its arguments and result.

    Returns:
        What the result means.

    Raises:
        ConversionError: it has no exact counterpart.
    """
    result = call.result
    if isinstance(result, Tensor) and not call.reads:
        if name == "relu":
            return reader.fire(f"{path} (ReLU)", value, result)
        if name == "relu6":
            return reader.fire(f"{path} (relu6)", value, result, _CEILING_OF_RELU6)
        if name in _LIMITED:
            return _limited(reader, path, name, value, call)
        if name == "add":
            return _added(reader, path, call)
        if name in _JOININGS:
            return _joined(reader, path, name, call)
        if name in _RESHAPES or (name == "getitem" and _takes_all(call, tensor)):
            return reader.reshaped(path, tensor, value, call)
        if name == "mean":
            return _averaged(reader, path, tensor, value, call)
        if name in _POOLINGS:
            options = dict(zip(layer_reader.POOL_OPTIONS, call.args[1:], strict=False))
            spec = layer_reader.pooling_spec(path, options | call.kwargs, _POOLINGS[name])
            return reader.pooled(path, spec, tensor, value, result)
        if name in _MAX_POOLINGS:
            options = dict(zip(layer_reader.MAX_POOL_OPTIONS, call.args[1:], strict=False))
            spec = layer_reader.max_pooling_spec(path, options | call.kwargs, _MAX_POOLINGS[name])
            return reader.max_pooled(path, spec, tensor, value, result)
        if name in _ADAPTIVE_POOLINGS:
            return reader.adaptive(path, tensor, value, result)
        if name in _DROPOUTS:
            return _dropped(reader, path, name, tensor, value, call)
        if name in _SOFTMAXES:
            axis = _argument(call, 1, "dim")
            return reader.ended(f"operation {path} ({name})", axis, tensor, value)
    raise layer_reader.refuse_kind(f"operation {path} ({name})", name)


def _argument(call: Call, position: int, name: str, default: Any = None) -> Any:
    return call.args[position] if len(call.args) > position else call.kwargs.get(name, default)


def _takes_all(call: Call, tensor: Tensor) -> bool:
    """Whether an index leaves nothing out and in its order; a number can do so on one value."""
    index = call.args[1]
    items = index if isinstance(index, tuple) else (index,)
    ordered = all(
        item is None
        or item is Ellipsis
        or isinstance(item, int)
        or (isinstance(item, slice) and item.step in (None, 1))
        for item in items
    )
    return ordered and call.result.numel() == tensor.numel()


def _limited(reader: LayerBuilder, path: str, name: str, value: Value, call: Call) -> Value:
    """Read an activation that is cut off at 0, and maybe at a ceiling."""
    limits: dict[str, Any] = {
        key.removesuffix("_val"): _argument(call, position, key, default)
        for position, (key, default) in enumerate(_LIMITED[name].items(), start=1)
    }
    what = f"operation {path} ({name})"
    return reader.limited(what, value, call.result, limits.get("min"), limits.get("max"))


def _added(reader: LayerBuilder, path: str, call: Call) -> Value:
    """Read an addition: the synapses of both sides act on the same neurons."""
    operands = [*call.args, *(call.kwargs[name] for name in ("other",) if name in call.kwargs)]
    alpha = call.kwargs.get("alpha", 1)
    tensors = [operand for operand in operands if isinstance(operand, Tensor)]
    meanings = [reader.meaning(tensor, call) for tensor in tensors]
    if len(operands) == 2 and len(tensors) == 1 and alpha == 1 and meanings[0] is not None:
        if not isinstance(operands[0] if operands[1] is tensors[0] else operands[1], int | float):
            raise _no_layers(path)
        if all(operand is tensors[0] or operand == 0 for operand in operands):
            return meanings[0]  # sum() starts from zero
    if len(tensors) != 2 or alpha != 1 or None in meanings:
        raise _no_layers(path)
    terms: tuple[tuple[LayerSpec, WeightOrigin], ...] = ()
    shapes = []
    refused = False
    for tensor, meaning in zip(tensors, meanings, strict=True):
        assert meaning is not None  # looked at above
        value = reader.take(meaning)
        if value is None:
            refused = True
            continue
        if tensor.shape != call.result.shape:
            raise ConversionError(
                f"operation {path} (add) adds samples of shape {tuple(tensor.shape[1:])} to "
                f"{tuple(call.result.shape[1:])}, each value to several; give both sides the same "
                f"shape, by a layer with as many outputs"
            )
        shapes.append(value.shape)
        if isinstance(value, Sum):
            terms += value.terms
        else:
            spikes = reader.settled(value)
            if len(spikes.sources) > 1:
                raise ConversionError(
                    f"operation {path} (add) adds spikes that torch.cat has joined as they are; "
                    f"add to each part before the cat, or put a layer behind it"
                )
            terms += ((layer_reader.sum_spec(spikes.sources[0]), WeightOrigin(path)),)
    if refused:
        return Refused()
    if shapes[0] != shapes[1]:
        raise ConversionError(
            f"operation {path} (add) adds neurons of shape {shapes[0]} to neurons of shape "
            f"{shapes[1]}, one of them flattened before its ReLU; let both sides have the same "
            f"shape, or put the ReLU of each before the Flatten and a layer behind it"
        )
    return Sum(path, terms, shapes[0])


def _joined(reader: LayerBuilder, path: str, name: str, call: Call) -> Value:
    """Read a concatenation: what comes behind takes in all parts."""
    tensors = _argument(call, 0, "tensors")
    axis = _argument(call, 1, "dim", call.kwargs.get("axis", 0))
    rank = call.result.dim()
    if axis % rank != 1:
        raise ConversionError(
            f"operation {path} ({name}) joins along axis {axis} of {rank}; only channels (axis 1) "
            f"can be joined, as further inputs of the layer behind them"
        )
    values = [reader.meaning(tensor, call) for tensor in tensors]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        raise ConversionError(
            f"operation {path} ({name}) joins something else than layers; leave out constants and "
            f"parameters, which belong into the bias of the layer behind them"
        )
    return reader.joined(path, known)


def _no_layers(path: str) -> ConversionError:
    return ConversionError(
        f"operation {path} (add) adds something else than two layers, which cannot be converted "
        f"exactly; a constant or a parameter belongs into the bias of the layer before it"
    )


def _averaged(reader: LayerBuilder, path: str, tensor: Tensor, value: Value, call: Call) -> Value:
    """Read a mean over all spatial axes, which is a global average pooling."""
    axes = _argument(call, 1, "dim")
    rank = tensor.dim()
    wanted = axes if isinstance(axes, tuple | list) else () if axes is None else (axes,)
    if rank < 3 or {axis % rank for axis in wanted} != set(range(2, rank)):
        raise ConversionError(
            f"operation {path} (mean) averages over the axes {axes}; only all spatial axes are "
            f"supported, as a global average pooling"
        )
    kept = call.result.reshape(*tensor.shape[:2], *([1] * (rank - 2)))
    return reader.adaptive(path, tensor, value, kept)


def _dropped(
    reader: LayerBuilder, path: str, name: str, tensor: Tensor, value: Value, call: Call
) -> Value:
    if _argument(call, 2, "training", True):
        raise ConversionError(
            f"operation {path} ({name}) drops in evaluation too; pass training=self.training"
        )
    reader.check_unchanged(path, tensor, call)
    p = _argument(call, 1, "p", 0.5)
    return reader.dropped(path, name, p, _DROPOUTS[name], value)
