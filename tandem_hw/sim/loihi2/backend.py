"""The loihi2 backend: a Loihi 2 board behind SLURM or Ethernet, in a watched child process.

It was never run on a board. What it assumes of one stands in ``assumptions``, with public evidence;
what can be proven without one is proven by tests. A run checks itself: the delays of the interface
are measured, every process must be on neurocores, nothing may fire between two windows, and the
first sample is run three times to show that the state was reset.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.chip.axis_order import from_lava
from tandem_hw.chip.budget import chip_budget
from tandem_hw.chip.guard import check_lowering
from tandem_hw.chip.timing import board_period
from tandem_hw.counted import counted
from tandem_hw.errors import BackendError, TandemError
from tandem_hw.export.net_file import write_net
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim.backend import Backend, Progress, SimulationResult
from tandem_hw.sim.child.environment import (
    job_folder,
    lava_environment,
    save_array,
    short_path,
    worker_command,
)
from tandem_hw.sim.child.leaving import ERROR
from tandem_hw.sim.child.watched_process import run_watched
from tandem_hw.sim.loihi2 import job as loihi2_job
from tandem_hw.sim.loihi2.failure import keep_failure
from tandem_hw.sim.loihi2.host import (
    PROFILES,
    HostChoice,
    why_unavailable,
    without_host_variables,
)
from tandem_hw.sim.loihi2.records import (
    cut_counts,
    cut_potentials,
    first_of_each,
    require_reset,
)
from tandem_hw.sim.loihi2.schedule import (
    Delays,
    Schedule,
    check_board_period,
    repeated_order,
)

IntArray = npt.NDArray[np.integer[Any]]


class Loihi2Backend(Backend):
    """Runs a network on a Loihi 2 board, lowered to stock processes.

    Attributes:
        choice: which board.
        period: steps from one sample to the next, a power of two; the shortest legal one when None.
        compile_timeout: seconds that building and compiling may take.
        run_timeout: seconds that the run may take, waiting for a board included.
        profile: "time" or "power" to measure that, or None.
        failure_folder: where the report and the log of a run that fails are kept, or None.
    """

    name = "loihi2"
    needs_board = True

    def __init__(
        self,
        *,
        partition: str | None = None,
        board: str | None = None,
        host: str | None = None,
        loihi_gen: str | None = None,
        host_binary: str | None = None,
        period: int | None = None,
        compile_timeout: float = 1800.0,
        run_timeout: float = 1800.0,
        profile: str | None = None,
        failure_folder: Path | None = None,
    ) -> None:
        given = {"loihi_gen": loihi_gen, "host_binary": host_binary}
        named = {name: value for name, value in given.items() if value is not None}
        self.choice = HostChoice(partition, board, host, **named)
        self.period = period
        self.compile_timeout = compile_timeout
        self.run_timeout = run_timeout
        if profile is not None and profile not in PROFILES:
            raise BackendError(f"profile {profile} is not known; give one of {', '.join(PROFILES)}")
        self.profile = profile
        self.failure_folder = failure_folder

    def why_unavailable(self) -> str | None:
        """Return why no board can be reached from here, or None as far as can be told."""
        return why_unavailable(self.choice)

    def check_network(self, network: QuantizedNetwork) -> None:
        """Refuse a network that cannot be run exactly: its input, period, thresholds or size.

        Raises:
            NetworkError: says what is allowed.
        """
        # PyTorch, which is in there, takes seconds; that there is no board is said at once.
        from tandem_hw.sim.loihi2.calibration import check_input_path

        period = self._period(network)
        check_input_path(network)
        check_board_period(network, period)
        check_lowering(network, period)
        chip_budget(network)  # refuses what no known board holds

    def simulate(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        progress: Progress,
        *,
        keep_final_state: bool,  # no public code reads a state of many neurons in a step
    ) -> SimulationResult:
        """Run every sample back to back; see ``Backend.simulate``. It has no final states.

        Its ``extra`` is the measured delays, and the profile where one was asked for.
        """
        period = self._period(network)
        order = repeated_order(len(inputs))
        schedule = Schedule(network.result_start, network.num_steps, period, order)
        with job_folder() as folder:
            write_net(network, folder / loihi2_job.NETWORK)
            frames = network.input.frames(inputs, network.num_steps)
            save_array(folder / loihi2_job.FRAMES, frames)
            save_array(folder / loihi2_job.START, np.zeros(1, np.int64))
            loihi2_job.write_options(folder, self.choice, period, self.profile)
            with self._failure_kept(folder, network, len(inputs)):
                self._run_child(folder, schedule, progress)
                counts, potential = read_results(network, schedule, folder)
                return SimulationResult(counts, potential, extra=_measured(folder))

    @contextmanager
    def _failure_kept(
        self, folder: Path, network: QuantizedNetwork, samples: int
    ) -> Iterator[None]:
        """Keep the report and the log of a run that fails, and say in its error where."""
        try:
            yield
        except Exception as error:
            if self.failure_folder is None:
                raise
            about = {
                "board": self.choice.named,
                "loihi_gen": self.choice.loihi_gen,
                "period": self._period(network),
                "phase": loihi2_job.read_phase(folder),
                "finished_steps": _finished_steps(folder),
            }
            lines = keep_failure(folder, self.failure_folder, network, samples, error, **about)
            if not isinstance(error, TandemError):
                error = BackendError(f"{self.name}: {type(error).__name__}: {error}")
            error.args = (*error.args, *lines)
            raise error

    def _period(self, network: QuantizedNetwork) -> int:
        return board_period(network) if self.period is None else self.period

    def _run_child(self, folder: Path, schedule: Schedule, progress: Progress) -> None:
        limits = _Limits(self, folder, schedule, progress)
        with short_path(folder) as short:
            run_watched(
                worker_command("tandem_hw.sim.loihi2.worker", folder, os.environ),
                name="the child process of backend loihi2",
                folder=folder,
                environment=lava_environment(short, without_host_variables(os.environ)),
                progress=limits,
                start_timeout=math.inf,  # the limits are wall-clock times of the two phases
                stall_timeout=math.inf,
                error_file=folder / ERROR,
            )


class _Limits:
    """Tells how far a run is, and ends it when a phase takes longer than it may."""

    def __init__(
        self, backend: Loihi2Backend, folder: Path, schedule: Schedule, progress: Progress
    ) -> None:
        self.folder, self.schedule, self.progress = folder, schedule, progress
        self.allowed = {
            loihi2_job.COMPILING: ("compiling", backend.compile_timeout, "--compile-timeout"),
            loihi2_job.RUNNING: ("running", backend.run_timeout, "--run-timeout"),
        }
        self.phase, self.since = loihi2_job.COMPILING, time.monotonic()

    def __call__(self) -> int:
        """Return the last finished step.

        Raises:
            BackendError: the phase has lasted too long; the caller then ends every process.
        """
        phase = loihi2_job.read_phase(self.folder) or loihi2_job.COMPILING
        if phase != self.phase:
            self.phase, self.since = phase, time.monotonic()
        doing, limit, option = self.allowed[phase]
        steps = _finished_steps(self.folder)
        if time.monotonic() - self.since > limit:
            hint = (
                "some networks that do not fit make Lava's compiler run for ever: see tandem-hw "
                "inspect --chip"
                if phase == loihi2_job.COMPILING
                else f"{steps} of {counted(self.schedule.total_steps, 'step')} were done"
            )
            raise BackendError(
                f"{doing} for Loihi 2 took longer than {limit:g} seconds and was ended ({hint}); "
                f"raise {option} if it needs more"
            )
        done = (steps - self.schedule.first_step(self.schedule.last_start)) // self.schedule.period
        samples = int(self.schedule.order.max()) + 1
        self.progress(min(samples, max(0, done)), samples)
        return steps


def read_results(
    network: QuantizedNetwork, schedule: Schedule, folder: Path
) -> tuple[dict[str, npt.NDArray[np.int32]], npt.NDArray[np.int32] | None]:
    """Read what the child recorded, check it, and cut it into samples.

    Args:
        network: what ran.
        schedule: when which sample ran.
        folder: holds the records and the delays.

    Returns:
        Counts of every firing layer in PyTorch's axis order, and the readout's potentials or None.

    Raises:
        BackendError: a record is missing or short, a layer fired between windows, or the state was
            not reset between samples.
    """
    try:
        delays = loihi2_job.read_delays(folder)
        records = {
            layer.name: np.load(
                loihi2_job.record_path(
                    folder,
                    loihi2_job.VOLTAGE if not layer.fires else loihi2_job.spikes(index),
                ),
                mmap_mode="r",
            )
            for index, layer in enumerate(network.layers, start=1)
        }
    except (OSError, ValueError) as error:
        raise BackendError(
            f"the child process of backend loihi2 ended without its results ({error}); run it again"
        ) from error
    counts: dict[str, npt.NDArray[np.int32]] = {}
    potential: npt.NDArray[np.int32] | None = None
    for layer, start in zip(network.layers, network.wiring.first_spikes, strict=True):
        values: IntArray
        if not layer.fires:
            assert delays.read is not None  # the calibration of a readout by potential
            values = cut_potentials(records[layer.name], schedule, delays.read, layer.name)
        else:
            values = cut_counts(records[layer.name], schedule, start, delays.output, layer.name)
        require_reset(values, schedule.order, layer.name)
        first = first_of_each(values, schedule.order).astype(np.int32)
        kept = from_lava(first, layer.output_shape)
        if not layer.fires:
            potential = kept.reshape(len(kept), -1)
        else:
            counts[layer.name] = kept
    return counts, potential


def _finished_steps(folder: Path) -> int:
    """Read the last finished step; the file appears when the graph is built."""
    try:
        path = loihi2_job.progress_path(folder, loihi2_job.CLOCK)
        return int(np.load(path, allow_pickle=False)[0])
    except (OSError, ValueError, EOFError):
        return 0


def _measured(folder: Path) -> dict[str, Any]:
    delays: Delays = loihi2_job.read_delays(folder)
    measured: dict[str, Any] = {"input_delay": delays.input, "output_delay": delays.output}
    if delays.read is not None:
        measured["read_delay"] = delays.read
    profile = folder / loihi2_job.PROFILE
    if profile.exists():
        measured["profile"] = json.loads(profile.read_text(encoding="utf-8"))
    return measured
