"""Damaged files given to the commands themselves: ``python -m tests.helpers.fuzz.at_command_line``.

Each case is a process of its own, with limits of memory and time, forked from one that has loaded
what the commands load. What is looked at is what a user sees: the exit status, one line for what
was refused, and no traceback.
"""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Final, NoReturn

import click
import torch

from tandem_hw.cli import main as main_command
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
#: Seconds on the clock; a busy machine takes many for those of ``SECONDS_MAX`` on the processor.
_PATIENCE: Final = 300.0
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
#: Beside the message: "Error: ", and what is said to be left out.
_LINE_MAX: Final = LONGEST + 60


def faults_of(name: str, number: int) -> tuple[str, list[str]]:
    """Give the damaged file of a case to its command.

    Returns:
        "refused" or "read", and what must not be, in words.
    """
    with tempfile.TemporaryDirectory() as folder:
        place, said = Path(folder), Path(folder, "said")
        path = case.make(name, number, place)
        if name == "training":
            (place / "run").mkdir()
            shutil.copy(path, place / "run" / "last.pt")
        words = shlex.split(COMMANDS[name].replace("FILE", path.name))
        child = os.fork()
        if child == 0:
            _command(words, place, said)
        try:
            status = _status_of(child)
        except TimeoutError:
            return "refused", ["hangs"]
        return _judge(status, said.read_text(encoding="utf-8", errors="replace"), place)


def _command(words: list[str], place: Path, said: Path) -> NoReturn:
    """Be the program in a folder, with limits: ``tandem-hw`` and these words."""
    status = 99  # what ends here without an exit status is a fault
    try:
        os.chdir(place)
        silence, words_of_errors = os.open(os.devnull, os.O_RDWR), os.open(said, _NEW_FILE)
        for stream, target in ((0, silence), (1, silence), (2, words_of_errors)):
            os.dup2(target, stream)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS_MAX + 5, SECONDS_MAX + 5))
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + BYTES_MAX, resource.RLIM_INFINITY))
        warnings.resetwarnings()
        torch.set_num_threads(1)  # those of the parent are not here
        sys.argv = ["tandem-hw", *words]
        main_command(words, prog_name="tandem-hw")
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        sys.stderr.flush()
        os._exit(status)


def _status_of(child: int) -> int:
    """Wait for a child, and return its exit status; below 0 is the signal that ended it."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError


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
def main(cases: int, first: int) -> None:
    """Give damaged files to the commands; exit with 1 if one was not refused as it should."""
    names, found, count = list(FORMATS), Counter[tuple[str, str]](), 0
    for k in range(cases):
        name, number = names[k % len(names)], first + k // len(names)
        outcome, faults = faults_of(name, number)
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
