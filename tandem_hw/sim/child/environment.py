"""How a child process that runs Lava is started: its folder, command and environment."""

from __future__ import annotations

import json
import os
import site
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.atomic_write import reported
from tandem_hw.errors import BackendError
from tandem_hw.temporaries import temporary_folder

#: Every Lava Process is an operating-system process of its own; threads inside them only compete.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
#: Python's multiprocessing keeps a socket in the temporary folder, below a folder of its own, and
#: leaves both there when it is killed. With 32 bytes for the two names, a longer path would leave
#: the 103 bytes that the path of a socket may have on every system.
_SOCKET_FOLDER_BYTES = 103 - 32
#: Where Linux has a short path for every file that a process has open.
_OPEN_FILES = Path("/proc/self/fd")


@contextmanager
def job_folder() -> Iterator[Path]:
    """Give the folder through which a parent and its child exchange a job.

    Raises:
        BackendError: no temporary folder can be made.
    """
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(temporary_folder())
        except OSError as error:
            raise BackendError(
                f"no temporary folder can be made ({error.strerror or error}); name one that can "
                f"be written to, and has room, in TMPDIR"
            ) from error
        yield folder


def save_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array into the folder of a job, as npy.

    Raises:
        FileFormatError: the disk is full.
    """
    # Given another kind of file, NumPy would not say why it cannot be written.
    with reported(path), path.open("w+b") as file:
        np.save(file, array)


@contextmanager
def short_path(folder: Path) -> Iterator[Path]:
    """Give a path to a folder below which a socket can lie, where there is such a path.

    Args:
        folder: with a path of any length; it stays open meanwhile.
    """
    if len(os.fsencode(folder)) <= _SOCKET_FOLDER_BYTES or not _OPEN_FILES.exists():
        yield folder
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/{os.getpid()}/fd/{descriptor}")
    finally:
        os.close(descriptor)


def lava_environment(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the child's environment; what it leaves in its temporary folder goes with ours.

    Args:
        folder: the job's folder, which its parent removes, by a ``short_path``.
        environment: what to start from.
    """
    complete = dict(environment) | _ONE_THREAD
    if len(os.fsencode(folder)) <= _SOCKET_FOLDER_BYTES:
        complete["TMPDIR"] = str(folder)
    return complete


def worker_command(module: str, folder: Path, environment: Mapping[str, str]) -> list[str]:
    """Return the command that runs ``module.main(folder)`` in a Python where nothing is shadowed.

    Neither the current folder nor those of PYTHONPATH come before what the child imports
    (``tandem_hw.sim.child.worker_start``).

    Args:
        module: full name of the worker.
        folder: the job's folder.
        environment: where PYTHONPATH is looked up.
    """
    user_site = site.getusersitepackages() if site.ENABLE_USER_SITE else None
    # An empty entry means the current folder and comes of a colon too many.
    entries = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    places = {
        "user_site": user_site if user_site in sys.path else None,
        "supplied": [] if sys.flags.ignore_environment else list(map(os.path.abspath, entries)),
    }
    return [
        *(sys.executable, "-I", *(["-B"] if sys.dont_write_bytecode else [])),
        os.path.abspath(Path(__file__).with_name("worker_start.py")),
        *(json.dumps(places), module, str(folder)),
    ]
