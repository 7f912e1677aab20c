"""Training on several processes, as ``torchrun`` starts them: one for each GPU, or on CPU cores.

Every process takes its share of each batch; ``DistributedDataParallel`` averages the gradients and
hands the first process's running statistics of batch normalisation to all others before every
forward pass. A batch's own statistics are those of each process's share, as is usual. What is
evaluated, written and exported is the first process's network: the same integers as everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from tandem_hw.counted import counted
from tandem_hw.errors import DataError, TandemError

#: Between the seeds of two processes: PyTorch's generator on the CPU looks at 32 bits of a seed,
#: and multiples of this one (2^32 over the golden ratio) lie far apart in them.
_SEED_STRIDE: Final = 2_654_435_769
T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes of one training.

    Attributes:
        rank: number of this one, from 0.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def share(self, indices: Tensor) -> Tensor:
        """Return this process's part of the indices of a batch."""
        return indices[self.rank :: self.count]

    def own_seed(self, seed: int) -> int:
        """Return a seed that no other process has; the first process keeps the given one."""
        return seed + self.rank * _SEED_STRIDE

    def parallel(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return what to call in training: the model, or one that averages the gradients."""
        if self.count == 1:
            return model
        devices = [device] if device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices)

    def wait(self) -> None:
        """Wait for all others."""
        if self.count > 1:
            dist.barrier()

    def from_first(self, make: Callable[[], T]) -> T:
        """Let the first process make something and hand it to all; what it refuses, all refuse.

        Args:
            make: returns plain data; called in the first process only.
        """
        outcome: list[Any] = [None]
        if self.is_first:
            try:
                outcome[0] = make()
            except TandemError as error:
                outcome[0] = error
        if self.count > 1:
            dist.broadcast_object_list(outcome)
        if isinstance(outcome[0], TandemError):
            raise outcome[0]
        return cast(T, outcome[0])

    @contextmanager
    def first_goes_ahead(self) -> Iterator[None]:
        """Let the first process do something alone before all others, such as a download."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()


@contextmanager
def started_processes(device: torch.device, batch_size: int) -> Iterator[Processes]:
    """Join the processes that ``torchrun`` started, or be the only one.

    Where they are joined already (``torch.distributed.init_process_group``) they stay so.

    Args:
        device: where this process computes; with CUDA the processes use NCCL, otherwise gloo.
        batch_size: of all processes together.

    Raises:
        DataError: the batch cannot be shared out evenly.
    """
    is_joined = dist.is_available() and dist.is_initialized()
    if not is_joined and "RANK" not in os.environ:
        yield Processes()
        return
    count = dist.get_world_size() if is_joined else int(os.environ.get("WORLD_SIZE", "1"))
    if batch_size % count or (count > 1 and batch_size // count < 2):
        raise DataError(
            f"a batch of {batch_size} cannot be shared by "
            f"{counted(count, 'process', 'processes')}; give a multiple of "
            f"{count} with at least 2 samples for each"
        )
    if is_joined or count == 1:
        yield Processes(dist.get_rank(), count) if is_joined else Processes()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)  # NCCL would guess which one a barrier shall use
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), count)
    finally:
        # Gloo's group ends with the process: taken apart on a busy machine it now and then waits
        # for ever (PyTorch 2.3), with all results written.
        if device.type == "cuda":
            dist.destroy_process_group()


def own_device(device: str) -> str:
    """Return the device of this process: with "cuda" and several processes, a GPU for each."""
    if device == "cuda" and "LOCAL_RANK" in os.environ:
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return device
