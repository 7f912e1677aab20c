"""The child that runs Lava: ``main`` in a process that ``worker_command`` starts.

Lava forks one process for every Process of the graph. When a model raises or a process dies,
Lava's runtime waits for ever; so a thread here watches them, writes down what happened, and leaves
at once. The parent ends the whole group whatever comes.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tandem_hw.sim.child.watched_process import exit_with_parent
from tandem_hw.sim.lava_cpu import job as lava_job

_POLL_SECONDS = 0.1
#: A clean stop takes a fraction of a second; a runtime that blocks is left to the parent.
_STOP_SECONDS = 5.0
#: How long a process that raised may take to leave its message after others have ended.
_SETTLE_SECONDS = 1.0
_LAST_WORD = threading.Lock()


def main(folder: Path) -> None:
    """Run the job in a folder and leave the results there."""
    exit_with_parent()
    try:
        _run(folder)
    except BaseException as error:  # whatever it is, the parent has to learn of it
        fail(folder, f"{type(error).__name__}: {error}")
    leave(0)


def _run(folder: Path) -> None:
    # Importing Lava takes seconds and sets multiprocessing's start method: only here, in the child.
    from lava.magma.core.run_conditions import RunSteps

    from tandem_hw.export.net_file import read_net
    from tandem_hw.sim.graph.parameters import digest_of_processes
    from tandem_hw.sim.lava_cpu.graph import build_graph, run_config

    options = json.loads((folder / lava_job.OPTIONS).read_text(encoding="utf-8"))
    network = read_net(folder / lava_job.NETWORK)
    inputs = np.load(folder / lava_job.INPUTS, allow_pickle=False)
    graph = build_graph(
        network,
        inputs,
        folder,
        options["period"],
        lowered=options["lowered"],
        keep_final_state=options["keep_final_state"],
    )
    digests = {built.layer.name: digest_of_processes(built) for built in graph.layers}
    (folder / lava_job.DIGESTS).write_text(json.dumps(digests), encoding="utf-8")
    watch = ActorWatch(folder, graph.entry)
    watch.start()
    try:
        graph.entry.run(RunSteps(num_steps=graph.num_steps), run_config(options["stock_conv"]))
    except Exception:
        watch.report()  # Lava itself says how many of its processes raised, and not what
        raise
    watch.done = True
    watch.join()  # it must not wait for a process that Lava joins and closes now
    timer = threading.Timer(_STOP_SECONDS, leave, (0,))
    timer.daemon = True
    timer.start()
    graph.entry.stop()


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
        + (f" (killed by signal {-code})" if code < 0 else ""),
        code,
    )


def fail(folder: Path, message: str) -> None:
    """Leave a message for the parent, and leave."""
    _LAST_WORD.acquire()  # never released: two threads may notice one fault
    traceback.print_exc()
    (folder / lava_job.ERROR).write_text(message, encoding="utf-8")
    leave(1)


def leave(status: int) -> None:
    """Leave without the interpreter's clean-up, which would wait for Lava's processes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
