"""The backend sana-fe: SANA-FE's simulated Loihi 1, in a watched child process.

SANA-FE (J. Boyle et al., "SANA-FE: Simulating Advanced Neuromorphic Architectures for Fast
Exploration", IEEE TCAD, 2025) is a program of others under the GPL. It is optional, runs in a
process of its own that alone imports it, and nothing of it is in tandem-hw.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.atomic_write import write_json
from tandem_hw.errors import BackendError, how_to_install
from tandem_hw.export.net_file import write_net
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim.backend import PartwiseBackend, Progress, SimulationResult
from tandem_hw.sim.child.environment import job_folder, save_array, worker_command
from tandem_hw.sim.child.leaving import ERROR
from tandem_hw.sim.child.watched_process import run_watched
from tandem_hw.sim.sana_fe import job
from tandem_hw.sim.sana_fe.placement import check_exact
from tandem_hw.sim.sana_fe.schedule import schedule

#: The module that runs in the child.
WORKER = "tandem_hw.sim.sana_fe.worker"
#: Part of SANA-FE that no other program has a module of the name of.
_MODULE = "sanafecpp"


class SanaFeBackend(PartwiseBackend):
    """Runs a network on SANA-FE, and reports the time and energy that it models for Loihi 1.

    A recording's ``extra`` has them as ``modelled``: ``seconds`` and ``joules_total``, with the
    parts of the energy, of all samples together, which pass back to back.
    """

    name = "sana-fe"
    few_samples = 20
    refuses_some = True

    def why_unavailable(self) -> str | None:
        """Return that SANA-FE is not installed, or None."""
        if os.name != "posix":
            return (
                f"backend {self.name}: its child needs the processes of a POSIX system; use "
                f"the backend reference, which gives the same counts"
            )
        if _is_installed():
            return None
        return (
            f"backend {self.name}: SANA-FE, a program of its own under the GPL-3, is not "
            f"installed; {how_to_install('sanafe')}, or use the backend reference, which gives "
            f"the same counts"
        )

    def check_network(self, network: QuantizedNetwork) -> None:
        """Refuse a network that SANA-FE cannot run exactly; see ``check_exact``."""
        check_exact(network)

    def simulate_in_parts(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        progress: Progress,
        *,
        keep_final_state: bool,
        size: int,
    ) -> Generator[SimulationResult, None, None]:
        """Run every sample back to back, and read part by part what the child has written."""
        with job_folder() as folder:
            write_net(network, folder / job.NETWORK)
            save_array(folder / job.INPUTS, inputs)
            write_json(folder / job.OPTIONS, {"keep_final_state": keep_final_state})
            self._run_child(folder, network, len(inputs), progress)
            for start in range(0, len(inputs), size):
                part = slice(start, min(start + size, len(inputs)))
                yield _read_results(network, folder, part, keep_final_state)

    def _run_child(
        self, folder: Path, network: QuantizedNetwork, samples: int, progress: Progress
    ) -> None:
        last = schedule(network, samples)[-1]

        def finished_steps() -> int:
            try:
                (steps,) = np.load(folder / job.PROGRESS).tolist()
            except (OSError, ValueError, EOFError):  # it is not there yet
                return 0
            progress(min(samples, max(0, steps - last.first) // last.period), samples)
            return int(steps)

        run_watched(
            worker_command(WORKER, folder, os.environ),
            name=f"the child process of backend {self.name}",
            folder=folder,
            environment=os.environ,
            progress=finished_steps,
            error_file=folder / ERROR,
        )
        progress(samples, samples)


def _is_installed() -> bool:
    """Look for SANA-FE without importing it."""
    return importlib.util.find_spec(_MODULE) is not None


def _read_results(
    network: QuantizedNetwork, folder: Path, part: slice, keep_final_state: bool
) -> SimulationResult:
    """Read what the child left of some samples, and check that it is complete."""
    counts: dict[str, npt.NDArray[np.int32]] = {}
    states: dict[str, npt.NDArray[np.int32]] = {}
    try:
        for index, layer in enumerate(network.layers):
            shape = (part.stop - part.start, *layer.output_shape)
            if layer.fires:
                counts[layer.name] = _read_rows(job.counts_path(folder, index), part).reshape(shape)
            if not layer.fires or keep_final_state:
                states[layer.name] = _read_rows(job.state_path(folder, index), part).reshape(shape)
        digests = _read_json(folder / job.DIGESTS)
        modelled = _read_json(folder / job.MODELLED)
    except (OSError, ValueError) as error:
        raise BackendError(
            f"the child process of backend sana-fe ended without its results ({error}); run it "
            f"again"
        ) from error
    potential = None
    if network.readout == "potential":
        potential = states.pop(network.layers[-1].name).reshape(part.stop - part.start, -1)
    return SimulationResult(
        counts,
        potential,
        final_state=states,
        parameter_digest=digests,
        extra={"modelled": modelled},
    )


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_rows(path: Path, rows: slice) -> npt.NDArray[np.int32]:
    """Read some rows of an array; it is closed again, so that its other rows take no memory."""
    return np.array(np.load(path, mmap_mode="r")[rows])
