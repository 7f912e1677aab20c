"""The lava-cpu backend: Lava's bit-accurate CPU simulator, in a watched child process."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Generator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tandem_hw.atomic_write import write_json
from tandem_hw.chip.axis_order import from_lava
from tandem_hw.chip.guard import check_lowering
from tandem_hw.chip.timing import check_period, default_period, window_start
from tandem_hw.errors import BackendError
from tandem_hw.export.net_file import write_net
from tandem_hw.network.fixed_point import STATE_FRACTION_BITS, STATE_LIMIT
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim.backend import PartwiseBackend, Progress, SimulationResult
from tandem_hw.sim.child.environment import (
    job_folder,
    lava_environment,
    save_array,
    short_path,
    worker_command,
)
from tandem_hw.sim.child.leaving import ERROR
from tandem_hw.sim.child.watched_process import run_watched
from tandem_hw.sim.lava_cpu import job as lava_job

#: The module that runs in the child.
WORKER = "tandem_hw.sim.lava_cpu.worker"


class LavaCpuBackend(PartwiseBackend):
    """Runs a network as a Lava process graph on the CPU.

    Attributes:
        period: steps from one sample to the next; the shortest legal one when None.
        stock_conv: run the graph as Lava comes: its own slow model of ``Conv`` instead of the
            drop-in, and all processes step by step instead of freely.
        start_timeout: seconds that Lava may take to build the graph.
        stall_timeout: seconds without a finished step after which the run counts as hanging.
    """

    name = "lava-cpu"
    takes_period = True
    #: Whether the neurons are built of stock processes only, as they go to the chip.
    lowered = False

    def __init__(
        self,
        *,
        period: int | None = None,
        stock_conv: bool = False,
        start_timeout: float = 120.0,
        stall_timeout: float = 20.0,
    ) -> None:
        self.period = period
        self.stock_conv = stock_conv
        self.start_timeout = start_timeout
        self.stall_timeout = stall_timeout

    def why_unavailable(self) -> str | None:
        """Return why Lava cannot run here, or None if it can."""
        if _lava_is_installed():
            return None
        version = ".".join(map(str, sys.version_info[:2]))
        return (
            f"backend {self.name}: Lava is not installed (this is Python {version}; lava-nc 0.10.0 "
            f"exists for Python 3.10 only). Use a Python 3.10 and there, in the folder of "
            f"tandem-hw's sources, pip install ., or use the backend reference, which gives the "
            f"same counts"
        )

    def check_network(self, network: QuantizedNetwork) -> None:
        """Refuse a period that does not suit the network."""
        check_period(network, self._period(network))

    def _period(self, network: QuantizedNetwork) -> int:
        return default_period(network) if self.period is None else self.period

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
        period = self._period(network)
        with job_folder() as folder:
            write_net(network, folder / lava_job.NETWORK)
            save_array(folder / lava_job.INPUTS, inputs)
            options = {
                "period": period,
                "stock_conv": self.stock_conv,
                "lowered": self.lowered,
                "keep_final_state": keep_final_state,
            }
            write_json(folder / lava_job.OPTIONS, options)
            self._run_child(folder, network, len(inputs), period, progress)
            _check_padding(network, folder)
            for start in range(0, len(inputs), size):
                part = slice(start, min(start + size, len(inputs)))
                yield _read_results(network, folder, part, keep_final_state)

    def _run_child(
        self,
        folder: Path,
        network: QuantizedNetwork,
        samples: int,
        period: int,
        progress: Progress,
    ) -> None:
        last, start = len(network.layers), window_start(network.result_start)

        def finished_steps() -> int:
            steps = _read_progress(folder, last)[0]
            progress(min(samples, max(0, steps - start) // period), samples)
            return steps

        with short_path(folder) as short:
            run_watched(
                worker_command(WORKER, folder, os.environ),
                name=f"the Lava child process of backend {self.name}",
                folder=folder,
                environment=lava_environment(short, os.environ),
                progress=finished_steps,
                start_timeout=self.start_timeout,
                stall_timeout=self.stall_timeout,
                error_file=folder / ERROR,
            )


class LavaStockBackend(LavaCpuBackend):
    """Runs the graph that goes to the chip, neurons of stock processes, on Lava's CPU simulator."""

    name = "lava-stock"
    few_samples = 20
    lowered = True

    def check_network(self, network: QuantizedNetwork) -> None:
        """Refuse a network that stock processes cannot run exactly; see ``check_lowering``."""
        check_lowering(network, self._period(network))


def _lava_is_installed() -> bool:
    """Look for Lava's runtime without importing it."""
    try:
        return importlib.util.find_spec("lava.magma") is not None
    except ModuleNotFoundError:
        return False


def _read_progress(folder: Path, index: int) -> list[int]:
    """Read ``PROGRESS`` of a layer; the file appears when the graph is built."""
    try:
        values: list[int] = np.load(lava_job.progress_path(folder, index)).tolist()
    except (OSError, ValueError, EOFError):
        values = []
    return values if len(values) == len(lava_job.PROGRESS) else [0] * len(lava_job.PROGRESS)


def _check_padding(network: QuantizedNetwork, folder: Path) -> None:
    """Refuse results of a layer that fired between windows, where it has to be silent."""
    for index, layer in enumerate(network.layers, start=1):
        progress = dict(zip(lava_job.PROGRESS, _read_progress(folder, index), strict=True))
        if progress["spikes_in_padding"]:
            raise BackendError(
                f"layer {layer.name} fired {progress['spikes_in_padding']} times between two "
                f"windows, so that its counts would not be exact: its state went beyond what the "
                f"guard silences (half of ±{STATE_LIMIT} weight units); use fewer input bits, "
                f"weight bits or steps, or run it on lava-cpu"
            )


def _read_results(
    network: QuantizedNetwork, folder: Path, part: slice, keep_final_state: bool
) -> SimulationResult:
    """Read what the child left of some samples, and check that it is complete."""
    counts: dict[str, npt.NDArray[np.int32]] = {}
    states: dict[str, npt.NDArray[np.int32]] = {}
    potential = None
    try:
        for index, layer in enumerate(network.layers, start=1):
            if not layer.fires or keep_final_state:
                state = _read_rows(lava_job.state_path(folder, index), part)
                states[layer.name] = from_lava(state, layer.output_shape)
            if layer.fires:
                left = _read_rows(lava_job.counts_path(folder, index), part)
                counts[layer.name] = from_lava(left, layer.output_shape)
        digests = json.loads((folder / lava_job.DIGESTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackendError(
            f"the Lava child process ended without its results ({error}); run it again"
        ) from error
    if network.readout == "potential":
        voltage = states.pop(network.layers[-1].name)
        potential = voltage.reshape(len(voltage), -1) >> STATE_FRACTION_BITS
        if potential.shape != (part.stop - part.start, network.outputs):
            raise BackendError(f"the Lava child process left potentials of shape {potential.shape}")
    return SimulationResult(counts, potential, final_state=states, parameter_digest=digests)


def _read_rows(path: Path, rows: slice) -> npt.NDArray[np.int32]:
    """Read some rows of an array; it is closed again, so that its other rows take no memory."""
    return np.array(np.load(path, mmap_mode="r")[rows])
