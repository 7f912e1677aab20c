"""A child's life: it does one job, and leaves the results or why there are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tandem_hw.sim.child.leaving import fail, leave
from tandem_hw.sim.child.watched_process import exit_with_parent


def do_and_leave(folder: Path, work: Callable[[Path], None]) -> None:
    """Do the job in a folder, and leave; never returns.

    Args:
        folder: where the job is, and where its results go.
        work: does it.
    """
    exit_with_parent(folder)
    try:
        work(folder)
    except BaseException as error:  # whatever it is, the parent has to learn of it
        fail(folder, f"{type(error).__name__}: {error}")
    leave(0)
