"""The child that runs Lava: ``main`` in a process that ``worker_command`` starts.

The parent (``tandem_hw.sim.lava_cpu.backend``) ends the whole group whatever comes.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np

from tandem_hw.sim.child.actor_watch import ActorWatch
from tandem_hw.sim.child.leaving import leave
from tandem_hw.sim.child.one_job import do_and_leave
from tandem_hw.sim.lava_cpu import job as lava_job

#: A clean stop takes a fraction of a second; a runtime that blocks is left to the parent.
_STOP_SECONDS = 5.0


def main(folder: Path) -> None:
    """Run the job in a folder and leave the results there."""
    do_and_leave(folder, _run)


def _run(folder: Path) -> None:
    # Importing Lava takes seconds and sets multiprocessing's start method: only here, in the child.
    from tandem_hw.export.net_file import read_net
    from tandem_hw.sim.graph.parameters import digest_of_processes
    from tandem_hw.sim.lava_cpu.graph import build_graph

    options = json.loads((folder / lava_job.OPTIONS).read_text(encoding="utf-8"))
    network = read_net(folder / lava_job.NETWORK)
    inputs = np.load(folder / lava_job.INPUTS, allow_pickle=False)
    graph = build_graph(
        network,
        inputs,
        folder,
        options["period"],
        lowered=options["lowered"],
        stock_conv=options["stock_conv"],
        keep_final_state=options["keep_final_state"],
    )
    digests = {built.layer.name: digest_of_processes(built) for built in graph.layers}
    (folder / lava_job.DIGESTS).write_text(json.dumps(digests), encoding="utf-8")
    watch = ActorWatch(folder, graph.entry)
    watch.start()
    try:
        graph.run()
    except Exception:
        watch.report()  # Lava itself says how many of its processes raised, and not what
        raise
    watch.done = True
    watch.join()  # it must not wait for a process that Lava joins and closes now
    timer = threading.Timer(_STOP_SECONDS, leave, (0,))
    timer.daemon = True
    timer.start()
    graph.entry.stop()
