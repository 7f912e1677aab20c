"""How a child ends: it leaves its parent a message where it failed, and waits for nobody."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Final

#: The file in the job's folder that says why the child failed.
ERROR: Final = "error.txt"
_LAST_WORD = threading.Lock()


def fail(folder: Path, message: str) -> None:
    """Leave a message for the parent, and leave."""
    _LAST_WORD.acquire()  # never released: two threads may notice one fault
    traceback.print_exc()
    (folder / ERROR).write_text(message, encoding="utf-8")
    leave(1)


def leave(status: int) -> None:
    """Leave without the interpreter's clean-up, which would wait for Lava's processes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
