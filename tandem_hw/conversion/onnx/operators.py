"""What each operator of ONNX is in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from tandem_hw.conversion.onnx.onnx_file import Array, Node
from tandem_hw.counted import counted

#: Windows, strides and paddings are no larger, so that a result takes no memory by a number alone.
_SIZE_MAX: Final = 1024
#: Numbers of an operator that may be 0; the others are lengths and steps.
_MAY_BE_ZERO: Final = ("pads", "output_padding")
#: A layer, or a function of what the operator takes.
Operator = nn.Module | Callable[..., Any]


class UnsupportedError(Exception):
    """An operator has no counterpart here; the message says why."""


@dataclass(frozen=True)
class Taken:
    """An input of an operator.

    Attributes:
        constant: its value, or None where it depends on the network's input.
        rank: its number of axes, samples included; None where that is not known.
        is_shape: whether it is a shape that is computed with.
    """

    constant: Array | None = None
    rank: int | None = None
    is_shape: bool = False


@dataclass(frozen=True)
class Built:
    """An operator in PyTorch.

    Attributes:
        operator: the layer or function.
        takes: which of the operator's inputs it takes.
        rank: number of axes of its result, or None.
        is_shape: whether the result is a shape.
    """

    operator: Operator
    takes: tuple[int, ...] = (0,)
    rank: int | None = None
    is_shape: bool = False


def build(node: Node, taken: Sequence[Taken], batch: int | None) -> Built:
    """Return an operator in PyTorch.

    Args:
        node: the operator.
        taken: its inputs.
        batch: number of samples that the file is written for, or None.

    Raises:
        UnsupportedError: there is none, or not for what it takes.
    """
    if node.kind not in _BUILDERS:
        raise UnsupportedError("is no operator that is imported")
    if len([name for name in node.outputs if name]) > 1 and node.kind != "Dropout":
        raise UnsupportedError(f"gives {counted(len(node.outputs), 'value')}, where one is needed")
    if taken and taken[0].is_shape and node.kind not in _OF_SHAPES:
        raise UnsupportedError("computes with a shape")
    return _BUILDERS[node.kind](node, taken, batch)


def _weights(taken: Sequence[Taken], index: int) -> Tensor:
    if index >= len(taken) or taken[index].constant is None:
        raise UnsupportedError("has weights that are computed, or none")
    values = np.asarray(taken[index].constant)
    if values.dtype not in (np.float16, np.float32, np.float64):
        raise UnsupportedError("has weights that are no real numbers")
    return torch.from_numpy(values.astype(np.float64 if values.dtype == np.float64 else np.float32))


def _numbers(node: Node, name: str, axes: int, default: int) -> tuple[int, ...]:
    found = node.attributes.get(name) or [default] * axes
    numbers = tuple(found) if isinstance(found, list) else ()
    least = 0 if name in _MAY_BE_ZERO else 1
    if len(numbers) != axes or not all(
        isinstance(one, int) and least <= one <= _SIZE_MAX for one in numbers
    ):
        raise UnsupportedError(
            f"has {name} {found}; {axes} numbers up to {_SIZE_MAX} are needed, whole ones from "
            f"{least}"
        )
    return numbers


def _padding(node: Node, kernel: Sequence[int]) -> tuple[int, ...]:
    """Return the padding of both sides, which has to be the same."""
    axes = len(kernel)
    automatic = node.attributes.get("auto_pad", "NOTSET")
    pads = _numbers(node, "pads", 2 * axes, 0)
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        strides = _numbers(node, "strides", axes, 1)
        dilations = _numbers(node, "dilations", axes, 1)
        reach = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        if any(one % 2 for one in reach) or set(strides) != {1}:
            raise UnsupportedError(f"has auto_pad {automatic}; export it with pads in numbers")
        return tuple(one // 2 for one in reach)
    if automatic not in ("NOTSET", "VALID", ""):
        raise UnsupportedError(f"has auto_pad {automatic}")
    if pads[:axes] != pads[axes:]:
        raise UnsupportedError(f"has pads {list(pads)}, which differ from side to side")
    return pads[:axes]


def _convolution(node: Node, taken: Sequence[Taken], _: int | None) -> Built:
    weight = _weights(taken, 1)
    axes = weight.dim() - 2
    transposed = node.kind == "ConvTranspose"
    kinds = {(1, False): nn.Conv1d, (2, False): nn.Conv2d, (2, True): nn.ConvTranspose2d}
    make: Any = kinds.get((axes, transposed))
    if make is None:
        raise UnsupportedError(f"is over {counted(axes, 'axis', 'axes')}")
    kernel = tuple(weight.shape[2:])
    said = node.attributes.get("kernel_shape")
    if said is not None and said != list(kernel):
        raise UnsupportedError(f"has kernel_shape {said}, and weights of {list(kernel)}")
    groups = node.attributes.get("group", 1)
    if not isinstance(groups, int) or groups < 1 or 0 in weight.shape or weight.shape[0] % groups:
        raise UnsupportedError(
            f"has {counted(groups, 'group')} with weights of shape {tuple(weight.shape)}"
        )
    options: dict[str, Any] = {
        "stride": _numbers(node, "strides", axes, 1),
        "padding": _padding(node, kernel),
        "dilation": _numbers(node, "dilations", axes, 1),
        "groups": groups,
        "bias": len(taken) > 2,
    }
    if transposed:
        if "output_shape" in node.attributes:
            raise UnsupportedError("has an output_shape; export it with pads in numbers")
        options["output_padding"] = _numbers(node, "output_padding", axes, 0)
        channels = (weight.shape[0], weight.shape[1] * groups)
    else:
        channels = (weight.shape[1] * groups, weight.shape[0])
    layer = nn.utils.skip_init(make, *channels, kernel, **options, dtype=weight.dtype)
    _fill(layer, weight, _weights(taken, 2) if len(taken) > 2 else None)
    return Built(layer, rank=axes + 2)


def _fill(layer: Any, weight: Tensor, bias: Tensor | None) -> None:
    if bias is not None and bias.shape != layer.bias.shape:
        raise UnsupportedError(f"has a bias of shape {tuple(bias.shape)}")
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)


def _gemm(node: Node, taken: Sequence[Taken], _: int | None) -> Built:
    weight = _weights(taken, 1)
    if node.attributes.get("transA", 0) or weight.dim() != 2:
        raise UnsupportedError("is no layer with constant weights")
    if not node.attributes.get("transB", 0):
        weight = weight.T
    weight = weight * node.attributes.get("alpha", 1.0)
    bias = None
    if len(taken) > 2:
        bias = _weights(taken, 2) * node.attributes.get("beta", 1.0)
        bias = bias.reshape(-1).expand(len(weight)) if bias.numel() == 1 else bias.reshape(-1)
    return _linear(weight, bias)


def _matmul(node: Node, taken: Sequence[Taken], _: int | None) -> Built:
    weight = _weights(taken, 1)
    if weight.dim() != 2 or taken[0].rank not in (2, None):
        raise UnsupportedError("is no layer of vectors with constant weights")
    return _linear(weight.T, None)


def _linear(weight: Tensor, bias: Tensor | None) -> Built:
    outputs, inputs = weight.shape
    layer = nn.utils.skip_init(
        nn.Linear, inputs, outputs, bias=bias is not None, dtype=weight.dtype
    )
    _fill(layer, weight, bias)
    return Built(layer, rank=2)


def _normalisation(node: Node, taken: Sequence[Taken], _: int | None) -> Built:
    if node.attributes.get("training_mode", 0):
        raise UnsupportedError("normalises by each batch; export the network in evaluation mode")
    values = [_weights(taken, index) for index in range(1, 5)]
    if taken[0].rank not in (2, 3, 4) or any(one.shape != values[0].shape for one in values):
        raise UnsupportedError("is over an unknown number of axes, or has values of several shapes")
    kind = nn.BatchNorm2d if taken[0].rank == 4 else nn.BatchNorm1d
    norm = kind(len(values[0]), node.attributes.get("epsilon", 1e-5))
    norm.momentum = 1 - node.attributes.get("momentum", 0.9)
    norm.to(values[0].dtype)
    names = ("weight", "bias", "running_mean", "running_var")
    norm.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
    return Built(norm, rank=taken[0].rank)


def _pooling(node: Node, taken: Sequence[Taken], _: int | None) -> Built:
    kernel = node.attributes.get("kernel_shape")
    axes = len(kernel) if isinstance(kernel, list) else 0
    if axes not in (1, 2):
        raise UnsupportedError(f"is over {counted(axes, 'axis', 'axes')}")
    kernel = _numbers(node, "kernel_shape", axes, 1)
    stride, padding = _numbers(node, "strides", axes, 1), _padding(node, kernel)
    dilation = _numbers(node, "dilations", axes, 1)
    ceil = bool(node.attributes.get("ceil_mode", 0))
    if node.kind == "MaxPool":
        make: Any = (nn.MaxPool1d, nn.MaxPool2d)[axes - 1]
        return Built(make(kernel, stride, padding, dilation, ceil_mode=ceil), rank=axes + 2)
    if set(dilation) != {1}:
        raise UnsupportedError("is an average with a dilation")
    make = (nn.AvgPool1d, nn.AvgPool2d)[axes - 1]
    whole = bool(node.attributes.get("count_include_pad", 0))
    pooling = make(kernel, stride, padding, ceil_mode=ceil, count_include_pad=whole)
    return Built(pooling, rank=axes + 2)


def _global_average(node: Node, taken: Sequence[Taken], _: int | None) -> Built:
    return Built(lambda x: x.mean(tuple(range(2, x.dim())), keepdim=True), rank=taken[0].rank)


def _mean(node: Node, taken: Sequence[Taken], _: int | None) -> Built:
    axes = node.attributes.get("axes")
    if axes is None and len(taken) > 1 and taken[1].constant is not None:
        axes = [int(axis) for axis in taken[1].constant.reshape(-1)]
    if not axes:
        raise UnsupportedError("averages over everything")
    keep = bool(node.attributes.get("keepdims", 1))
    rank = taken[0].rank if keep or taken[0].rank is None else taken[0].rank - len(axes)
    return Built(lambda x: x.mean(tuple(axes), keepdim=keep), rank=rank)


def _flatten(node: Node, taken: Sequence[Taken], _: int | None) -> Built:
    if node.attributes.get("axis", 1) != 1:
        raise UnsupportedError("flattens samples together")
    return Built(nn.Flatten(), rank=2)


def _reshape(node: Node, taken: Sequence[Taken], batch: int | None) -> Built:
    if len(taken) > 1 and taken[1].is_shape:
        return Built(lambda x, shape: x.reshape(shape), (0, 1))
    if len(taken) < 2 or taken[1].constant is None or not taken[1].constant.size:
        raise UnsupportedError("has a shape that is computed")
    shape = tuple(int(length) for length in taken[1].constant.reshape(-1))
    if node.attributes.get("allowzero", 0) or 0 in shape[1:]:
        raise UnsupportedError(f"has the shape {shape}")
    first = shape[0]
    if first == -1:
        return Built(lambda x: x.reshape(shape), rank=len(shape))
    if first not in (0, batch):
        raise UnsupportedError(f"has the shape {shape}, whose first number is no number of samples")
    return Built(lambda x: x.reshape(len(x), *shape[1:]), rank=len(shape))


def _clip(node: Node, taken: Sequence[Taken], _: int | None) -> Built:
    limits = [node.attributes.get("min"), node.attributes.get("max")]
    for index, one in enumerate(taken[1:3]):
        if one.constant is not None and one.constant.size == 1:
            limits[index] = float(one.constant.reshape(()))
        elif one.constant is not None or one.rank is not None:
            raise UnsupportedError("has limits that are computed")
    least, largest = limits
    if least == 0 and largest is not None and 0 < largest < np.finfo(np.float32).max:
        return Built(nn.Hardtanh(0.0, largest), rank=taken[0].rank)
    if largest is not None and largest >= np.finfo(np.float32).max:
        largest = None
    if least == 0 and largest is None:
        return Built(nn.ReLU(), rank=taken[0].rank)
    return Built(lambda x: torch.clamp(x, least, largest), rank=taken[0].rank)


def _add(node: Node, taken: Sequence[Taken], _: int | None) -> Built:
    if len(taken) != 2 or any(one.constant is not None for one in taken):
        raise UnsupportedError("adds a constant that is no bias of the layer before it")
    return Built(torch.add, (0, 1), rank=taken[0].rank)


def _concat(node: Node, taken: Sequence[Taken], _: int | None) -> Built:
    places = tuple(range(len(taken)))
    if not taken:
        raise UnsupportedError("joins nothing")
    if any(one.is_shape for one in taken):
        fixed = [None if one.constant is None else _ints(one.constant) for one in taken]

        def joined(*parts: tuple[int, ...]) -> tuple[int, ...]:
            coming = iter(parts)
            return sum((next(coming) if one is None else one for one in fixed), ())

        open_ = tuple(place for place in places if fixed[place] is None)
        return Built(joined, open_, is_shape=True)
    if any(one.constant is not None for one in taken):
        raise UnsupportedError("joins a constant")
    axis = node.attributes.get("axis", 1)
    return Built(lambda *parts: torch.cat(parts, axis), places, rank=taken[0].rank)


def _ints(values: Array) -> tuple[int, ...]:
    return tuple(int(value) for value in values.reshape(-1))


def _shape(node: Node, taken: Sequence[Taken], _: int | None) -> Built:
    if "start" in node.attributes or "end" in node.attributes:
        raise UnsupportedError("gives a part of a shape")
    return Built(lambda x: tuple(x.shape), is_shape=True)


def _gather(node: Node, taken: Sequence[Taken], _: int | None) -> Built:
    if not taken[0].is_shape or taken[1].constant is None:
        raise UnsupportedError("takes single values out of the network")
    places = _ints(taken[1].constant)
    return Built(lambda shape: tuple(shape[place] for place in places), is_shape=True)


def _as_it_is(node: Node, taken: Sequence[Taken], _: int | None) -> Built:
    """Read what leaves a shape as it is: a number is a shape of one axis here."""
    if not taken[0].is_shape:
        raise UnsupportedError("changes axes or types of values")
    return Built(lambda shape: shape, is_shape=True)


def _dropout(node: Node, taken: Sequence[Taken], _: int | None) -> Built:
    ratio = node.attributes.get("ratio", 0.5)
    if len(taken) > 1 and taken[1].constant is not None and taken[1].constant.size == 1:
        ratio = float(taken[1].constant.reshape(()))
    if not 0 <= ratio <= 1:
        raise UnsupportedError(f"drops {ratio}")
    return Built(nn.Dropout(ratio), rank=taken[0].rank)


def _softmax(node: Node, taken: Sequence[Taken], _: int | None) -> Built:
    kind = nn.Softmax if node.kind == "Softmax" else nn.LogSoftmax
    return Built(kind(node.attributes.get("axis", -1)), rank=taken[0].rank)


def _layer(make: Callable[[Node], nn.Module]) -> Callable[..., Built]:
    return lambda node, taken, _: Built(make(node), rank=taken[0].rank)


_BUILDERS: Final[dict[str, Callable[[Node, Sequence[Taken], int | None], Built]]] = {
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _normalisation,
    "MaxPool": _pooling,
    "AveragePool": _pooling,
    "GlobalAveragePool": _global_average,
    "ReduceMean": _mean,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Clip": _clip,
    "Add": _add,
    "Concat": _concat,
    "Shape": _shape,
    "Gather": _gather,
    "Unsqueeze": _as_it_is,
    "Cast": _as_it_is,
    "Dropout": _dropout,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Relu": _layer(lambda _: nn.ReLU()),
    "Identity": _layer(lambda _: nn.Identity()),
    # These are imported so that they can be refused with advice, or swapped (prepare).
    "LeakyRelu": _layer(lambda node: nn.LeakyReLU(node.attributes.get("alpha", 0.01))),
    "Elu": _layer(lambda node: nn.ELU(node.attributes.get("alpha", 1.0))),
    "Gelu": _layer(lambda node: nn.GELU(node.attributes.get("approximate", "none"))),
    "Selu": _layer(lambda _: nn.SELU()),
    "HardSwish": _layer(lambda _: nn.Hardswish()),
    "Softplus": _layer(lambda _: nn.Softplus()),
    "Sigmoid": _layer(lambda _: nn.Sigmoid()),
    "Tanh": _layer(lambda _: nn.Tanh()),
}
_OF_SHAPES: Final = ("Gather", "Unsqueeze", "Cast", "Concat")
OPERATORS: Final = tuple(_BUILDERS)
