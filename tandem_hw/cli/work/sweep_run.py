"""One training of a sweep, in a process that does nothing else: trained, frozen and measured.

``main`` is what ``tandem_hw.sweep.child`` starts.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Any

import click
import torch

from tandem_hw.chip.timing import board_period, default_period
from tandem_hw.cli.metrics import for_json
from tandem_hw.cli.train import command as train_command
from tandem_hw.cli.work.samples import Samples, load_samples
from tandem_hw.errors import TandemError
from tandem_hw.export.files import write_network
from tandem_hw.export.freezing import integer_network
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.network.activity import summarise, total
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.report.neurobench import WorkloadTally, named, static_metrics
from tandem_hw.sim.child.watched_process import exit_with_parent
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.sim.run_summary import RunSummary, RunTally
from tandem_hw.sweep.run_files import (
    ERROR_NAME,
    NETWORK_NAME,
    clean,
    read_run,
    write_result,
)
from tandem_hw.sweep.training_time import TrainingTime
from tandem_hw.training.run_files import BEST_NAME, LAST_NAME, METRICS_NAME
from tandem_hw.version import installed_version

_EXIT_FAILED = 2


def main(folder: Path) -> None:
    """Train what a folder says, and end with whoever started this process."""
    exit_with_parent()
    try:
        train_and_measure(folder)
    except (TandemError, click.ClickException) as error:
        said = error.format_message() if isinstance(error, click.ClickException) else str(error)
        (folder / ERROR_NAME).write_text(said, encoding="utf-8")
        sys.exit(_EXIT_FAILED)


def train_and_measure(folder: Path) -> None:
    """Train what ``run.json`` in a folder says, from where it was broken off, and measure it.

    Args:
        folder: of the training.

    Raises:
        TandemError: it cannot be trained or measured.
    """
    clean(folder)
    run = read_run(folder)
    arguments = [*run["arguments"], "--out", str(folder)]
    if run["after"] is not None:
        arguments += ["--init", str(folder.parent / run["after"] / BEST_NAME)]
    if (folder / LAST_NAME).exists():
        arguments.append("--resume")
    time = TrainingTime.begin(folder)
    train_command.main(arguments, "tandem-hw train", standalone_mode=False)
    seconds = time.seconds()
    settings = run["settings"]
    measured = _measure(folder, settings)
    machine = {
        "tandem_hw": installed_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": settings["device"],
    }
    about = {"training_seconds": seconds, "interruptions": time.interruptions, "machine": machine}
    write_result(folder, {"settings": settings, "after": run["after"], **measured, **about})


def _measure(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what the network is worth on all test samples."""
    best = load_checkpoint(folder / BEST_NAME)
    network = integer_network(best.model)
    given = load_samples(network, settings["data"], None)
    validation = best.metrics[-1].get(f"validation_{given.objective.metric}")
    if settings["schedule"] == "ordinary":
        return {**_of_ordinary(folder, network, given), "validation": validation}
    write_network(network, folder / NETWORK_NAME)
    run, workload = _run(network, given, settings["device"])
    totals = total(summarise(network, run))
    metrics = given.measure(network, run)
    return {
        "objective": given.objective.name,
        "metrics": for_json(metrics),
        "neurobench": {**static_metrics(network), **for_json(named(metrics)), **workload},
        "validation": validation,
        "test_samples": len(run),
        "network_digest": network.digest,
        "num_steps": network.num_steps,
        "latency": network.latency,
        "period": default_period(network),
        "board_period": board_period(network),
        "macs_per_sample": totals.macs_per_sample,
        "synops_per_sample": totals.synops_per_sample,
        "synops_per_mac": totals.synops_per_mac,
        "spikes_per_sample": sum(run.spikes.values()) / len(run),
    }


def _run(
    network: QuantizedNetwork, given: Samples, device: str
) -> tuple[RunSummary, dict[str, Any]]:
    """Run all samples on the reference, of which only a part is ever in memory."""
    tally, workload = RunTally(len(given.inputs)), WorkloadTally(network)
    done = 0
    for part in ReferenceBackend(device).run_in_parts(network, given.inputs, given.labels):
        tally.add(part)
        workload.add(part, given.inputs[done : done + len(part)])
        done += len(part)
        del part  # or two parts would be there while the next one is made
    return tally.summary(), workload.metrics()


def _of_ordinary(folder: Path, network: QuantizedNetwork, given: Samples) -> dict[str, Any]:
    """Return what a network that does not spike is worth, as its training measured it."""
    summary = json.loads((folder / METRICS_NAME).read_text(encoding="utf-8"))
    metrics = {
        name.removeprefix("test_"): value
        for name, value in summary.items()
        if name.startswith("test_")
    }
    spiking = ("network_digest", "num_steps", "latency", "period", "board_period")
    spent = ("synops_per_sample", "synops_per_mac", "spikes_per_sample")
    return {
        "objective": given.objective.name,
        "metrics": for_json(metrics),
        "neurobench": for_json(named(metrics)),
        "test_samples": len(given.inputs),
        **dict.fromkeys((*spiking, *spent)),
        "macs_per_sample": sum(
            int(one.fan_out.sum()) for layer in network for one in layer.synapses
        ),
    }
