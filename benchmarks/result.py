"""What all measurements share: the machine they ran on, their table, their JSON, and the timing."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table

from tandem_hw.atomic_write import atomic_path

FOLDER = Path("benchmarks/results")

data_option = click.option(
    "--data", default="mnist", show_default=True, help="MNIST: mnist or npz:PATH."
)
json_option = click.option(
    "--json", "json_path", type=click.Path(path_type=Path), help=f"[default: {FOLDER}/NAME.json]"
)


def machine() -> dict[str, Any]:
    """Describe the machine and the versions that a number depends on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def median_seconds(
    calls: Mapping[str, Callable[[], Any]], repeats: int, warm_up: int = 2
) -> dict[str, float]:
    """Return the median time of each call, taken in turns: what slows one round slows all."""
    for call in calls.values():
        for _ in range(warm_up):
            call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def finish(
    name: str, rows: Sequence[dict[str, Any]], path: Path | None, note: str | None = None
) -> None:
    """Print rows of equal keys as a table and write them as JSON with the machine's description."""
    console = Console(width=132, markup=False, highlight=False)
    table = Table(title=name)
    for key in rows[0]:
        table.add_column(key, justify="right" if isinstance(rows[0][key], int | float) else "left")
    for row in rows:
        table.add_row(*(_shown(value) for value in row.values()))
    console.print(table)
    if note:
        console.print(note)
    target = path or FOLDER / f"{name}.json"
    content = {"benchmark": name, "machine": machine(), "rows": list(rows)}
    with atomic_path(target) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    console.print(f"{machine()['processor']}, {machine()['cores']} cores; wrote {target}")


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
