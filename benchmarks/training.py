"""What spiking costs in training: time of a step and peak memory, beside other libraries too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.networks import MEASURED, THREE_CONVOLUTIONS
from benchmarks.peers.catalogue import at_hand, why_left_out
from benchmarks.result import device_option, finish, json_option, timings, wait_for
from benchmarks.training_variants import (
    MEBIBYTE,
    RELU,
    TANDEM,
    Task,
    delayed,
    training_step,
    version_of,
)
from tandem_hw.cli.options import FiringDelay
from tandem_hw.errors import ConversionError
from tandem_hw.network.choices import Phased, check_firing_delay, steps_of_delay

#: Steps before anything is measured: what is compiled, chosen or recorded has been by then.
_WARM_UP = 6


@click.command("training-step")
@device_option
@click.option(
    "--networks",
    default=THREE_CONVOLUTIONS,
    show_default=True,
    help=f"Of {', '.join(MEASURED)}, on 3x32x32 images; several with commas.",
)
@click.option("--num-steps", type=click.IntRange(1), help="T.  [default: the network's own]")
@click.option("--batch", type=click.IntRange(1), help="[default: 64 on a CPU, 128 on a GPU]")
@click.option("--repeats", type=click.IntRange(1), default=10, show_default=True)
@click.option(
    "--firing-delay",
    "delays",
    type=FiringDelay(),
    multiple=True,
    help="A tandem network whose layers wait so long as well; may be given several times.",
)
@click.option("--peers", is_flag=True, help="snnTorch, SpikingJelly and SLAYER as well.")
@click.option(
    "--memory/--no-memory", default=True, help="Measure the peak memory too.", show_default=True
)
@json_option
def step_command(
    device: torch.device,
    networks: str,
    num_steps: int | None,
    batch: int | None,
    repeats: int,
    delays: tuple[int | Phased, ...],
    peers: bool,
    memory: bool,
    json_path: Path | None,
) -> None:
    """Time one training step of a network against the same ReLU net in plain PyTorch.

    All ways take turns, and the medians are compared. The peak memory is that of the tensors of
    one way on a GPU, and of a process that does nothing else on a CPU, PyTorch's own included.
    """
    if batch is None:
        batch = 128 if device.type == "cuda" else 64
    names = _known(networks)
    rows: list[dict[str, Any]] = []
    installed, left_out = at_hand() if peers else ({}, [])
    for name in names:
        _check_delays(delays, num_steps or MEASURED[name].num_steps)
    for name in names:
        task = Task(name, num_steps or MEASURED[name].num_steps, batch, device)
        variants = _prepared(task, [delayed(delay) for delay in delays], installed, memory)
        rows += _rows(task, variants, repeats)
        left_out += variants.left_out
    finish("training-step", rows, json_path, device=device, left_out=left_out)


def _known(networks: str) -> list[str]:
    names = networks.split(",")
    unknown = [name for name in names if name not in MEASURED]
    if unknown:
        raise click.BadParameter(
            f"{', '.join(unknown)}: not measured; there are {', '.join(MEASURED)}",
            param_hint="--networks",
        )
    return names


def _check_delays(delays: Sequence[int | Phased], num_steps: int) -> None:
    for delay in delays:
        try:
            steps = steps_of_delay(delay, num_steps, ConversionError)
            check_firing_delay(steps, num_steps, "subtract", ConversionError)
        except ConversionError as error:
            raise click.BadParameter(str(error), param_hint="--firing-delay") from error


@dataclass
class _Variants:
    """The ways of training one network that could be built.

    Attributes:
        steps: a call for each that trains one step, warmed up.
        peaks: peak memory in bytes, where it was measured.
        left_out: those that could not be built, and why.
    """

    steps: dict[str, Callable[[], None]] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def _prepared(
    task: Task, waiting: Sequence[str], peers: Collection[str], memory: bool
) -> _Variants:
    found = _Variants()
    for variant in (RELU, *TANDEM, *waiting, *peers):
        try:
            step, peak = _warm(variant, task)
        except Exception as error:
            if variant not in peers:
                raise
            # Another's library may fail in any way; the rest of the table is still wanted.
            found.left_out.append(f"{variant}, {task.network}: {why_left_out(error)}")
            continue
        found.steps[variant] = step
        if memory:
            found.peaks[variant] = _peak_in_child(variant, task) if peak is None else peak
    return found


def _warm(variant: str, task: Task) -> tuple[Callable[[], None], int | None]:
    """Return a step that has run a few times and, on a GPU, the peak of its tensors in bytes."""
    on_gpu = task.device.type == "cuda"
    held = 0
    if on_gpu:
        held = torch.cuda.memory_allocated(task.device)  # by those that came before
        torch.cuda.reset_peak_memory_stats(task.device)
    step = training_step(variant, task)
    for _ in range(_WARM_UP):
        step()
    wait_for(task.device)
    return step, torch.cuda.max_memory_allocated(task.device) - held if on_gpu else None


def _rows(task: Task, variants: _Variants, repeats: int) -> list[dict[str, Any]]:
    times = timings(variants.steps, repeats, warm_up=0, device=task.device)
    peaks = variants.peaks
    return [
        {
            "network": task.network,
            "T": task.num_steps,
            "batch": task.batch,
            "trained as": name,
            "version": version_of(name),
            "ms": timing.median * 1e3,
            "spread, ms": timing.spread * 1e3,
            "times ReLU": timing.median / times[RELU].median,
            "peak MiB": peaks[name] / MEBIBYTE if peaks else None,
            "times ReLU's": peaks[name] / peaks[RELU] if peaks else None,
        }
        for name, timing in times.items()
    ]


@click.command("training-memory")
@json_option
def memory_command(json_path: Path | None) -> None:
    """Measure the peak resident memory of a training process at T = 4 and T = 32."""
    rows = []
    for variant, reset in TANDEM.items():
        tasks = {
            steps: Task(THREE_CONVOLUTIONS, steps, 64, torch.device("cpu")) for steps in (4, 32)
        }
        peaks = {steps: _peak_in_child(variant, task) for steps, task in tasks.items()}
        rows += [
            {
                "reset": reset,
                "T": steps,
                "peak resident MiB": peak / MEBIBYTE,
                "times T = 4": peak / peaks[4],
            }
            for steps, peak in peaks.items()
        ]
    finish("training-memory", rows, json_path)


def _peak_in_child(variant: str, task: Task) -> int:
    """Return the peak resident memory in bytes of a process that trains a few steps on the CPU."""
    command = [sys.executable, "-m", "benchmarks", "training-memory-child"]
    command += [variant, task.network, str(task.num_steps), str(task.batch)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1])  # a library may print as it is imported


@click.command("training-memory-child", hidden=True)
@click.argument("variant")
@click.argument("network")
@click.argument("num_steps", type=int)
@click.argument("batch", type=int)
def memory_child(variant: str, network: str, num_steps: int, batch: int) -> None:
    """Train a few steps and print the own peak of resident memory in bytes."""
    step = training_step(variant, Task(network, num_steps, batch, torch.device("cpu")))
    for _ in range(_WARM_UP + 1):
        step()
    # getrusage would count what the parent held before the fork as well.
    status = Path("/proc/self/status").read_text()
    kibibytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    print(int(kibibytes) << 10)


COMMANDS = [step_command, memory_command, memory_child]
