"""How a child ends: it leaves its parent a message where it failed, and waits for nobody."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Final

#: The file in the job's folder that says why the child failed.
ERROR: Final = "error.txt"
#: Exit status of a child that cannot even leave a message: its disk is full.
NO_ROOM: Final = os.EX_IOERR
_LAST_WORD = threading.Lock()


def fail(folder: Path, message: str) -> None:
    """Leave a message for the parent, and leave."""
    take_last_word()
    status = 1
    try:
        (folder / ERROR).write_text(message, encoding="utf-8")
    except OSError:
        status = NO_ROOM
        (folder / ERROR).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        traceback.print_exc()
    _leave(status)


def leave(status: int) -> None:
    """Leave without the interpreter's clean-up, which would wait for Lava's processes."""
    take_last_word()
    _leave(status)


def take_last_word() -> None:
    """Make sure that no other thread ends this process; whoever comes later waits for its end."""
    _LAST_WORD.acquire()  # never released: two threads may notice one fault


def _leave(status: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
