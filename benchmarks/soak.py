"""``simulate`` over and over in one process: what it holds must not grow."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from benchmarks.networks import MNIST_SHAPE, active_lenet
from benchmarks.result import finish, json_option
from tandem_hw.cli import main
from tandem_hw.export.freezing import freeze
from tandem_hw.export.net_file import write_net
from tandem_hw.sim.registry import make_backend

#: Bytes of memory that a run may leave behind: less than any object that a run makes. Over so many
#: runs, what an allocator does not give back comes to some hundred.
BYTES_OF_A_RUN: Final = 1024
#: Bytes that may come and go, whatever the number of runs.
_NOISE: Final = 1 << 20
#: How often it is looked at what is held, after the runs that warm up.
_LOOKS: Final = 20
#: Seconds that it is waited for what has grown to go.
_WAITS: Final = 5
_SHARED_MEMORY: Final = Path("/dev/shm")


@dataclass(frozen=True)
class Held:
    """What a process holds.

    Attributes:
        memory: bytes that are its own.
        descriptors: files, pipes and sockets that are open.
        threads: of the process.
        children: processes that it has started and that are there, ended ones included.
        shared: names of shared memory that no process makes use of.
        files: in the folder for temporary files and beside the results.
    """

    memory: int
    descriptors: int
    threads: int
    children: int
    shared: int
    files: int

    @classmethod
    def now(cls, *folders: Path) -> Held:
        """Look at this process, and at folders that nobody else uses."""
        gc.collect()
        status = dict(
            line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines()
        )
        tasks = Path("/proc/self/task").glob("*/children")
        return cls(
            memory=int(status["RssAnon"].split()[0]) * 1024,
            descriptors=len(os.listdir("/proc/self/fd")),
            threads=int(status["Threads"]),
            children=sum(len(task.read_text().split()) for task in tasks),
            shared=len(_abandoned()),
            files=sum(1 for folder in folders for _ in folder.rglob("*")),
        )

    def more_than(self, before: Held) -> dict[str, tuple[int, int]]:
        """Return what has grown, memory aside: how much there was, and is."""
        pairs = {name: (had, getattr(self, name)) for name, had in asdict(before).items()}
        del pairs["memory"]
        return {name: (had, has) for name, (had, has) in pairs.items() if has > had}


def _abandoned() -> set[str]:
    """Return names of shared memory that is in no process: what others use now is theirs."""
    names = {str(path) for path in _SHARED_MEMORY.iterdir()}
    for maps in Path("/proc").glob("[0-9]*/maps") if names else ():
        try:
            used = maps.read_text()
        except OSError:  # it has ended, or is another user's
            continue
        names -= {name for name in names if name in used}
    return names


def soak(run: Callable[[], None], runs: int, folders: Sequence[Path]) -> list[tuple[int, Held]]:
    """Call something so many times after a tenth of them that warms up.

    Returns:
        How many calls there were, and what was held then, some ``_LOOKS`` times.
    """
    for _ in range(max(1, runs // 10)):
        run()
    first = Held.now(*folders)
    looks = [(0, first)]
    for number in range(1, runs + 1):
        run()
        if number % max(1, runs // _LOOKS) == 0:
            looks.append((number, Held.now(*folders)))
    for _ in range(_WAITS):  # for what ends by itself in a moment, such as a process of another's
        if not looks[-1][1].more_than(first):
            break
        time.sleep(1)
        looks[-1] = (runs, Held.now(*folders))
    return looks


def bytes_of_a_run(looks: Sequence[tuple[int, Held]]) -> float:
    """Return how many bytes each run leaves behind: the slope of a straight line."""
    runs, memory = (np.array(values, float) for values in zip(*_memory(looks), strict=True))
    return float(np.polyfit(runs, memory, 1)[0])


def _memory(looks: Sequence[tuple[int, Held]]) -> Iterator[tuple[int, int]]:
    yield from ((number, held.memory) for number, held in looks)


def faults(looks: Sequence[tuple[int, Held]]) -> list[str]:
    """Return what grew, in words."""
    runs, last = looks[-1]
    found = [
        f"{name}: {had} before, {has} after {runs} runs"
        for name, (had, has) in last.more_than(looks[0][1]).items()
    ]
    slope = bytes_of_a_run(looks)
    if slope * runs > _NOISE and slope > BYTES_OF_A_RUN:
        found.append(f"memory: {slope:.0f} bytes a run over {runs} runs")
    return found


@contextmanager
def simulations(backend: str, samples: int) -> Iterator[tuple[Callable[[], None], list[Path]]]:
    """Give what runs ``tandem-hw simulate`` once, and the folders in which it may leave files."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory() as name, open(os.devnull, "w", encoding="utf-8") as nowhere:
        folder = Path(name)
        temporary, out = folder / "tmp", folder / "out"
        for one in (temporary, out):
            one.mkdir()
        random = np.random.default_rng(0)
        images = random.integers(0, 256, (samples, *MNIST_SHAPE), dtype=np.uint8)
        np.savez(folder / "data.npz", x_test=images, y_test=np.arange(samples) % 10)
        write_net(freeze(active_lenet("subtract")), folder / "lenet.net")
        arguments = [
            *("simulate", f"{folder / 'lenet.net'}", "--data", f"npz:{folder / 'data.npz'}"),
            *("--backend", backend, "--recording", f"{out / 'run.npz'}"),
            *("--json", f"{out / 'run.json'}", "--overwrite"),
        ]

        def run() -> None:
            with redirect_stdout(nowhere):
                main(arguments, standalone_mode=False)

        os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
        try:
            yield run, [temporary, out]
        finally:
            tempfile.tempdir = before
            del os.environ["TMPDIR"]


def row(backend: str, looks: Sequence[tuple[int, Held]], seconds: float) -> dict[str, Any]:
    """Return what was found of a backend, for the table."""
    (_, first), (runs, last) = looks[0], looks[-1]
    grown = {name: after - asdict(first)[name] for name, after in asdict(last).items()}
    return {
        "backend": backend,
        "runs": runs,
        "MiB before": first.memory / 2**20,
        "MiB after": last.memory / 2**20,
        "bytes a run": bytes_of_a_run(looks),
        **{f"{name} more": value for name, value in grown.items() if name != "memory"},
        "seconds": seconds,
    }


@click.command("soak")
@click.option("--runs", default=2000, show_default=True, type=click.IntRange(10))
@click.option("--lava-runs", default=5, show_default=True, help="Of lava-cpu; 0 for none.")
@click.option("--samples", default=2, show_default=True, help="Of each run.")
@json_option
def command(runs: int, lava_runs: int, samples: int, json_path: Path | None) -> None:
    """Run ``simulate`` over and over in this process, on MNIST's lenet, T = 7, and noise."""
    rows, grown, left_out = [], [], []
    for backend, times in {"reference": runs, "c": runs, "lava-cpu": lava_runs}.items():
        reason = make_backend(backend).why_unavailable() if times else "not asked for"
        if reason is not None:
            left_out.append(f"{backend}: {reason}")
            continue
        with simulations(backend, samples) as (run, folders):
            started = time.perf_counter()
            looks = soak(run, times, folders)
        rows.append(row(backend, looks, time.perf_counter() - started))
        grown += [f"{backend}: {fault}" for fault in faults(looks)]
    finish("soak", rows, json_path, left_out=left_out)
    for fault in grown:
        print(f"grows: {fault}")
    sys.exit(1 if grown else 0)


COMMANDS = [command]
