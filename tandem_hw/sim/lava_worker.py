"""The child that runs Lava: ``python -m tandem_hw.sim.lava_worker FOLDER``.

Lava forks one process for every Process of the graph. When a model raises or a process dies, Lava's
runtime waits for ever; so a thread here watches them, writes down what happened, and leaves at once.
The parent ends the whole group whatever comes.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from tandem_hw.sim import lava_job
from tandem_hw.sim.watched_process import exit_with_parent

_POLL_SECONDS = 0.1
#: A clean stop takes a fraction of a second; a runtime that blocks is left to the parent.
_STOP_SECONDS = 5.0


def main(folder: Path) -> None:
    """Run the job in a folder and leave the results there."""
    exit_with_parent()
    try:
        _run(folder)
    except BaseException as error:  # whatever it is, the parent has to learn of it
        _fail(folder, f"{type(error).__name__}: {error}")
    _leave(0)


def _run(folder: Path) -> None:
    # Importing Lava takes seconds and sets multiprocessing's start method: only here, in the child.
    from lava.magma.core.run_conditions import RunSteps

    from tandem_hw.export.lava_graph import build_graph, run_config
    from tandem_hw.export.net_file import read_net

    options = json.loads((folder / lava_job.OPTIONS).read_text(encoding="utf-8"))
    network = read_net(folder / lava_job.NETWORK)
    inputs = np.load(folder / lava_job.INPUTS, allow_pickle=False)
    graph = build_graph(network, inputs, folder, options["period"])
    watch = _ActorWatch(folder, graph.entry)
    watch.start()
    graph.entry.run(RunSteps(num_steps=graph.num_steps), run_config(options["stock_conv"]))
    potential = graph.potential(len(inputs))
    if potential is not None:
        np.save(folder / lava_job.POTENTIAL, potential)
    watch.done = True
    timer = threading.Timer(_STOP_SECONDS, _leave, (0,))
    timer.daemon = True
    timer.start()
    graph.entry.stop()


class _ActorWatch(threading.Thread):
    """Notices a Lava process that has raised or died, which Lava's own runtime does not."""

    def __init__(self, folder: Path, entry: Any) -> None:
        super().__init__(daemon=True)
        self.folder, self.entry, self.done = folder, entry, False

    def run(self) -> None:
        """Poll until the run is over."""
        while not self.done:
            time.sleep(_POLL_SECONDS)
            runtime = self.entry.runtime
            messaging = getattr(runtime, "_messaging_infrastructure", None)
            for actor in list(messaging.actors) if messaging is not None else []:
                if not self.done and not actor.is_alive():
                    _fail(self.folder, _describe(actor))


def _describe(actor: Any) -> str:
    """Say how a Lava process ended, with its own message where it left one."""
    if actor.exception:
        error, trace = actor.exception
        place = [line.strip() for line in trace.splitlines() if line.strip().startswith("File")]
        return f"a Lava process raised {type(error).__name__}: {error} ({place[-1]})"
    code = actor.exitcode
    return f"a Lava process died with exit code {code}" + (
        f" (killed by signal {-code})" if code is not None and code < 0 else ""
    )


def _fail(folder: Path, message: str) -> None:
    traceback.print_exc()
    (folder / lava_job.ERROR).write_text(message, encoding="utf-8")
    _leave(1)


def _leave(status: int) -> None:
    """Leave without the interpreter's clean-up, which would wait for Lava's processes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
