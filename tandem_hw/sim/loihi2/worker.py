"""The child that runs a board: ``main`` in a process that ``worker_command`` starts.

It builds, compiles, checks where every process would run, runs the calibration, measures the delays
and runs the samples. The parent (``tandem_hw.sim.loihi2.backend``) limits the time that each part
may take.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import TandemError
from tandem_hw.sim.child.actor_watch import ActorWatch
from tandem_hw.sim.child.leaving import fail, leave
from tandem_hw.sim.child.one_job import do_and_leave
from tandem_hw.sim.loihi2 import job as loihi2_job

if TYPE_CHECKING:
    from tandem_hw.network.quantized import QuantizedNetwork
    from tandem_hw.sim.loihi2.calibration import Marker
    from tandem_hw.sim.loihi2.schedule import Schedule

#: A board is given back within this time, or it is left to the parent.
_STOP_SECONDS = 20.0


def main(folder: Path) -> None:
    """Run the job in a folder and leave the results there."""
    do_and_leave(folder, _run_or_say_why_not)


def _run_or_say_why_not(folder: Path) -> None:
    """Run the job; an error of ours says all there is to say, without the name of its class."""
    try:
        _run(folder)
    except TandemError as error:
        fail(folder, str(error))


def _run(folder: Path) -> None:
    from tandem_hw.export.net_file import read_net
    from tandem_hw.sim.loihi2.host import select_host
    from tandem_hw.sim.loihi2.profile import make_profilers, summarise_profile
    from tandem_hw.sim.loihi2.schedule import Schedule, repeated_order

    loihi2_job.write_phase(folder, loihi2_job.COMPILING)
    choice, period, profile = loihi2_job.read_options(folder)
    select_host(choice)  # before Lava is imported: lava-loihi reads the environment when it is
    network = read_net(folder / loihi2_job.NETWORK)
    frames = np.load(folder / loihi2_job.FRAMES, mmap_mode="r")
    order = repeated_order(len(frames))
    schedule = Schedule(network.result_start, network.num_steps, period, order)
    profilers = make_profilers(profile, schedule)
    _run_graph(folder, network, frames, schedule, list(profilers.values()))
    if profilers:  # they are read after the board has stopped
        summary = summarise_profile(profilers, schedule)
        (folder / loihi2_job.PROFILE).write_text(json.dumps(summary), encoding="utf-8")


def _run_graph(
    folder: Path,
    network: QuantizedNetwork,
    frames: npt.NDArray[np.uint8],
    schedule: Schedule,
    callbacks: list[Any],
) -> None:
    """Compile and check the graph, run the calibration, and then the samples."""
    from lava.magma.core.run_conditions import RunSteps

    from tandem_hw.sim.loihi2.calibration import choose_marker
    from tandem_hw.sim.loihi2.graph import (
        board_run_config,
        build_board_graph,
        compile_graph,
    )

    marker = choose_marker(network, frames, schedule)
    graph = build_board_graph(network, marker, schedule, folder)
    executable = compile_graph(graph, board_run_config(callbacks))
    graph.entry.create_runtime(executable=executable)
    watch = ActorWatch(folder, graph.entry)
    watch.start()
    loihi2_job.write_phase(folder, loihi2_job.RUNNING)
    try:
        graph.entry.run(RunSteps(num_steps=schedule.calibration_steps))
        _calibrate(folder, network, marker, schedule)
        graph.entry.run(RunSteps(num_steps=schedule.total_steps - schedule.calibration_steps))
    except TandemError:
        raise
    except Exception:
        watch.report()  # Lava itself says how many of its processes raised, and not what
        raise
    watch.done = True
    watch.join()  # it must not wait for a process that Lava joins and closes now
    _stop(graph.entry)


def _calibrate(folder: Path, network: QuantizedNetwork, marker: Marker, schedule: Schedule) -> None:
    """Measure the delays, and tell the source when to begin."""
    from tandem_hw.chip.axis_order import from_lava
    from tandem_hw.sim.loihi2.calibration import calibrate

    records, first = _Records(folder, schedule.calibration_steps), network.layers[0]
    recorded = records[loihi2_job.VOLTAGE if not first.fires else loihi2_job.spikes(1)]
    delays = calibrate(
        network,
        marker,
        schedule,
        clock=records[loihi2_job.CLOCK],
        first_layer=from_lava(recorded, first.output_shape),
        clock_voltage=(
            records[loihi2_job.CLOCK_VOLTAGE] if network.readout == "potential" else None
        ),
    )
    loihi2_job.write_delays(folder, delays)
    start = np.lib.format.open_memmap(folder / loihi2_job.START, mode="r+")
    start[0] = schedule.source_start(delays)
    start.flush()


class _Records:
    """The first steps of what was recorded, in Lava's axis order."""

    def __init__(self, folder: Path, steps: int) -> None:
        self.folder, self.steps = folder, steps

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        record = np.load(loihi2_job.record_path(self.folder, name), mmap_mode="r")
        return np.array(record[: self.steps])


def _stop(entry: Any) -> None:
    """Give the board back; what blocks then is ended by the parent."""
    timer = threading.Timer(_STOP_SECONDS, leave, (0,))
    timer.daemon = True
    timer.start()
    entry.stop()
    timer.cancel()
