"""Keeps what each tensor of a forward pass means, and collects what is refused."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from tandem_hw.conversion import layer_reader
from tandem_hw.conversion.forward_recorder import Call, ForwardError, tensors_in, version
from tandem_hw.conversion.read_values import (
    Ended,
    Maxima,
    NormalisedSpikes,
    ReadNetwork,
    Refused,
    Spikes,
    Sum,
    Sums,
    Value,
)
from tandem_hw.errors import ConversionError
from tandem_hw.learning.architecture import FROM_INPUT

#: What may be asked of a tensor that does not depend on its values, and printing.
_QUESTIONS: Final = frozenset(
    (
        *("size", "dim", "ndimension", "numel", "nelement", "len", "stride", "storage_offset"),
        *("is_contiguous", "is_floating_point", "is_complex", "is_signed", "is_inference"),
        *("is_pinned", "is_shared", "is_same_size", "has_names", "element_size", "get_device"),
        *("type", "repr", "format", "hash"),
    )
)
#: What to do about a hook that computes with values.
_HOOK: Final = "; remove the hook, or pass check=False to convert without it"


@dataclass(frozen=True)
class _Entry:
    """A tensor, what it means, and how often it had been changed then."""

    tensor: Tensor
    value: Value
    version: int


class TensorMeanings(ABC):
    """Told the operations in order; has them read, and keeps what their results mean.

    What is refused is said once its result is used: a statistic that is only looked at does no
    harm.

    Attributes:
        found: the network as far as it was read.
        refusals: the messages, in the order in which they were noticed.
        met: those and further ones, in the order of the operations.
        unused: values that nothing has taken in yet.
    """

    def __init__(self, batch: Tensor) -> None:
        self.found = ReadNetwork(batch.clone())  # a hook may write over it
        self.refusals: dict[str, None] = {}
        self.met: dict[str, None] = {}
        self.unused: dict[int, Value] = {}
        self._entries: dict[int, _Entry] = {}
        # By the identity of values, which is kept by keeping them.
        self._taken: dict[int, Value] = {}
        self._spoiled: dict[int, Refused] = {}
        self._keep(batch, Spikes((FROM_INPUT,), (tuple(batch.shape[1:]),)))

    @abstractmethod
    def read_module(
        self, path: str, module: nn.Module, tensor: Tensor, value: Value, call: Call
    ) -> Value:
        """Return what a layer of PyTorch makes of a value, or refuse it."""

    @abstractmethod
    def read_operation(
        self, path: str, name: str, tensor: Tensor, value: Value, call: Call
    ) -> Value:
        """Return what a function or method makes of a value, or refuse it."""

    def refused(self, path: str, messages: tuple[str, ...], call: Call) -> Value:
        """Return what the result of an operation means that was refused.

        Args:
            path: its name.
            messages: why, and why what it takes in was.
            call: its arguments and result.
        """
        return Refused(messages)

    def meaning(self, tensor: Tensor, call: Call | None = None) -> Value | None:
        """Return what a tensor means, or None where it does not come from the input.

        Args:
            tensor: any tensor.
            call: of an operation that takes it in, and may have changed it since.
        """
        entry = self._entries.get(id(tensor))
        if entry is None:
            return None
        if entry.version != (version(tensor) if call is None else call.version_before(tensor)):
            return Refused(
                (
                    f"the result of {self.name_of(entry.value)} is used after an operation in "
                    f"place has written over it through another view; leave inplace out",
                )
            )
        return self._spoiled.get(id(entry.value), entry.value)

    def take(self, value: Value) -> Spikes | Sum | None:
        """Use a value; None where what gave it was refused, which is then said."""
        if isinstance(value, Refused):
            self.refusals.update(dict.fromkeys(value.messages))
            return None
        self._taken[id(value)] = value
        if isinstance(value, Ended):
            raise layer_reader.refuse_kind(value.what, "softmax")
        if isinstance(value, NormalisedSpikes):
            raise ConversionError(
                f"{value.path} follows no layer with weights, so it is folded into the one that "
                f"comes next; nothing but pooling, dropout and Flatten may be between them: put it "
                f"before the ReLU"
            )
        if isinstance(value, Sums):
            raise ConversionError(
                f"layer {value.path} has groups of its own for each part of what torch.cat has "
                f"joined, so only batch normalisation and a ReLU may follow; put a grouped layer "
                f"behind each part and the cat behind these"
            )
        if isinstance(value, Maxima):
            raise ConversionError(
                f"layer {value.path} stands before the ReLU of {value.value.path}, and nothing but "
                f"that ReLU may come behind it; put the ReLU first"
            )
        return value

    def is_taken(self, value: Value) -> bool:
        """Whether something has used a value."""
        return id(value) in self._taken

    def spoil(self, value: Value, message: str) -> None:
        """Refuse whatever takes a value from now on."""
        self._taken[id(value)] = value
        self._spoiled[id(value)] = Refused((message,))

    def module(self, path: str, module: nn.Module, call: Call) -> None:
        """Have a layer of PyTorch read."""
        values = self._meanings(call)
        if values:
            first = values[0]
            self._note(path, call, lambda: self.read_module(path, module, *first, call))

    def operation(self, path: str, name: str, call: Call) -> None:
        """Have a function or method read, or notice a question for a shape or a value."""
        values = self._meanings(call)
        if not values:
            return
        if call.overwritten or next(tensors_in(call.result), None) is not None:
            first = values[0]
            self._note(path, call, lambda: self.read_operation(path, name, *first, call))
        elif call.result is not None:
            self._asked(path, name, values, call)

    def failed(self, error: ForwardError) -> None:
        """Say what was refused before the forward pass failed, and where it failed."""
        for entry in self._entries.values():
            if isinstance(entry.value, Refused):
                self.take(entry.value)
        if error.layer is not None and not layer_reader.is_supported(error.layer[1]):
            self.refusals[str(layer_reader.refuse(*error.layer))] = None

    def name_of(self, value: Value) -> str:
        """Return what a value is called in the network."""
        if isinstance(value, Spikes):
            paths = self.found.paths
            names = ["the input" if one == FROM_INPUT else paths[one] for one in value.sources]
            return " and ".join(dict.fromkeys(names))
        return "an operation" if isinstance(value, Ended | Refused) else value.path

    def _keep(self, tensor: Tensor, value: Value) -> None:
        if tensor.is_inference():
            self.refusals[
                "the network runs in inference mode, in which what it writes over cannot be "
                "followed; use torch.no_grad() in place of torch.inference_mode()"
            ] = None
        self._entries[id(tensor)] = _Entry(tensor, value, version(tensor))

    def _meanings(self, call: Call) -> list[tuple[Tensor, Value]]:
        found = [(tensor, self.meaning(tensor, call)) for tensor in call.tensors]
        return [(tensor, value) for tensor, value in found if value is not None]

    def _asked(self, path: str, name: str, values: list[tuple[Tensor, Value]], call: Call) -> None:
        """Refuse to let values decide; shapes may, but not those that depend on values."""
        if call.reads or name in _QUESTIONS:
            for _, value in values:
                if isinstance(value, Refused):
                    self.take(value)
        else:
            self.refusals[
                f"the forward pass cannot be followed: it takes values out of the network "
                f"({path}), to decide by them or to compute with them; only shapes may decide"
                f"{_HOOK if call.in_hook else ''}"
            ] = None

    def _note(self, path: str, call: Call, read: Callable[[], Value]) -> None:
        """Have an operation read and keep what its results mean."""
        values = [value for _, value in self._meanings(call)]
        was_refused = False
        try:
            result = read()
            _check_digits(path, result, call)
        except ConversionError as error:
            was_refused = True
            messages = dict.fromkeys([f"{error}{_HOOK if call.in_hook else ''}"])
            self.met |= messages
            for value in values:
                messages |= dict.fromkeys(value.messages if isinstance(value, Refused) else ())
            result = self.refused(path, tuple(messages), call)
        results = list(tensors_in(call.result))
        for tensor in call.overwritten:
            self._spoil_aliases(path, tensor)
            if all(tensor is not one for one in results):
                self._keep(tensor, _overwritten(path))
        for one in results:
            self._keep(one, result)
        for value in values:
            if value is not result:
                self.unused.pop(id(value), None)
                if not (was_refused or isinstance(result, Ended | Refused)):
                    self.unused[id(result)] = result

    def _spoil_aliases(self, path: str, changed: Tensor) -> None:
        """Refuse other tensors in memory that was written over, where no version tells it.

        ``data`` is such a tensor; views share the version of what they are views of.
        """
        memory = changed.untyped_storage().data_ptr()
        for entry in list(self._entries.values()):
            tensor = entry.tensor
            if tensor is changed or tensor.untyped_storage().data_ptr() != memory:
                continue
            if entry.version == version(tensor):
                self._keep(tensor, _overwritten(path))


def _check_digits(path: str, value: Value, call: Call) -> None:
    """Refuse to round values that the integers come from."""
    if isinstance(value, Refused):
        return
    for tensor in tensors_in(call.result):
        if not (
            tensor.is_floating_point()
            and torch.finfo(tensor.dtype).eps <= torch.finfo(torch.float32).eps
        ):
            raise ConversionError(
                f"operation {path} rounds values to {tensor.dtype}, which the spiking "
                f"network would not do; let the forward pass stay in float32"
            )


def _overwritten(path: str) -> Refused:
    return Refused(
        (
            f"{path} writes over what it takes in, which is used again later; leave inplace out, "
            f"or use what it returns",
        )
    )
