"""The backend c: the exported C source, compiled by the machine's compiler and run in a child."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim.backend import Backend, Progress, SimulationResult
from tandem_hw.sim.c.compiler import ProgramCache, why_no_compiler
from tandem_hw.sim.c.program import compiled, run_program
from tandem_hw.sim.child.environment import job_folder
from tandem_hw.sim.cores import cores, wanted_threads


class CBackend(Backend):
    """Runs a network as a program of its own.

    Attributes:
        processes: how many share the samples; None for one a core, and not more than
            ``OMP_NUM_THREADS`` says.
    """

    name = "c"
    starts_at_once = True

    def __init__(self, processes: int | None = None) -> None:
        self.processes = processes

    def why_unavailable(self) -> str | None:
        """Return that there is no compiler, or None."""
        if os.name != "posix":
            return (
                f"backend {self.name}: its program needs the processes of a POSIX system; use "
                f"the backend reference, which gives the same counts"
            )
        reason = why_no_compiler()
        return None if reason is None else f"backend {self.name}: {reason}"

    def check_network(self, network: QuantizedNetwork) -> None:
        """Accept every network."""

    def simulate(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        progress: Progress,
        *,
        keep_final_state: bool,
    ) -> SimulationResult:
        """Run every sample, several at a time; see ``Backend.simulate``."""
        processes = min(self.processes or _processes(), len(inputs))
        with compiled(network, ProgramCache()) as program, job_folder() as folder:
            return run_program(
                program,
                network,
                inputs,
                progress,
                folder,
                processes,
                keep_final_state=keep_final_state,
            )


def _processes() -> int:
    """Return how many processes run at a time where nobody says it."""
    return min(wanted_threads() or cores(), cores())
