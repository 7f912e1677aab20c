"""Damaged files given to the commands themselves: ``python -m tests.helpers.fuzz.at_command_line``.

Each case is a process of its own, with limits of memory and time. What is looked at is what a user
sees: the exit status, one line for what was refused, and no traceback.
"""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import click

from tandem_hw.plain_text import LONGEST
from tests.helpers.fuzz import case
from tests.helpers.fuzz.formats import FORMATS
from tests.helpers.fuzz.worker import BYTES_MAX, SECONDS_MAX

_TRAIN: Final = "--num-steps 4 --epochs 1 --batch-size 2 --out run"
#: What each format is given to; FILE is its path.
COMMANDS: Final = {
    "net": "inspect FILE --chip",
    "netx": "inspect FILE",
    "nir": "inspect FILE",
    "foreign_nir": "inspect FILE",
    "checkpoint": "export FILE --simulation-only --out out.net",
    "parameters": f"train digits --model mlp --init FILE {_TRAIN}",
    "training": f"train digits --model mlp --resume {_TRAIN}",
    "images": f"train npz:FILE --model mlp {_TRAIN}",
    "events": f"train events:FILE --model mlp {_TRAIN}",
}
#: What a process takes before it reads anything: PyTorch with CUDA maps this much.
_BYTES_OF_LIBRARIES: Final = 12 << 30
#: Seconds on the clock; a busy machine takes many for those of ``SECONDS_MAX`` on the processor.
_PATIENCE: Final = 300.0
#: Beside the message: "Error: ", and what is said to be left out.
_LINE_MAX: Final = LONGEST + 60


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS_MAX + 5, SECONDS_MAX + 5))
    most = BYTES_MAX + _BYTES_OF_LIBRARIES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def faults_of(name: str, number: int) -> tuple[str, list[str]]:
    """Give the damaged file of a case to its command.

    Returns:
        "refused" or "read", and what must not be, in words.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        path = case.make(name, number, place)
        if name == "training":
            (place / "run").mkdir()
            shutil.copy(path, place / "run" / "last.pt")
        words = shlex.split(COMMANDS[name].replace("FILE", path.name))
        try:
            done = subprocess.run(
                [str(Path(sys.executable).with_name("tandem-hw")), *words],
                cwd=place,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PATIENCE,
                preexec_fn=_limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "refused", ["hangs"]
        return _judge(done.returncode, done.stderr.decode(errors="replace"), place)


def _judge(status: int, said: str, place: Path) -> tuple[str, list[str]]:
    lines = [line for line in said.splitlines() if line.startswith("Error")]
    faults = ["a traceback"] * ("Traceback" in said)
    if status not in (0, 2):
        faults.append(f"exit status {status}: {said[-300:]}")
    if status == 2 and "Usage:" not in said and len(lines) != 1:
        faults.append(f"not one line of an error: {said[-300:]}")
    if any(len(line) > _LINE_MAX for line in lines):
        faults.append(f"a line of {max(map(len, lines))} characters")
    faults += [f"left behind: {one.name}" for one in place.rglob(".*.tmp.*")]
    return ("read" if status == 0 else "refused"), faults


@click.command()
@click.option("--cases", default=1000, show_default=True, help="Over all formats.")
@click.option("--first", default=0, show_default=True, help="Number of the first case of each.")
@click.option("--jobs", default=2, show_default=True, help="Processes at a time.")
def main(cases: int, first: int, jobs: int) -> None:
    """Give damaged files to the commands; exit with 1 if one was not refused as it should."""
    chosen = [(list(FORMATS)[k % len(FORMATS)], first + k // len(FORMATS)) for k in range(cases)]
    for name in FORMATS:
        case.seeds(name)
    found: Counter[tuple[str, str]] = Counter()
    count = 0
    with ThreadPoolExecutor(jobs) as pool:
        results = pool.map(lambda one: faults_of(*one), chosen)
        for (name, number), (outcome, faults) in zip(chosen, results, strict=True):
            found[name, "fault" if faults else outcome] += 1
            count += len(faults)
            for fault in faults:
                click.echo(f"{name} {number}: {fault}")
    for name in FORMATS:
        counts = {kind: found[name, kind] for kind in ("refused", "read", "fault")}
        click.echo(f"{name}: {sum(counts.values())} cases, {counts}")
    sys.exit(1 if count else 0)


if __name__ == "__main__":
    main()
