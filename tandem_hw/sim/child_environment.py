"""The environment variables of a child process that runs Lava."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

#: Every Lava Process is an operating-system process of its own; threads inside them only compete.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
#: Python's multiprocessing keeps a socket in the temporary folder, below a folder of its own, and
#: leaves both there when it is killed. With 32 bytes for the two names, a longer path would leave
#: the 103 bytes that the path of a socket may have on every system.
_SOCKET_FOLDER_BYTES = 103 - 32


def lava_environment(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the child's environment; what it leaves in its temporary folder goes with ours.

    Args:
        folder: the job's folder, which its parent removes.
        environment: what to start from.
    """
    complete = dict(environment) | _ONE_THREAD
    if len(os.fsencode(folder)) <= _SOCKET_FOLDER_BYTES:
        complete["TMPDIR"] = str(folder)
    return complete
