"""The child that runs SANA-FE: ``main`` in a process that ``worker_command`` starts.

SANA-FE is under the GPL, and is imported in this process alone. The parent
(``tandem_hw.sim.sana_fe.backend``) ends the whole group whatever comes.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tandem_hw.sim.child.one_job import do_and_leave
from tandem_hw.sim.sana_fe import job


def main(folder: Path) -> None:
    """Run the job in a folder and leave the results there."""
    do_and_leave(folder, _run)


def _run(folder: Path) -> None:
    from tandem_hw.export.net_file import read_net
    from tandem_hw.sim.sana_fe.chip_network import build
    from tandem_hw.sim.sana_fe.run import run

    options = json.loads((folder / job.OPTIONS).read_text(encoding="utf-8"))
    network = read_net(folder / job.NETWORK)
    inputs = np.load(folder / job.INPUTS, allow_pickle=False)
    logged = frozenset(
        index
        for index, layer in enumerate(network.layers)
        if not layer.fires or options["keep_final_state"]
    )
    with open(os.devnull, "w") as nowhere:
        sys.stdout = nowhere  # SANA-FE prints a line in every step
        built = build(network, logged, folder)
        (folder / job.DIGESTS).write_text(json.dumps(built.digests), encoding="utf-8")
        totals = run(network, built, inputs, folder, logged)
        sys.stdout = sys.__stdout__
    modelled = {
        "chip": "Loihi 1",
        "model": f"SANA-FE {version('sanafe')}, its loihi.yaml",
        "samples": len(inputs),
        "cores": built.cores,
        "compartments": built.compartments,
        **totals,
    }
    (folder / job.MODELLED).write_text(json.dumps(modelled), encoding="utf-8")
