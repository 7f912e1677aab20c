"""Records PyTorch's operations on a CPU and repeats them, as a GPU's graph repeats kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

#: What a recording must not do: read a number.
_READS = ("_local_scalar_dense", "equal", "is_nonzero", "nonzero")


@dataclass(frozen=True)
class _Operation:
    function: Any
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    results: list[Tensor]

    def repeat(self) -> None:
        """Compute the results anew, in their old places."""
        found = tensors_in(self.function(*self.arguments, **self.options))
        for result, value in zip(self.results, found, strict=True):
            if value.data_ptr() != result.data_ptr():
                result.copy_(value)


def tensors_in(values: Any) -> list[Tensor]:
    """Return all tensors within lists, tuples and dictionaries."""
    return [one for one in tree_leaves(values) if isinstance(one, Tensor)]


class _Recording(TorchDispatchMode):
    """Keeps the operations that are run, and what they found in tensors from outside."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.operations: list[_Operation] = []
        self.outside: list[tuple[Tensor, Tensor]] = []
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func._schema.name.partition("::")[2]
        if name in _READS:
            raise RuntimeError(f"{name}: not permitted while operations are recorded")
        options = kwargs or {}
        for tensor in tensors_in((args, options)):
            if self._is_new(tensor):
                self.outside.append((tensor, tensor.clone()))
        found = func(*args, **options)
        results = tensors_in(found)
        for tensor in results:
            self._is_new(tensor)
        if not name.startswith(("empty", "new_empty")):  # which leaves whatever was there
            self.operations.append(_Operation(func, args, options, results))
        return found

    def _is_new(self, tensor: Tensor) -> bool:
        place = tensor.untyped_storage().data_ptr()
        new = place not in self._known
        self._known.add(place)
        return new


class OperationRecorder:
    """Records work that nothing is computed by yet; its repetitions run operations, not Python."""

    launches = 0

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return what repeats the operations of some work.

        Args:
            work: called once; all that it changes outside is put back.

        Raises:
            RuntimeError: it reads a number.
        """
        recording, random = _Recording(), torch.get_rng_state()
        try:
            with recording:
                work()
        finally:
            torch.set_rng_state(random)
            with torch.no_grad():
                for tensor, value in recording.outside:
                    tensor.data.copy_(value)

        def repeat() -> None:
            type(self).launches += 1
            with torch.no_grad():
                for operation in recording.operations:
                    operation.repeat()

        return repeat
