"""Calls shared out among a few threads, each of which computes by itself.

PyTorch's own threads meet in every operation and spin till the last one is there. Where another
process has taken a core that is a scheduler's time slice at each of them: a simulation that gives
such threads a small part of a batch falls to a fraction of what one thread does. Threads that take
whole batches meet once, at the end, so that a core that others use costs no more than itself.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

import torch

from tandem_hw.sim.cores import cores

Argument = TypeVar("Argument")
Result = TypeVar("Result")

#: More threads would wait for Python's lock between two operations.
_MOST: Final = 8
#: Calls for each thread that may begin before the result of the first of them was taken.
_AHEAD: Final = 4


def threads_for(calls: int) -> int:
    """Return how many threads share so many calls.

    Not more than PyTorch is allowed to use (``torch.set_num_threads``, ``OMP_NUM_THREADS``) nor
    than there are cores for this process.

    Args:
        calls: how many calls there are.
    """
    return max(1, min(torch.get_num_threads(), cores(), calls, _MOST))


def call_in_order(
    function: Callable[[Argument], Result],
    arguments: Sequence[Argument],
    take: Callable[[Result], None],
    threads: int,
) -> None:
    """Call a function for every argument, several at a time.

    A single thread is the calling one, which has PyTorch's own threads beside it.

    Args:
        function: what to call.
        arguments: what it is called with, one after the other.
        take: told what it returned, in the order of the arguments and by the calling thread.
        threads: how many calls run at a time, as ``threads_for`` says.

    Raises:
        Exception: the first one, in the order of the arguments, that the function raised, or one of
            ``take``. No further call begins then.
    """
    if threads == 1:
        for argument in arguments:
            take(function(argument))
        return
    with _ALONE:
        pool = ThreadPoolExecutor(threads, "tandem-hw")
        try:
            running: deque[Future[Result]] = deque()
            for argument in arguments:
                running.append(pool.submit(function, argument))
                if len(running) > _AHEAD * threads:
                    take(running.popleft().result())
            for future in running:
                take(future.result())
        finally:
            pool.shutdown(cancel_futures=True)


class _Alone:
    """While anybody is inside, every operation of PyTorch runs in the thread that called it.

    The number of PyTorch's threads is the process's. Threads that start inside take it over.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = 1

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = torch.get_num_threads()
                torch.set_num_threads(1)
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                torch.set_num_threads(self._before)


_ALONE = _Alone()
