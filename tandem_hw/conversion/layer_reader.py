"""Reads single layers of an ordinary network as the layers of an architecture."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tandem_hw.arithmetic.synapses import inputs_first
from tandem_hw.conversion.advice import proposal
from tandem_hw.conversion.borrowed_network import wraps
from tandem_hw.errors import ConversionError
from tandem_hw.learning.architecture import LayerSpec
from tandem_hw.learning.kinds.max_pooling import MAX_POOLINGS

SUPPORTED: Final = (
    "Conv1d, Conv2d, ConvTranspose2d, Linear, BatchNorm1d and BatchNorm2d, ReLU and ReLU6, "
    "AvgPool1d and AvgPool2d and their adaptive kinds, MaxPool1d and MaxPool2d where phased, "
    "additions, torch.cat along channels, Dropout, Dropout1d and Dropout2d, Flatten"
)
NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d)
_POOLED_AXES: Final[dict[type[nn.Module], int]] = {
    nn.AvgPool1d: 1,
    nn.AvgPool2d: 2,
    nn.MaxPool1d: 1,
    nn.MaxPool2d: 2,
}
POOLS: Final = (nn.AvgPool1d, nn.AvgPool2d)
MAX_POOLS: Final = (nn.MaxPool1d, nn.MaxPool2d)
ADAPTIVE_POOLS: Final = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
#: By the number of axes.
ADAPTIVE_POOLINGS: Final[dict[int, Callable[[Tensor, Any], Tensor]]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
}
DROPOUTS: Final = (nn.Dropout, nn.Dropout1d, nn.Dropout2d)
RESHAPES: Final = (nn.Flatten, nn.Unflatten, nn.Identity)
ENDS: Final = (nn.Softmax, nn.LogSoftmax)
POOL_OPTIONS: Final = (
    "kernel_size",
    "stride",
    "padding",
    "ceil_mode",
    "count_include_pad",
    "divisor_override",
)
MAX_POOL_OPTIONS: Final = (
    *("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
)
#: Methods that a layer's own class may not replace, as they are what is read.
_OWN_METHODS: Final = ("forward", "_conv_forward", "__call__")
#: What a table has for each class.
_Row = TypeVar("_Row")


@dataclass(frozen=True)
class _Way:
    """How layers with weights of one class are read.

    Attributes:
        spec: from a layer's name and the layer to its specification, without its source.
        weight: from a layer to its weights, output channels first.
        takes_features: whether it takes a vector of features, not channels with their axes.
        has_rims: whether outputs at a border have fewer weights than others, whatever the padding.
    """

    spec: Callable[[str, Any], LayerSpec]
    weight: Callable[[Any], Tensor]
    takes_features: bool = False
    has_rims: bool = False


def is_leaf(module: nn.Module) -> bool:
    """Whether a module is read as a whole: a layer of PyTorch, or of a class made from one."""
    own = type(module).__module__.startswith("torch.nn") and not wraps(module)
    return is_supported(module) or (own and not isinstance(module, nn.Sequential))


def is_supported(module: nn.Module) -> bool:
    """Whether a layer is of a kind that can be read."""
    return isinstance(module, _KNOWN)


def check_forward(path: str, module: nn.Module) -> None:
    """Refuse a layer that is a supported one by its class, but computes something else.

    Raises:
        ConversionError: names the layer.
    """
    replaced = [
        name
        for kind in _KNOWN
        if isinstance(module, kind)
        for name in _OWN_METHODS
        if name in vars(module)
        or getattr(type(module), name, None) is not getattr(kind, name, None)
    ]
    if replaced:
        where = "on the instance" if replaced[0] in vars(module) else "in its class"
        raise ConversionError(
            f"layer {path} ({type(module).__name__}) has a forward pass of its own "
            f"({replaced[0]} is replaced {where}), which cannot be converted; supported are "
            f"{SUPPORTED}"
        )


def refuse(path: str, module: nn.Module) -> ConversionError:
    """Return the refusal of a layer that has no exact counterpart, with a proposal."""
    names = [kind.__name__ for kind in type(module).__mro__]
    return refuse_kind(f"layer {path} ({type(module).__name__})", *names)


def refuse_kind(what: str, *names: str) -> ConversionError:
    """Return the refusal of a layer or an operation, with a proposal.

    Args:
        what: its name and kind for the message.
        names: of classes or functions, under which a proposal is looked for.
    """
    return ConversionError(
        f"{what} cannot be converted exactly; supported are {SUPPORTED}{proposal(*names)}"
    )


def synapse_parameters(path: str, module: Any) -> dict[str, Tensor]:
    """Return weights and bias as they are in effect, output channels first.

    Raises:
        ConversionError: one is infinite or not a number.
    """
    values = {"weight": _way_of(path, module).weight(module), "bias": module.bias}
    return check_finite(
        path, module, {name: value for name, value in values.items() if value is not None}
    )


def norm_parameters(path: str, norm: Any) -> dict[str, Tensor]:
    """Return weights and statistics of a batch normalisation as they are in effect.

    Raises:
        ConversionError: one is infinite or not a number.
    """
    names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    values = {f"norm.{name}": getattr(norm, name) for name in names}
    return check_finite(path, norm, values)


def check_finite(
    path: str, module: nn.Module, values: Mapping[str, Tensor | None]
) -> dict[str, Tensor]:
    """Return the values that there are.

    Args:
        path: the layer's name.
        module: the layer.
        values: its parameters and buffers by name.

    Raises:
        ConversionError: one is infinite or not a number, or holds nothing.
    """
    present = {name: value.detach() for name, value in values.items() if value is not None}
    for name, value in present.items():
        if not value.numel():
            raise ConversionError(
                f"layer {path} ({type(module).__name__}) has a {name} of shape "
                f"{tuple(value.shape)}, which holds nothing; a layer needs one output at least"
            )
        # A sum is cheaper than a look at each value; it may overflow where no value is infinite.
        if not value.sum().isfinite() and not value.isfinite().all():
            raise ConversionError(
                f"layer {path} ({type(module).__name__}) has a {name} that is infinite or not a "
                f"number; start from an earlier state of its training"
            )
    return present


def pooling_weight(spec: LayerSpec, result: Tensor) -> Tensor:
    """Return the weights of a pooling with neurons of its own, [channels, 1, *kernel].

    Args:
        spec: the pooling.
        result: what it gave, [samples, channels, *lengths].
    """
    shape = (result.shape[1], 1, *spec.kernel)
    return torch.full(shape, 1 / math.prod(spec.kernel), dtype=result.dtype, device=result.device)


def synapses_spec(path: str, module: nn.Module) -> LayerSpec:
    """Read a layer with weights, without its source.

    Args:
        path: its name in the network.
        module: one of ``SYNAPSES``.

    Raises:
        ConversionError: its padding cannot be had.
    """
    return _way_of(path, module).spec(path, module)


def takes_features(path: str, module: nn.Module) -> bool:
    """Whether a layer with weights takes a vector of features, not channels with their axes."""
    return _way_of(path, module).takes_features


def has_rims(path: str, module: nn.Module) -> bool:
    """Whether outputs of a layer with weights have fewer weights where padding or a border is."""
    way = _way_of(path, module)
    return way.has_rims or (not way.takes_features and any(way.spec(path, module).padding))


def _way_of(path: str, module: nn.Module) -> _Way:
    way = _of_class(_WAYS, module)
    if way is None:
        raise refuse(path, module)
    return way


def _of_class(table: Mapping[type[nn.Module], _Row], module: nn.Module) -> _Row | None:
    """Return what a table has for the class of a layer, or for one that it is made from."""
    return next((table[kind] for kind in type(module).__mro__ if kind in table), None)


def _linear_spec(path: str, module: Any) -> LayerSpec:
    return LayerSpec("linear", module.out_features, bias=module.bias is not None)


def _convolution_spec(path: str, module: Any) -> LayerSpec:
    name = type(module).__name__
    if module.padding_mode != "zeros":
        raise ConversionError(
            f'layer {path} ({name}) pads with "{module.padding_mode}"; only zeros can be left out '
            f"as silent neurons"
        )
    axes = len(module.kernel_size)
    padding = module.padding
    if isinstance(padding, str):
        padding = _named_padding(path, module)
    return LayerSpec(
        "conv",
        module.out_channels,
        kernel=_numbers(module.kernel_size, axes),
        stride=_numbers(module.stride, axes),
        padding=_numbers(padding, axes),
        dilation=_numbers(module.dilation, axes),
        groups=module.groups,
        bias=module.bias is not None,
    )


def _transposed_spec(path: str, module: Any) -> LayerSpec:
    spec = _convolution_spec(path, module)
    added = _numbers(module.output_padding, len(spec.kernel))
    return replace(spec, kind="conv_transpose", output_padding=added)


def _weight(module: Any) -> Tensor:
    weight: Tensor = module.weight
    return weight


def _transposed_weight(module: Any) -> Tensor:
    return inputs_first(module.weight, module.groups)


def _named_padding(path: str, module: Any) -> tuple[int, ...]:
    """Turn "valid" and "same" into numbers where that is possible."""
    if module.padding == "valid":
        return (0,) * len(module.kernel_size)
    reach = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
    if any(length % 2 for length in reach):
        raise ConversionError(
            f'layer {path} ({type(module).__name__}): padding="same" of an even kernel is not '
            f"symmetric; give the padding in numbers"
        )
    return tuple(length // 2 for length in reach)


def norm_fields(path: str, norm: Any) -> dict[str, Any]:
    """Read a batch normalisation as fields of the layer before it.

    Raises:
        ConversionError: it keeps no running average with a momentum, or stays in training mode.
    """
    if norm.training:
        raise ConversionError(
            f"layer {path} ({type(norm).__name__}) stays in training mode after eval(), and "
            f"normalises by each batch; let its train() switch it"
        )
    if not norm.track_running_stats or norm.momentum is None:
        raise ConversionError(
            f"layer {path} ({type(norm).__name__}) keeps no running average with a momentum, "
            f"which evaluation and export need; set track_running_stats=True and a momentum"
        )
    return {
        "norm": True,
        "norm_eps": norm.eps,
        "norm_momentum": norm.momentum,
        "norm_affine": norm.affine,
    }


def pooling_spec(path: str, options: dict[str, Any], axes: int) -> LayerSpec:
    """Read an average pooling.

    Args:
        path: its name, for messages.
        options: ``kernel_size``, ``stride``, ``padding``, ``ceil_mode``, ``count_include_pad`` and
            ``divisor_override`` as ``torch.nn.AvgPool2d`` has them.
        axes: number of spatial axes.

    Raises:
        ConversionError: it does not divide by the size of its window everywhere.
    """
    kernel = _numbers(options["kernel_size"], axes)
    stride, padding = options.get("stride"), _numbers(options.get("padding", 0), axes)
    if (
        options.get("ceil_mode")
        or options.get("divisor_override") is not None
        or (any(padding) and not options.get("count_include_pad", True))
    ):
        raise ConversionError(
            f"layer {path}: only an average over whole windows can be converted exactly; leave "
            f"ceil_mode, divisor_override and count_include_pad as they are by default"
        )
    return LayerSpec(
        "avgpool",
        kernel=kernel,
        stride=_numbers(kernel if stride is None or stride == [] else stride, axes),
        padding=padding,
        dilation=(1,) * axes,
        bias=False,
    )


def max_pooling_spec(path: str, options: dict[str, Any], axes: int) -> LayerSpec:
    """Read a max pooling.

    Args:
        path: its name, for messages.
        options: ``MAX_POOL_OPTIONS`` as ``torch.nn.MaxPool2d`` has them; ``return_indices`` is not
            looked at, since it shows in the result.
        axes: number of spatial axes.
    """
    kernel = _numbers(options["kernel_size"], axes)
    stride = options.get("stride")
    return LayerSpec(
        "maxpool",
        kernel=kernel,
        stride=_numbers(kernel if stride is None or stride == [] else stride, axes),
        padding=_numbers(options.get("padding", 0), axes),
        dilation=_numbers(options.get("dilation", 1), axes),
        bias=False,
        ceil_mode=bool(options.get("ceil_mode")),
    )


def adaptive_pooling_spec(lengths: tuple[int, ...], sizes: tuple[int, ...]) -> LayerSpec | None:
    """Read an adaptive average pooling.

    Args:
        lengths: of the spatial axes that come in.
        sizes: of those that go out.

    Returns:
        The pooling, or None where its windows are not all of one size.
    """
    if any(length % size for length, size in zip(lengths, sizes, strict=True)):
        return None
    kernel = [length // size for length, size in zip(lengths, sizes, strict=True)]
    return pooling_spec("", {"kernel_size": kernel}, len(lengths))


def activation_limits(what: str, least: Any, largest: Any) -> float | None:
    """Return the ceiling of an activation that is cut off at 0 and there; None without one.

    Args:
        what: its name and kind for the message.
        least, largest: what it is cut off at; None where it is not.

    Raises:
        ConversionError: it is not cut off at 0, or at nothing that a neuron can reach.
    """
    if not isinstance(least, int | float) or least != 0:
        raise refuse_kind(what, "hardtanh")
    if largest is None or (isinstance(largest, int | float) and largest == math.inf):
        return None
    if not isinstance(largest, int | float) or not largest > 0:
        raise refuse_kind(what, "hardtanh")
    return float(largest)


def pooled_values(spec: LayerSpec, values: Tensor) -> Tensor:
    """Return what a pooling gives.

    Args:
        spec: an average or a max pooling.
        values: what comes in, [samples, channels, *lengths].
    """
    axes = len(spec.kernel)
    if spec.kind == "avgpool":
        average: Any = {1: F.avg_pool1d, 2: F.avg_pool2d}[axes]
        result: Tensor = average(values, spec.kernel, spec.stride, spec.padding)
        return result
    return MAX_POOLINGS[axes](
        values, spec.kernel, spec.stride, spec.padding, spec.dilation, spec.ceil_mode
    )


def pooled_axes(module: nn.Module) -> int:
    """Return the number of axes of a layer of ``POOLS`` or ``MAX_POOLS``."""
    axes = _of_class(_POOLED_AXES, module)
    assert axes is not None  # it is one of them
    return axes


def sum_spec(source: int) -> LayerSpec:
    """Return the specification of spikes that are added as they are.

    Args:
        source: the layer that they come from.
    """
    return LayerSpec("sum", bias=False, source=source)


def dropout_spec(path: str, p: float, channels: bool) -> LayerSpec:
    """Read a dropout.

    Raises:
        ConversionError: it leaves no neuron.
    """
    if not 0 <= p < 1:
        raise ConversionError(f"layer {path}: dropout of {p} leaves no neuron")
    return LayerSpec("dropout", p=p, channels=channels)


def _numbers(value: Any, axes: int) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * axes
    numbers = tuple(int(number) for number in value)
    return numbers * axes if len(numbers) == 1 else numbers


#: A layer of a class that is made from one of these is read like it.
_WAYS: Final[dict[type[nn.Module], _Way]] = {
    nn.Conv1d: _Way(_convolution_spec, _weight),
    nn.Conv2d: _Way(_convolution_spec, _weight),
    nn.ConvTranspose2d: _Way(_transposed_spec, _transposed_weight, has_rims=True),
    nn.Linear: _Way(_linear_spec, _weight, takes_features=True),
}
SYNAPSES: Final = tuple(_WAYS)
_KNOWN: Final = (
    *(*SYNAPSES, *NORMS, *POOLS, *MAX_POOLS, *ADAPTIVE_POOLS, *DROPOUTS, *RESHAPES, *ENDS),
    *(nn.ReLU, nn.Hardtanh),
)
