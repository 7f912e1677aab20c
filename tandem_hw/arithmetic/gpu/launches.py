"""Work of a GPU that is recorded once and launched as a whole: CUDA graphs, through PyTorch.

Launching a small kernel from Python takes longer than the kernel does. A graph of a thousand is
launched at once, on the same memory each time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class LaunchRecorder:
    """Records work that takes its turn: what one recording needs in between, the next may reuse."""

    def __init__(self) -> None:
        self._pool: Any = torch.cuda.graph_pool_handle()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return a call that does on the GPU what some work queues there, again and again.

        Args:
            work: called once, and nothing is computed meanwhile; it must read nothing from the
                device. What it keeps holds the values of the latest repetition.

        Raises:
            RuntimeError: it cannot be recorded, for instance since it reads from the device.
        """
        graph = torch.cuda.CUDAGraph()
        # The outer context brings the present stream back where the recording breaks off.
        with (
            torch.cuda.stream(torch.cuda.current_stream()),
            torch.cuda.graph(graph, pool=self._pool),
        ):
            work()
        replay: Callable[[], None] = graph.replay
        return replay


def refuse_while_recording(device: torch.device) -> None:
    """Refuse what reads from a device, and whose result would be remembered, within a recording.

    Args:
        device: what is read.

    Raises:
        RuntimeError: work on it is being recorded.
    """
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        raise RuntimeError("an algorithm cannot be tried while work of the GPU is recorded")
