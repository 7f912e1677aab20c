"""What a recorded pass depends on besides the numbers that it computes with.

A recording repeats the work of one pass on the same memory. It stands for a later pass if that
would do the same work there: with inputs of the same size, parameters and buffers in the same
places, the same settings of every module and of the libraries, and nobody who looks in between.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Final

import torch
import torch.nn.modules.module as module_hooks
from torch import Tensor, nn

from tandem_hw.arithmetic.library_settings import library_settings
from tandem_hw.learning.kinds.kind import FleetingObserver, Observer

#: Types of a module's attributes that are compared; of others it is asked whether they are the
#: same objects.
_COMPARED: Final = frozenset({bool, int, float, str, type(None)})
_TENSORS: Final = ("_parameters", "_buffers")
#: Hooks that look at a module's passes, and those that look at all modules'.
_HOOKS: Final = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def may_be_recorded(modules: Sequence[nn.Module], inputs: Tensor, observe: Observer | None) -> bool:
    """Return whether a pass can be recorded with its backward pass, and launched as a whole.

    Args:
        modules: a tandem network, whose ``launches_whole_passes`` says whether that is wanted, and
            all modules within it.
        inputs: what it is called with.
        observe: told of the pass; what keeps tensors of it would find those of a later one.
    """
    return (
        inputs.device.type == "cuda"
        and bool(modules[0].launches_whole_passes)
        and inputs.numel() > 0
        and torch.is_grad_enabled()
        and (observe is None or isinstance(observe, FleetingObserver))
        and any(parameter.requires_grad for parameter in _own(modules, "_parameters"))
        and not _is_looked_at(modules[1:])
        and not torch.is_anomaly_enabled()
        and not (torch.distributed.is_available() and torch.distributed.is_initialized())
        and not torch.cuda.is_current_stream_capturing()
    )


def _is_looked_at(modules: Sequence[nn.Module]) -> bool:
    """Return whether a hook would see a pass; one that computes weights counts as well."""
    if any(getattr(module_hooks, f"_global{hooks}", None) for hooks in _HOOKS):
        return True
    return any(getattr(module, hooks, None) for module in modules for hooks in _HOOKS)


def _own(modules: Sequence[nn.Module], kind: str) -> Iterator[Tensor]:
    """Yield the parameters or buffers of modules, shared ones as often as they are shared."""
    for module in modules:
        for tensor in module.__dict__[kind].values():
            if tensor is not None:
                yield tensor


def circumstances_of(
    modules: Sequence[nn.Module], inputs: Tensor, variant: Hashable
) -> tuple[Any, ...]:
    """Return what is equal for two passes of which a recording of the first stands for the second.

    Args:
        modules: a tandem network and all modules within it.
        inputs: what it is called with.
        variant: which of its passes it is.

    Returns:
        To be compared with ``==`` while the model's modules live.
    """
    device = inputs.device
    return (
        variant,
        tuple(inputs.shape),
        inputs.dtype,
        device,
        torch.cuda.current_stream(device) if device.type == "cuda" else None,
        autocast_of(device.type),
        torch.get_default_dtype(),
        library_settings(device.type),
        [_place(tensor) for kind in _TENSORS for tensor in _own(modules, kind)],
        modules[0].training,
        [_settings_of(module) for module in modules[1:]],
    )


def autocast_of(device: str) -> tuple[bool, torch.dtype]:
    """Return whether autocast is on, and which format it casts to.

    Args:
        device: type of the device.
    """
    if hasattr(torch, "get_autocast_dtype"):
        return torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)  # type: ignore[call-arg, unused-ignore]
    if device == "cpu":
        return torch.is_autocast_cpu_enabled(), torch.get_autocast_cpu_dtype()
    return torch.is_autocast_enabled(), torch.get_autocast_gpu_dtype()


def _place(tensor: Tensor) -> tuple[Any, ...]:
    """Return where the values of a tensor are, how they lie there, and whether they are learnt."""
    return id(tensor), tensor.data_ptr(), tensor.stride(), tensor.dtype, tensor.requires_grad


def _settings_of(module: nn.Module) -> tuple[Any, ...]:
    """Return what a module's own attributes are, whether it trains among them."""
    values = module.__dict__.values()
    return id(module), *[one if type(one) in _COMPARED else id(one) for one in values]
