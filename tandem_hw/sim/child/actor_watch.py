"""Lava's processes watched from within the child that runs them.

Lava forks one process for every Process of the graph. When a model raises or a process dies,
Lava's runtime waits for ever; so a thread here watches them, writes down what happened, and leaves
at once.
"""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tandem_hw.sim.child.leaving import fail

_POLL_SECONDS = 0.1
#: What a signal means for a user. Files in memory are those of its temporary folder.
_HINTS: Final = {
    signal.SIGBUS: ": there is no room for a file in memory, in /dev/shm or the temporary folder"
}
#: How long a process that raised may take to leave its message after others have ended.
_SETTLE_SECONDS = 1.0


class ActorWatch(threading.Thread):
    """Notices a Lava process that has raised or died, which Lava's own runtime does not."""

    def __init__(self, folder: Path, entry: Any) -> None:
        super().__init__(daemon=True)
        self.folder, self.entry, self.done = folder, entry, False

    def run(self) -> None:
        """Poll until the run is over."""
        while not self.done:
            time.sleep(_POLL_SECONDS)
            self.report()

    def report(self) -> None:
        """Leave with a message if a Lava process has raised or died."""
        faults = self._faults()
        if faults and faults[0].exit_code == 0:
            # One that raises ends others with status 0, and may be about to leave its own message.
            time.sleep(_SETTLE_SECONDS)
            faults = self._faults()
        if faults and not self.done:
            fail(self.folder, faults[0].message)

    def _faults(self) -> list[_Fault]:
        """Return what is wrong with Lava's processes, the most telling first."""
        messaging = getattr(self.entry.runtime, "_messaging_infrastructure", None)
        actors = list(messaging.actors) if messaging is not None else []
        faults = [fault for fault in map(_fault, actors) if fault is not None]
        return sorted(faults, key=lambda fault: (fault.exit_code is not None, fault.exit_code == 0))


@dataclass(frozen=True)
class _Fault:
    """How a Lava process ended: by an exception (exit_code is None), or with an exit code."""

    message: str
    exit_code: int | None = None


def _fault(actor: Any) -> _Fault | None:
    """Say how a Lava process ended, with its own message where it left one; None if it lives."""
    try:
        code = None if actor.is_alive() else actor.exitcode
        joined = False
    except ValueError:  # Lava has joined and closed it
        code, joined = None, True
    if code is None and not joined:
        return None
    try:
        exception = actor.exception
    except Exception:  # Lava is reading it in this moment, or it cannot be read: look again
        return None
    if exception:
        error, trace = exception
        place = [line.strip() for line in trace.splitlines() if line.strip().startswith("File")]
        return _Fault(f"a Lava process raised {type(error).__name__}: {error} ({place[-1]})")
    if code is None:
        return None
    return _Fault(
        f"a Lava process died with exit code {code}"
        + (f" (killed by signal {-code}{_HINTS.get(-code, '')})" if code < 0 else ""),
        code,
    )
