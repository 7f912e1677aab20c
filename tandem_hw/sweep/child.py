"""One training of a sweep in a process of its own, which ends with whoever started it.

A process has its own threads, its own memory and its own random numbers, can be killed at any
moment, and takes nothing with it when it fails.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tandem_hw.errors import BackendError
from tandem_hw.sim.child.environment import worker_command
from tandem_hw.sim.child.watched_process import run_watched
from tandem_hw.sweep.run_files import ERROR_NAME

#: The module whose ``main`` trains what a folder's ``run.json`` says.
WORKER: Final = "tandem_hw.cli.work.sweep_run"
#: What PyTorch and the libraries below it take as the number of their threads.
_THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class StoppedError(Exception):
    """The sweep shall end; the training was ended and can go on another time."""


def train_in_child(
    folder: Path, threads: int, should_stop: Callable[[], bool], starts_in: Path | None = None
) -> str | None:
    """Train and measure what ``run.json`` in a folder says, in a child process.

    Args:
        folder: of the training.
        threads: that PyTorch may use there, 1 or more.
        should_stop: asked now and then whether to end the child before it has finished.
        starts_in: from where the training's arguments name files; by default from here.

    Returns:
        None, or in words why it failed.

    Raises:
        StoppedError: it was ended because ``should_stop`` said so.
    """

    def ask() -> int:
        if should_stop():
            raise StoppedError
        return 0  # how far it is nobody asks: there is no time limit

    environment = dict(os.environ) | dict.fromkeys(_THREADS, str(threads))
    (folder / ERROR_NAME).unlink(missing_ok=True)
    try:
        run_watched(
            worker_command(WORKER, folder.resolve(), environment),
            name="the training",
            folder=folder,
            environment=environment,
            progress=ask,
            error_file=folder / ERROR_NAME,
            starts_in=starts_in,
        )
    except BackendError as error:
        return str(error)
    return None
