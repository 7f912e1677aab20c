"""An ordinary network, lent for a run in evaluation mode and given back as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tandem_hw.errors import ConversionError


def unwrapped(network: nn.Module) -> nn.Module:
    """Return the network inside ``DataParallel``, ``torch.compile`` and the like.

    Raises:
        ConversionError: it is no module, TorchScript, or has parameters without values.
    """
    if not isinstance(network, nn.Module):
        raise ConversionError(
            f"convert takes a network as torch.nn.Module, found {type(network).__name__}"
            f"{'; give an instance of the class' if isinstance(network, type) else ''}"
        )
    while (inner := _inner(network)) is not None:
        network = inner
    for path, module in network.named_modules():
        kind = type(module).__name__
        place = f"layer {path} ({kind})" if path else f"the network ({kind})"
        if isinstance(module, torch.jit.ScriptModule):
            raise ConversionError(
                f"{place} is TorchScript, whose forward pass cannot be read; give the Python "
                f"module that it was made from, and load its weights with load_state_dict"
            )
        own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        for name, tensor in own:
            if is_lazy(tensor):
                raise ConversionError(f"{place} has no weights yet; run the network once")
            if tensor.is_meta:
                raise ConversionError(
                    f"{place} has its {name} on the meta device, where it has no values; load the "
                    f"weights before the network is converted (to_empty, load_state_dict)"
                )
    return network


def _inner(module: nn.Module) -> nn.Module | None:
    """Return what a wrapper wraps, or None."""
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        wrapped: nn.Module = module.module
        return wrapped
    # torch.compile's own class is not imported for this, which would take seconds.
    compiled: nn.Module | None = dict(module.named_children()).get("_orig_mod")
    return compiled


def wraps(module: nn.Module) -> bool:
    """Whether a module only passes on to another one."""
    return _inner(module) is not None


def device_of(network: nn.Module) -> torch.device:
    """Return the device of the first parameter or buffer."""
    for tensor in (*network.parameters(), *network.buffers()):
        return tensor.device
    return torch.device("cpu")


def dtype_of(network: nn.Module) -> torch.dtype:
    """Return the type that a network computes in; float32 where its own is shorter."""
    for parameter in network.parameters():
        if parameter.dtype == torch.float64:
            return torch.float64
    return torch.float32


@contextmanager
def borrowed(
    network: nn.Module, dtype: torch.dtype, vary: Callable[[Tensor, bool], Tensor] | None = None
) -> Iterator[None]:
    """Put a network into evaluation mode, on copies of its tensors in another type.

    Its mode, parameters, buffers, tensors and other attributes are afterwards what they were, and
    it runs uncompiled.

    Args:
        network: an ordinary network; its own modules are used, so that their hooks are.
        dtype: type of the copies of floating-point tensors.
        vary: told each of these copies, and whether it is a buffer; returns what to run with.
    """
    modules = list(network.modules())
    attributes = [(module, dict(vars(module)), _contents(module)) for module in modules]
    was_training = network.training

    def copy(tensor: Tensor, is_buffer: bool) -> Tensor:
        if not tensor.is_floating_point():
            return tensor.clone()
        changed = tensor.to(dtype, copy=True)
        return changed if vary is None else vary(changed, is_buffer)

    network.eval()
    # After eval(), which some networks change their weights by, as train() changes them back.
    tensors = [
        (tensor, tensor.data, is_buffer)
        for is_buffer, found in ((False, network.parameters()), (True, network.buffers()))
        for tensor in found
    ]
    try:
        for tensor, data, is_buffer in tensors:
            tensor.data = copy(data, is_buffer)
        for module in modules:
            _run_plainly(module, dtype)
        yield
    finally:
        for tensor, data, _ in tensors:
            tensor.data = data
        network.train(was_training)
        for module, values, contents in attributes:
            vars(module).clear()
            vars(module).update(values)
            for name, items in contents.items():
                values[name].clear()
                values[name].update(items)


def _contents(module: nn.Module) -> dict[str, dict[str, Any]]:
    return {name: dict(vars(module)[name]) for name in ("_parameters", "_buffers", "_modules")}


def _run_plainly(module: nn.Module, dtype: torch.dtype) -> None:
    """Copy a module's other tensors, and leave compilers and wrappers out."""
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            own = value.detach()
            vars(module)[name] = (
                own.to(dtype, copy=True) if own.is_floating_point() else own.clone()
            )
    inner = _inner(module)
    if inner is not None:
        vars(module)["forward"] = inner.__call__
    if getattr(module, "_compiled_call_impl", None) is not None:
        vars(module)["_compiled_call_impl"] = None
