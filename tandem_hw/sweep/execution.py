"""Trainings side by side: each as soon as the one that it starts from is done."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from tandem_hw.sim.cores import cores, wanted_threads
from tandem_hw.sweep.child import train_in_child
from tandem_hw.sweep.grid import Run

#: Starts a training of the sweep's that has this folder. Its result is None, or why it failed.
Start = Callable[[Path], "Future[str | None]"]
#: Told a training that has ended, and None or why it failed.
Ended = Callable[[Run, str | None], None]


def threads_for(jobs: int, environment: Mapping[str, str] = os.environ) -> int:
    """Return how many threads each of so many trainings gets, so that all have a core.

    Args:
        jobs: trainings at a time, 1 or more.
        environment: where OMP_NUM_THREADS may say that fewer are wanted.
    """
    return max(1, min(wanted_threads(environment) or cores(), cores() // jobs))


@contextmanager
def this_machine(jobs: int, threads: int) -> Iterator[Start]:
    """Give what starts trainings here; when it is left early, those that run are ended.

    Args:
        jobs: trainings at a time.
        threads: of each.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(jobs, "sweep") as pool:
        try:
            yield lambda folder: pool.submit(train_in_child, folder, threads, stop.is_set)
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def execute(
    runs: Iterable[Run], folders: Callable[[Run], Path], start: Start, ended: Ended
) -> None:
    """Train everything, and what it starts from before; one that fails ends no other.

    Args:
        runs: what is to be trained, each once; what one starts from and is not among them is done.
        folders: of each.
        start: see ``Start``.
        ended: told each in the order in which they end.
    """
    waiting = {run.name: run for run in runs}
    running: dict[Future[str | None], Run] = {}
    while waiting or running:
        for run in [run for run in waiting.values() if _may_start(run, waiting, running.values())]:
            del waiting[run.name]
            running[start(folders(run))] = run
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            run = running.pop(future)
            failure = _failure(future)
            ended(run, failure)
            if failure is not None:
                _give_up(run, waiting, ended)


def _may_start(run: Run, waiting: Mapping[str, Run], running: Collection[Run]) -> bool:
    before = None if run.after is None else run.after.name
    return before not in waiting and before not in {one.name for one in running}


def _failure(future: Future[str | None]) -> str | None:
    """Return why a training failed: what it said, or what became of it on a cluster."""
    error = future.exception()
    return future.result() if error is None else f"{type(error).__name__}: {error}"


def _give_up(failed: Run, waiting: dict[str, Run], ended: Ended) -> None:
    """Say of everything that would start from a training that it cannot."""
    for run in [run for run in waiting.values() if run.after and run.after.name == failed.name]:
        del waiting[run.name]
        ended(run, f"was not begun: the training that it starts from, {failed.name}, failed")
        _give_up(run, waiting, ended)
