"""Runs an ordinary network on a batch and tells what it computes, operation by operation.

The network runs as it is, on tensors with values, so that whatever PyTorch does is seen: hooks,
replaced forward passes, operations in place, shapes and decisions by shapes. What works inside a
layer of PyTorch is not told; the layer is one operation. Its hooks are the user's own code, so what
they compute before and behind it is told like the rest of the forward pass.
"""

from __future__ import annotations

import random
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _global_forward_hooks, register_module_forward_hook
from torch.overrides import TorchFunctionMode, resolve_name

from tandem_hw.conversion import layer_reader
from tandem_hw.errors import ConversionError


class ForwardError(ConversionError):
    """The forward pass itself failed.

    Attributes:
        layer: the layer of PyTorch that it failed in, with its name, or None.
    """

    layer: tuple[str, nn.Module] | None = None


class Listener(Protocol):
    """Told every operation once it has run.

    The arguments are those of the call, ``result`` is what it returned and ``overwritten`` the
    tensors among the arguments that it changed in place.
    """

    def module(self, path: str, module: nn.Module, call: Call) -> None:
        """Take note of a layer of PyTorch, from behind its pre-hooks to before its hooks."""

    def operation(self, path: str, name: str, call: Call) -> None:
        """Take note of a function, a method or (``call.reads``) an attribute of a tensor."""


class Call:
    """The arguments and the result of an operation.

    Attributes:
        args, kwargs: as they were given.
        result: what it returned.
        tensors: the tensors among the arguments.
        versions: for each, how often it had been changed in place before.
        overwritten: those of them that it changed in place.
        reads: whether an attribute was read.
        in_hook: whether it was called by a hook of a layer of PyTorch.
    """

    def __init__(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        reads: bool = False,
        in_hook: bool = False,
    ) -> None:
        self.args, self.kwargs, self.reads, self.in_hook = args, kwargs, reads, in_hook
        self.tensors = list(tensors_in((args, kwargs)))
        self.versions = [version(tensor) for tensor in self.tensors]
        self.result: Any = None
        self.overwritten: list[Tensor] = []

    def version_before(self, tensor: Tensor) -> int:
        """Return how often an argument had been changed in place before the operation."""
        return next(
            before for one, before in zip(self.tensors, self.versions, strict=True) if one is tensor
        )

    def finish(self, result: Any) -> None:
        """Take note of the result."""
        self.result = result
        self.overwritten = [
            tensor
            for tensor, before in zip(self.tensors, self.versions, strict=True)
            if version(tensor) != before
        ]


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Return the tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from tensors_in(one)
    elif isinstance(value, dict):
        yield from tensors_in(tuple(value.values()))


def version(tensor: Tensor) -> int:
    """Return how often a tensor, or what shares its memory, was changed in place."""
    return -1 if tensor.is_inference() else tensor._version


def record(network: nn.Module, batch: Tensor, listener: Listener, *, hooks: bool = True) -> Any:
    """Run a network and tell a listener what it computes.

    Args:
        network: an ordinary network, in evaluation mode.
        batch: what goes in, [samples, *shape].
        listener: told every operation.
        hooks: tell what the hooks of layers compute; without, a layer stands for its hooks as well.

    Returns:
        What the network returned.

    Raises:
        ForwardError: it does not take such samples, or failed otherwise.
    """
    mode = _Recorder(listener, hooks)
    try:
        with _hooked(network, mode), torch.no_grad(), plain_arithmetic(batch), mode:
            return network(batch)
    except Exception as error:  # the forward pass is the user's own code
        reason = (str(error) or type(error).__name__).splitlines()[0]
        place = "" if mode.layer is None else f" (layer {mode.layer[0]})"
        failure = ForwardError(
            f"the network does not take samples of shape {tuple(batch.shape[1:])}{place}: {reason}"
        )
        failure.layer = mode.layer
        raise failure from error


@contextmanager
def plain_arithmetic(batch: Tensor) -> Iterator[None]:
    """Compute in the tensors' own type, silently; leave the random numbers as they are."""
    devices = [batch.device] if batch.device.type == "cuda" else []
    own_random = random.getstate()
    precise = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        with (
            torch.random.fork_rng(devices),
            torch.autocast(batch.device.type, enabled=False),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # the network's own, which its runs give anyway
            yield
    finally:
        random.setstate(own_random)
        torch.backends.cudnn.allow_tf32 = precise


@contextmanager
def _hooked(network: nn.Module, recorder: _Recorder) -> Iterator[None]:
    """Tell the recorder where each module and its own forward pass begin and end.

    PyTorch calls the hooks of all modules before those of one, so the end of a forward pass is told
    by the first of the former, and its beginning by the last of the latter.
    """
    handles = []
    try:
        for path, module in network.named_modules():
            enter, leave = recorder.hooks(path.replace("_orig_mod.", ""))
            handles += [
                module.register_forward_pre_hook(enter, prepend=True, with_kwargs=True),
                module.register_forward_pre_hook(recorder.begin, with_kwargs=True),
                module.register_forward_hook(leave),
            ]
        handles.append(register_module_forward_hook(recorder.end))
        assert isinstance(_global_forward_hooks, OrderedDict)
        _global_forward_hooks.move_to_end(handles[-1].id, last=False)
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class _Layer:
    """A layer of PyTorch that is being called; it has a call from where its forward begins."""

    path: str
    module: nn.Module
    call: Call | None = None


class _Recorder(TorchFunctionMode):
    """Sees every function of PyTorch that is called, and the modules through their hooks."""

    def __init__(self, listener: Listener, follow_hooks: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.listener = listener
        self.follow_hooks = follow_hooks
        self.places: list[str] = []
        self.layers: list[_Layer] = []
        self.running = 0
        self.layer: tuple[str, nn.Module] | None = None
        self.counts: dict[str, int] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one function and tell the listener."""
        kwargs = kwargs or {}
        if self.running:  # inside a layer of PyTorch
            return func(*args, **kwargs)
        name, reads = _name(func)
        call = Call(args, kwargs, reads, in_hook=bool(self.layers))
        result = func(*args, **kwargs)
        if call.tensors:
            call.finish(result)
            if name == "data" and not reads:
                call.overwritten = call.tensors[:1]  # an assignment, which no version tells
            self.listener.operation(self._path(name), name, call)
        return result

    def hooks(self, path: str) -> tuple[Callable[..., None], Callable[..., None]]:
        """Return what is called before and after the module of this path."""

        def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self.running or layer_reader.is_leaf(module):
                self.layers.append(_Layer(path, module))
                if not self.follow_hooks:
                    self._begin(self.layers[-1], args, kwargs)
            else:
                self.places.append(path)

        def leave(module: nn.Module, _: Any, result: Any) -> None:
            if not self._is_called(module):
                self.places.pop()
                return
            if not self.follow_hooks:
                self._end(self.layers[-1], result)
            self.layers.pop()

        return enter, leave

    def begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Be called behind the pre-hooks of a module."""
        if self.follow_hooks and self._is_called(module):
            self._begin(self.layers[-1], args, kwargs)

    def end(self, module: nn.Module, _: Any, result: Any) -> None:
        """Be called before the hooks of a module."""
        if self.follow_hooks and self._is_called(module):
            self._end(self.layers[-1], result)

    def _is_called(self, module: nn.Module) -> bool:
        return bool(self.layers) and self.layers[-1].module is module

    def _begin(self, layer: _Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.running += 1  # what follows is not told
        if self.running == 1:
            self.layer = (layer.path or "0", layer.module)
            layer.call = Call(args, kwargs)

    def _end(self, layer: _Layer, result: Any) -> None:
        if layer.call is not None:
            layer.call.finish(result)
            self.layer = None
            self.listener.module(layer.path or "0", layer.module, layer.call)
        self.running -= 1

    def _path(self, name: str) -> str:
        """Name an operation by the module it is in, and number the ones of one name."""
        place = self.places[-1] if self.places else ""
        if self.layers:
            place = f"{self.layers[-1].path}.hook".lstrip(".")
        path = f"{place}.{name}" if place else name
        number = self.counts.get(path, 0)
        self.counts[path] = number + 1
        return f"{path}_{number}" if number else path


def _name(function: Any) -> tuple[str, bool]:
    """Return a function's name without underscores at its ends, and whether it is an attribute."""
    name = getattr(function, "__name__", "")
    if name in ("__get__", "__set__"):
        return f"{getattr(function.__self__, '__name__', 'attribute')}", name == "__get__"
    if name in ("", "fn"):  # functions that choose between two
        name = str(resolve_name(function) or function).rpartition(".")[2]
    return name.strip("_") or name, False
