"""What the spiking twin costs in training: time of a step and peak memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import click
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.networks import CIFAR_SHAPE, CLASSES, three_convolutions
from benchmarks.result import finish, json_option, median_seconds
from tandem_hw.conversion.convert import convert
from tandem_hw.network.quantized import Reset

BATCH = 64


def _step(model: nn.Module, inputs: Tensor) -> Callable[[], None]:
    """Return a call that does one step of Adam."""
    labels = torch.randint(0, CLASSES, (BATCH,))
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    return step


def _tandem_step(num_steps: int, reset: Reset) -> Callable[[], None]:
    model = convert(three_convolutions(), input_shape=CIFAR_SHAPE, num_steps=num_steps, reset=reset)
    return _step(model, torch.randint(0, 16, (BATCH, *CIFAR_SHAPE), dtype=torch.uint8))


@click.command("training-step")
@click.option("--num-steps", default=8, show_default=True)
@click.option("--repeats", default=10, show_default=True)
@json_option
def step_command(num_steps: int, repeats: int, json_path: Path | None) -> None:
    """Time one training step of 64c3-128c3s2-256c3s2-fc10, batch 64, against the same ReLU net."""
    torch.manual_seed(0)
    calls = {"ReLU": _step(three_convolutions(), torch.rand(BATCH, *CIFAR_SHAPE))}
    for reset in get_args(Reset):
        calls[f"tandem, T = {num_steps}, reset {reset}"] = _tandem_step(num_steps, reset)
    seconds = median_seconds(calls, repeats)
    rows = [
        {
            "network": name,
            "milliseconds": value * 1e3,
            "times the ReLU net": value / seconds["ReLU"],
        }
        for name, value in seconds.items()
    ]
    finish("training-step", rows, json_path)


@click.command("training-memory")
@json_option
def memory_command(json_path: Path | None) -> None:
    """Measure the peak resident memory of a training process at T = 4 and T = 32."""
    rows = []
    for reset in get_args(Reset):
        peaks = {steps: _peak_in_child(steps, reset) for steps in (4, 32)}
        rows += [
            {
                "reset": reset,
                "T": steps,
                "peak resident MiB": peak / 1024,
                "times T = 4": peak / peaks[4],
            }
            for steps, peak in peaks.items()
        ]
    finish("training-memory", rows, json_path)


def _peak_in_child(num_steps: int, reset: str) -> int:
    """Return the peak resident memory in KiB of a process that trains a few steps."""
    command = [sys.executable, "-m", "benchmarks", "training-memory-child", str(num_steps), reset]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@click.command("training-memory-child", hidden=True)
@click.argument("num_steps", type=int)
@click.argument("reset")
def memory_child(num_steps: int, reset: Reset) -> None:
    """Train a few steps and print the own peak of resident memory."""
    torch.manual_seed(0)
    step = _tandem_step(num_steps, reset)
    for _ in range(4):
        step()
    # getrusage would count what the parent held before the fork as well.
    status = Path("/proc/self/status").read_text()
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


COMMANDS = [step_command, memory_command, memory_child]
