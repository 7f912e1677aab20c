"""What travels between the computer's memory and a GPU's in a training, without waiting for it.

A copy that waits lets the GPU run dry: no further work is queued meanwhile. From pinned memory, and
to it, copies take their place in the queue as everything else does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

#: Share of a GPU's free memory that samples may take; the rest is the training's.
_SHARE: Final = 0.5


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on a device; nothing waits for the copy.

    Args:
        tensor: on the CPU; it may be changed afterwards.
        device: where to.
    """
    if device.type != "cuda":
        return tensor.to(device)
    # The pinned copy is kept until the GPU has it: PyTorch's allocator sees to that.
    return tensor.pin_memory().to(device, non_blocking=True)


class HeldSamples:
    """The samples of a training, in the device's memory if they fit, otherwise in the computer's.

    Attributes:
        device: where ``take`` returns them.
    """

    def __init__(self, samples: Tensor, device: torch.device) -> None:
        """Hold samples.

        Args:
            samples: [samples, ...], on the CPU.
            device: where they are wanted.
        """
        self.device = device
        self._samples = samples.to(device) if _fit(samples, device) else samples

    def take(self, indices: Tensor) -> Tensor:
        """Return some samples.

        Args:
            indices: int64 [batch], on the CPU.

        Returns:
            [batch, ...] on the device.
        """
        if self._samples.device.type == self.device.type:
            return self._samples[sent(indices, self.device)]
        return sent(self._samples[indices], self.device)


def _fit(samples: Tensor, device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    index = torch.cuda.current_device() if device.index is None else device.index
    free, _ = torch.cuda.mem_get_info(index)
    return samples.nbytes <= _SHARE * free


class Received:
    """Tensors on their way to the CPU, waited for when they are looked at."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        """Send them off.

        Args:
            tensors: on one device, which may go on computing.
        """
        on_gpu = [tensor.device for tensor in tensors if tensor.device.type == "cuda"]
        self._event: torch.cuda.Event | None = None
        self._copies = [tensor.detach().to("cpu", non_blocking=bool(on_gpu)) for tensor in tensors]
        if on_gpu:
            self._event = torch.cuda.Event()
            self._event.record(torch.cuda.current_stream(on_gpu[0]))

    def tensors(self) -> list[Tensor]:
        """Return them, on the CPU; waits until they are there."""
        if self._event is not None:
            self._event.synchronize()
        return self._copies
