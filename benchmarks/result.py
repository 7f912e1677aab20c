"""What all measurements share: the machine they ran on, their table, their JSON, and the timing."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import torch
from rich.console import Console
from rich.table import Table

from tandem_hw.atomic_write import write_json
from tandem_hw.cli.options import check_device
from tandem_hw.errors import BackendUnavailableError

FOLDER = Path("benchmarks/results")

data_option = click.option(
    "--data", default="mnist", show_default=True, help="MNIST: mnist or npz:PATH."
)
json_option = click.option(
    "--json", "json_path", type=click.Path(path_type=Path), help=f"[default: {FOLDER}/NAME.json]"
)


def _device(_context: click.Context, _parameter: click.Parameter, value: str) -> torch.device:
    try:
        check_device(value)
    except BackendUnavailableError as error:
        raise click.BadParameter(str(error)) from error
    return torch.device(value)


device_option = click.option(
    "--device",
    default="cpu",
    show_default=True,
    callback=_device,
    help="Where PyTorch computes: cpu, cuda, cuda:1.",
)


def machine(device: torch.device | None = None) -> dict[str, Any]:
    """Describe the machine and the versions that a number depends on.

    Args:
        device: where PyTorch computed, the CPU by default; a GPU is named.
    """
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    described = {
        "processor": model,
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": str(device or "cpu"),
    }
    if device is not None and device.type == "cuda":
        described["gpu"] = torch.cuda.get_device_name(device)
        described["cuda"] = torch.version.cuda
    return described


Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Timing:
    """The times of one call.

    Attributes:
        median: in seconds.
        spread: seconds from the first quartile to the third, 0 for a single time.
    """

    median: float
    spread: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Timing:
        """Summarise single times in seconds."""
        if len(seconds) == 1:
            return cls(seconds[0], 0.0)
        first, median, third = statistics.quantiles(seconds, n=4, method="inclusive")
        return cls(median, third - first)


def timings(
    calls: Mapping[Name, Callable[[], Any]],
    repeats: int,
    warm_up: int = 2,
    device: torch.device | None = None,
) -> dict[Name, Timing]:
    """Return the times of each call, taken in turns: what slows one round slows all.

    Args:
        calls: what is timed, by name.
        repeats: rounds that are timed.
        warm_up: runs of each call before.
        device: a GPU whose work counts: it is waited for before and after each call.
    """
    for call in calls.values():
        for _ in range(warm_up):
            call()
    times: dict[Name, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            wait_for(device)
            started = time.perf_counter()
            call()
            wait_for(device)
            times[name].append(time.perf_counter() - started)
    return {name: Timing.of(values) for name, values in times.items()}


def median_seconds(
    calls: Mapping[str, Callable[[], Any]], repeats: int, warm_up: int = 2
) -> dict[str, float]:
    """Return the median time of each call on the CPU; see ``timings``."""
    return {name: timing.median for name, timing in timings(calls, repeats, warm_up).items()}


def wait_for(device: torch.device | None) -> None:
    """Wait until a GPU has done what it was given; elsewhere nothing is in flight."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)


def finish(
    name: str,
    rows: Sequence[dict[str, Any]],
    path: Path | None,
    note: str | None = None,
    *,
    device: torch.device | None = None,
    left_out: Iterable[str] = (),
) -> None:
    """Print rows of equal keys as a table and write them as JSON with the machine's description.

    Args:
        name: of the measurement.
        rows: what was measured; None is shown as a dash.
        path: where the JSON goes, by default a file of the measurement's name in ``FOLDER``.
        note: what is to be said below the table.
        device: where PyTorch computed, if it may be a GPU.
        left_out: what could not be measured here, and why, a line each.
    """
    console = Console(width=132, markup=False, highlight=False)
    table = Table(title=name)
    for key in rows[0]:
        number = any(isinstance(row[key], int | float) for row in rows)
        table.add_column(key, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(_shown(value) for value in row.values()))
    console.print(table)
    lines = list(left_out)
    for line in ([note] if note else []) + lines:
        console.print(line)
    target = path or FOLDER / f"{name}.json"
    described = machine(device)
    content: dict[str, Any] = {"benchmark": name, "machine": described, "rows": list(rows)}
    if lines:
        content["left out"] = lines
    write_json(target, content)
    computed = described.get("gpu", described["processor"])
    console.print(f"{computed}, {described['cores']} cores; wrote {target}")


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
