"""Trainings on a cluster: Dask's workers start them, each in a process of its own.

The workers share the sweep's folder, at the same path, and have the same version of tandem-hw.
Dask is imported when a cluster is asked for (the extra ``cluster``).
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tandem_hw.errors import BackendUnavailableError, how_to_install
from tandem_hw.sweep.child import StoppedError, train_in_child
from tandem_hw.sweep.execution import Start

#: How long to look for a scheduler.
_CONNECT_SECONDS: Final = 10
#: A worker asks the scheduler that often whether the sweep has ended.
_ASK_SECONDS: Final = 1.0


def require_dask() -> Any:
    """Return Dask's module, or refuse; call it before any work.

    Raises:
        BackendUnavailableError: it is not installed.
    """
    try:
        import distributed
    except ImportError as error:
        raise BackendUnavailableError(
            f"--scheduler needs Dask, which cannot be imported ({error}): "
            f"{how_to_install('cluster')}"
        ) from error
    return distributed


@contextmanager
def dask_cluster(address: str, threads: int) -> Iterator[Start]:
    """Give what starts trainings on a cluster; when it is left early, those that run are ended.

    Args:
        address: of Dask's scheduler, such as "tcp://10.0.0.1:8786".
        threads: of each training.

    Raises:
        BackendUnavailableError: Dask is not installed, or no scheduler answers there.
    """
    distributed = require_dask()
    try:
        client = distributed.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:  # a timeout is an OSError
        raise BackendUnavailableError(
            f"no scheduler of Dask answers at {address} ({error}); start one with dask scheduler "
            f"and give the address that it prints"
        ) from error
    with client:
        stop = distributed.Event(f"tandem-hw-sweep-{uuid.uuid4().hex}", client=client)
        pool = client.get_executor(pure=False)
        try:
            yield lambda folder: pool.submit(
                train_on_worker, str(folder.resolve()), os.getcwd(), threads, stop.name
            )
        finally:
            with contextlib.suppress(OSError):  # where the scheduler has gone, so have the workers
                stop.set()
            pool.shutdown(wait=True)


def train_on_worker(folder: str, start_folder: str, threads: int, stop: str) -> str | None:
    """Train and measure what a folder says; called on a worker.

    Args:
        folder: of the training, absolute.
        start_folder: of the sweep, from which its arguments name files.
        threads: as for ``train_in_child``.
        stop: the event that says that the sweep has ended.

    Returns:
        None, or in words why it failed.

    Raises:
        StoppedError: the sweep has ended.
    """
    for needed in (folder, start_folder):
        if not Path(needed).is_dir():
            return (
                f"{needed}: is not there on the worker; a sweep needs a file system that is shared"
            )
    event = require_dask().Event(stop)
    if event.is_set():  # others have just made room for this one, since the sweep has ended
        raise StoppedError
    return train_in_child(Path(folder), threads, _now_and_then(event.is_set), Path(start_folder))


def _now_and_then(ask: Callable[[], bool]) -> Callable[[], bool]:
    """Return what asks the scheduler seldom, for it is asked very often."""
    last = time.monotonic()

    def answer() -> bool:
        nonlocal last
        if time.monotonic() - last < _ASK_SECONDS:
            return False
        last = time.monotonic()
        return ask()

    return answer
