"""What a layer of an ordinary network may be swapped for, so that the network can be converted.

Some swaps leave what the network computes as it is. Others change it, and are made only if they are
asked for: an activation that becomes a ReLU, a max pooling that becomes an average.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import torch
from torch import nn

Activations = Literal["keep", "relu"]
MaxPooling = Literal["phased", "average"]


@dataclass(frozen=True)
class Wishes:
    """Which swaps are asked for that change what a network computes.

    Attributes:
        activations: "relu" to put a ReLU in the place of its relatives.
        max_pooling: "average" to put an average in the place of a maximum.
    """

    activations: Activations = "keep"
    max_pooling: MaxPooling = "phased"


@dataclass(frozen=True)
class Place:
    """Where a layer stands.

    Attributes:
        taken: shape of what it takes, samples included.
        given: shape of what it gives.
        is_last: whether that is the network's result.
        takes_negatives: whether values below 0 come in.
    """

    taken: tuple[int, ...]
    given: tuple[int, ...]
    is_last: bool
    takes_negatives: bool


@dataclass(frozen=True)
class Swap:
    """What a layer becomes.

    Attributes:
        module: the new layer.
        remark: what changes by it.
        is_dropped: whether it is left out at the end of the network.
    """

    module: nn.Module
    remark: str
    is_dropped: bool = False


_EXACT: Final = "computes the same"
_IN_EVALUATION: Final = "computes the same in evaluation"
_Rule = Callable[[Any, Place, Wishes], Swap | None]


def swap_for(module: nn.Module, place: Place | None, wishes: Wishes) -> Swap | None:
    """Return what a layer is swapped for, or None where it stays.

    A layer of a class of the user's own, or with hooks, stays as it is.

    Args:
        module: a layer of PyTorch.
        place: where it stands; None where it stands in several places that are not alike.
        wishes: which swaps are asked for.
    """
    rule = _RULES.get(type(module))
    if rule is None or _has_hooks(module):
        return None
    if place is None:
        if type(module) not in _ANYWHERE:
            return None
        place = Place((), (), is_last=False, takes_negatives=True)
    found = rule(module, place, wishes)
    if found is not None:
        found.module.train(module.training)
    return found


def further_wish(kind: str, module: nn.Module | None) -> str:
    """Return what would let a refused activation be swapped, or nothing.

    Args:
        kind: its class or function.
        module: the layer, or None for a function.
    """
    plain = kind.lower().replace("_", "")
    known = next((one.__name__ for one in _RELATIVES if one.__name__.lower() == plain), None)
    if known is None:
        return ""
    wish = f'activations="{get_args(Activations)[1]}" swaps it for a ReLU, which has to be trained'
    if module is None:
        return f"write it as a layer, nn.{known}(); then {wish}"
    return f"remove its hooks; then {wish}" if _has_hooks(module) else wish


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _relative(module: Any, _: Place, wishes: Wishes) -> Swap | None:
    """Swap an activation that is like a ReLU for positive values."""
    if _is_relu(module):
        return Swap(nn.ReLU(), _EXACT)
    if isinstance(module, nn.Threshold) or wishes.activations == "keep":
        return None
    return Swap(nn.ReLU(), "asked for; gives other values: train it on")


def _is_relu(module: Any) -> bool:
    """Whether an activation is a ReLU by its parameters."""
    if isinstance(module, nn.LeakyReLU):
        return bool(module.negative_slope == 0)
    if isinstance(module, nn.PReLU):
        return not module.weight.detach().any()
    return isinstance(module, nn.Threshold) and module.threshold == module.value == 0


def _cut_off(module: nn.Hardtanh, _: Place, wishes: Wishes) -> Swap | None:
    """Swap an activation that is cut off at other values than 0."""
    if module.min_val >= 0 or module.max_val <= 0 or wishes.activations == "keep":
        return None
    return Swap(nn.Hardtanh(0.0, module.max_val), "asked for; gives other values: train it on")


def _end(module: nn.Module, place: Place, _: Wishes) -> Swap | None:
    """Leave out an activation at the end, as a conversion does with a softmax."""
    if not place.is_last:
        return None
    remark = "the network returns logits, which are in the same order"
    return Swap(nn.Identity(), remark, is_dropped=True)


def _max_pooling(module: Any, place: Place, wishes: Wishes) -> Swap | None:
    """Swap a max pooling for an average over the same windows."""
    if wishes.max_pooling == "phased" or module.return_indices or module.ceil_mode:
        return None
    if _numbers(module.dilation) - {1}:
        return None
    make = nn.AvgPool1d if isinstance(module, nn.MaxPool1d) else nn.AvgPool2d
    average = make(module.kernel_size, module.stride, module.padding)
    return Swap(average, "asked for; gives other values: train it on")


def _adaptive_max_pooling(module: Any, place: Place, wishes: Wishes) -> Swap | None:
    """Swap an adaptive max pooling for one with the windows that it has here."""
    lengths, sizes = place.taken[2:], place.given[2:]
    if module.return_indices or any(a % b for a, b in zip(lengths, sizes, strict=True)):
        return None
    kernel: Any = tuple(a // b for a, b in zip(lengths, sizes, strict=True))
    if isinstance(module, nn.AdaptiveMaxPool1d):
        pooling: nn.Module = nn.MaxPool1d(*kernel)
    else:
        pooling = nn.MaxPool2d(kernel)
    further = _max_pooling(pooling, place, wishes)
    return further or Swap(pooling, f"{_EXACT} for this input_shape")


def _average_pooling(module: Any, place: Place, _: Wishes) -> Swap | None:
    """Leave out a ceil_mode that nothing comes of."""
    if not module.ceil_mode or getattr(module, "divisor_override", None) is not None:
        return None
    make: Any = nn.AvgPool1d if isinstance(module, nn.AvgPool1d) else nn.AvgPool2d
    options = (module.kernel_size, module.stride, module.padding)
    plain = make(*options, count_include_pad=module.count_include_pad)
    with torch.no_grad():
        shape = tuple(plain(torch.zeros(place.taken)).shape)
    return Swap(plain, f"{_EXACT} for this input_shape") if shape == place.given else None


def _normalisation(module: Any, place: Place, _: Wishes) -> Swap | None:
    """Swap batch normalisations that differ in training alone."""
    kind = type(module)
    if kind is nn.SyncBatchNorm:
        kind = nn.BatchNorm2d if len(place.taken) == 4 else nn.BatchNorm1d
    momentum = 0.1 if module.momentum is None else module.momentum
    if not module.track_running_stats or (kind is type(module) and momentum == module.momentum):
        return None
    norm = kind(module.num_features, module.eps, momentum, module.affine)
    norm.load_state_dict(module.state_dict())
    for new, old in zip(norm.parameters(), module.parameters(), strict=True):
        new.requires_grad_(old.requires_grad)
    return Swap(norm, _IN_EVALUATION)


def _dropout(module: Any, place: Place, _: Wishes) -> Swap:
    of_channels = isinstance(module, nn.FeatureAlphaDropout) and len(place.taken) == 4
    kind = nn.Dropout2d if of_channels else nn.Dropout
    return Swap(kind(module.p), f"{_IN_EVALUATION}; drops spikes in training")


def _enlarging(module: nn.Upsample, place: Place, _: Wishes) -> Swap | None:
    """Swap an enlargement by whole factors, which repeats values, for a transposed convolution."""
    lengths, sizes = place.taken[2:], place.given[2:]
    if module.mode != "nearest" or len(lengths) != 2 or place.takes_negatives:
        return None
    if any(b % a for a, b in zip(lengths, sizes, strict=True)):
        return None
    factors = (sizes[0] // lengths[0], sizes[1] // lengths[1])
    channels = place.taken[1]
    repeating: Any = nn.utils.skip_init(  # which draws no random numbers
        nn.ConvTranspose2d,
        *(channels, channels, factors),
        stride=factors,
        groups=channels,
        bias=False,
    )
    nn.init.ones_(repeating.weight)
    remark = f"{_EXACT}, with neurons of its own"
    return Swap(nn.Sequential(repeating, nn.ReLU()), remark)


def _numbers(value: Any) -> set[int]:
    return {value} if isinstance(value, int) else set(value)


#: Activations that give about what a ReLU does for positive values, and little for others.
_RELATIVES: Final = (
    *(nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Softplus, nn.Hardswish),
)
_RULES: Final[dict[type[nn.Module], _Rule]] = {
    **dict.fromkeys(_RELATIVES, _relative),
    nn.Threshold: _relative,
    nn.Hardtanh: _cut_off,
    nn.Sigmoid: _end,
    nn.LogSigmoid: _end,
    nn.MaxPool1d: _max_pooling,
    nn.MaxPool2d: _max_pooling,
    nn.AdaptiveMaxPool1d: _adaptive_max_pooling,
    nn.AdaptiveMaxPool2d: _adaptive_max_pooling,
    nn.AvgPool1d: _average_pooling,
    nn.AvgPool2d: _average_pooling,
    nn.BatchNorm1d: _normalisation,
    nn.BatchNorm2d: _normalisation,
    nn.SyncBatchNorm: _normalisation,
    nn.AlphaDropout: _dropout,
    nn.FeatureAlphaDropout: _dropout,
    nn.Upsample: _enlarging,
    nn.UpsamplingNearest2d: _enlarging,
}
#: Layers whose swap does not depend on where they stand.
_ANYWHERE: Final = (*_RELATIVES, nn.Threshold, nn.Hardtanh, nn.MaxPool1d, nn.MaxPool2d)
