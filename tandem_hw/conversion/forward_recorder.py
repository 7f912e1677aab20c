"""Runs an ordinary network on a batch and tells what it computes, operation by operation.

The network runs as it is, on tensors with values, so that whatever PyTorch does is seen: hooks,
replaced forward passes, operations in place, shapes and decisions by shapes. What works inside a
layer of PyTorch is not told; the layer is one operation.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
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
        """Take note of a layer of PyTorch, hooks included."""

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
    """

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], reads: bool = False) -> None:
        self.args, self.kwargs, self.reads = args, kwargs, reads
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


def record(network: nn.Module, batch: Tensor, listener: Listener) -> Any:
    """Run a network and tell a listener what it computes.

    Args:
        network: an ordinary network, in evaluation mode.
        batch: what goes in, [samples, *shape].
        listener: told every operation.

    Returns:
        What the network returned.

    Raises:
        ForwardError: it does not take such samples, or failed otherwise.
    """
    mode = _Recorder(listener)
    try:
        with _hooked(network, mode), torch.no_grad(), _plain_arithmetic(batch), mode:
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
def _plain_arithmetic(batch: Tensor) -> Iterator[None]:
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
    """Tell the recorder where each module begins, before its hooks, and ends, behind them."""
    handles = []
    try:
        for path, module in network.named_modules():
            enter, leave = recorder.hooks(path.replace("_orig_mod.", ""))
            handles += [
                module.register_forward_pre_hook(enter, prepend=True, with_kwargs=True),
                module.register_forward_hook(leave, with_kwargs=True),
            ]
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Recorder(TorchFunctionMode):
    """Sees every function of PyTorch that is called, and the modules through their hooks."""

    def __init__(self, listener: Listener) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.listener = listener
        self.places: list[str] = []
        self.layers: list[Call] = []
        self.layer: tuple[str, nn.Module] | None = None
        self.counts: dict[str, int] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one function and tell the listener."""
        kwargs = kwargs or {}
        if self.layers:  # inside a layer of PyTorch
            return func(*args, **kwargs)
        name, reads = _name(func)
        call = Call(args, kwargs, reads)
        result = func(*args, **kwargs)
        if call.tensors:
            call.finish(result)
            self.listener.operation(self._path(name), name, call)
        return result

    def hooks(self, path: str) -> tuple[Callable[..., None], Callable[..., None]]:
        """Return what is called before and after the module of this path."""

        def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self.layers or layer_reader.is_leaf(module):
                if not self.layers:
                    self.layer = (path or "0", module)
                self.layers.append(Call((), {}))  # what follows is not told
                self.layers[-1] = Call(args, kwargs)
            else:
                self.places.append(path)

        def leave(module: nn.Module, _: Any, __: Any, result: Any) -> None:
            if not self.layers:
                self.places.pop()
                return
            if len(self.layers) == 1:
                self.layers[0].finish(result)
                self.layer = None
                self.listener.module(path or "0", module, self.layers[0])
            self.layers.pop()

        return enter, leave

    def _path(self, name: str) -> str:
        """Name an operation by the module it is in, and number the ones of one name."""
        place = self.places[-1] if self.places else ""
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
