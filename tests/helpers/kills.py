"""Commands that get a signal at a random moment, and what is left of them.

``make kill-test`` runs ``python -m tests.helpers.kills TIMES SEED``, which sends each signal so
many times and prints what it found; the tests do the same a few times.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from tandem_hw.cli.given.config_file import parse_toml
from tandem_hw.conversion.convert import convert
from tandem_hw.data.datasets import load_dataset
from tandem_hw.export.files import read_network
from tandem_hw.export.freezing import freeze
from tandem_hw.export.net_file import write_net
from tandem_hw.learning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tandem_hw.network.inputs import default_scale, quantize_inputs
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend
from tandem_hw.temporaries import temporary_folder
from tandem_hw.training.run_files import FILE_NAMES, LAST_NAME, OPTIONS_NAME
from tests.helpers.early_interrupts import is_before_ours
from tests.helpers.row_images import SHAPE, trained_mlp, write_data

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
_TRAIN: Final = "train npz:DATA --model mlp --num-steps 4 --epochs 12 --batch-size 32 --out run"
#: Commands by name, and the files that they write; DATA, CHECKPOINT and NET are paths.
COMMANDS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "train": (_TRAIN, tuple(f"run/{name}" for name in (*FILE_NAMES, OPTIONS_NAME))),
    "export": ("export CHECKPOINT --out model.net --overwrite", ("model.net",)),
    "simulate": (
        "simulate NET --data npz:DATA --recording run.npz --json run.json --overwrite",
        ("run.npz", "run.json"),
    ),
    "verify": (
        "verify NET --data npz:DATA --backends reference --checkpoint CHECKPOINT --json all.json "
        "--overwrite",
        ("all.json",),
    ),
    "lava-cpu": (
        "simulate NET --data npz:DATA --backend lava-cpu --samples 12 --recording run.npz "
        "--overwrite",
        ("run.npz",),
    ),
}
#: Names of a training's files while it runs; the lock says nothing once its owner is gone.
_LOCK: Final = "run/training.lock"
_SECONDS_MAX: Final = 120.0
#: Seconds within which the child has noticed that its parent was killed, on a busy machine.
_NOTICED_SECONDS: Final = 30.0
#: The variable by which all processes of one command are found.
_MARK: Final = "TANDEM_HW_KILL_TEST"


@dataclass
class Found:
    """What is left of a command that got a signal.

    Attributes:
        status: its exit status; below 0 is the signal that ended it.
        faults: what must not be, in words.
        left: after SIGKILL: what only the next command has removed.
    """

    status: int
    faults: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


class Targets:
    """The files that the commands work on, and a folder for each of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = {"DATA": "data.npz", "CHECKPOINT": "model.pt", "NET": "model.net"}
        self._paths = {word: str(folder / name) for word, name in paths.items()}
        data = Path(self._paths["DATA"])
        write_data(data)
        images = load_dataset(f"npz:{data}").x_train
        samples = torch.from_numpy(quantize_inputs(images, 4, default_scale(4)))
        model = convert(trained_mlp(data), input_shape=SHAPE, num_steps=8, samples=samples).eval()
        save_checkpoint(Checkpoint(model), self._paths["CHECKPOINT"])
        write_net(freeze(model), self._paths["NET"])

    def start(self, line: str, place: Path) -> tuple[subprocess.Popen[str], str]:
        """Start a command in a folder; return it, and the mark of all its processes."""
        mark = uuid.uuid4().hex
        (place / "tmp").mkdir(exist_ok=True)
        (place / "out").mkdir(exist_ok=True)
        environment = os.environ | {"TMPDIR": str(place / "tmp"), _MARK: mark}
        words = [self._word(word) for word in line.split()]
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("tandem-hw")), *words],
            cwd=place / "out",
            env=environment | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=take_signals,
        )
        return process, mark

    def _word(self, word: str) -> str:
        for name, path in self._paths.items():
            word = word.replace(name, path)
        return word

    def strike(self, name: str, number: signal.Signals, moment: float) -> Found:
        """Run a command, send it a signal after so many seconds, and look at what is left.

        Args:
            name: a key of ``COMMANDS``.
            number: the signal.
            moment: seconds after the start.
        """
        line, files = COMMANDS[name]
        place = self.folder / f"{name}-{number.name}-{uuid.uuid4().hex[:8]}"
        place.mkdir()
        process, mark = self.start(line, place)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        _, said = process.communicate(timeout=_SECONDS_MAX)
        found = Found(process.returncode)
        allowed = {0, -number, 128 + number}
        early = number == signal.SIGINT and is_before_ours(said)
        if process.returncode not in allowed and not early:
            found.faults.append(f"status {process.returncode}: {said[-300:]}")
        if "Traceback" in said and not early:
            found.faults.append(f"a traceback: {said[-2000:]}")
        if not _all_end(mark):
            found.faults.append(f"processes {list(_marked(mark))} are left")
        found.faults += list(_damaged(place / "out", files))
        beside = [name for name in _names(place / "out") if name not in {*files, "run"}]
        left = [*_names(place / "tmp"), *beside]
        if number == signal.SIGKILL:
            found.left = left
            left = self._left_by_the_next(line, place, files) if left else []
        found.faults += [f"left behind: {one}" for one in left]
        if not found.faults:
            shutil.rmtree(place)
        return found

    def _left_by_the_next(self, line: str, place: Path, files: Sequence[str]) -> list[str]:
        """Run the same command to its end; return what is then left of the one before."""
        process, _ = self.start(f"{line} --overwrite" if line is _TRAIN else line, place)
        _, said = process.communicate(timeout=_SECONDS_MAX)
        assert process.returncode == 0, said
        with temporary_folder(place / "tmp" / "any"):
            pass
        beside = [name for name in _names(place / "out") if name not in {*files, "run"}]
        return [*_names(place / "tmp"), *beside]

    def resumed(self, place: Path) -> Any:
        """Resume a training that was ended, and return its metrics, but for its id and times."""
        again = " --resume" if (place / "out" / "run" / LAST_NAME).exists() else ""
        process, _ = self.start(_TRAIN + again, place)
        _, said = process.communicate(timeout=_SECONDS_MAX)
        assert process.returncode == 0, said
        metrics = json.loads((place / "out" / "run" / "metrics.json").read_text())
        return {name: value for name, value in metrics.items() if name not in ("run", "seconds")}


def take_signals() -> None:
    """Have the signals their usual effect, also where this runs in the background of a script."""
    for number in SIGNALS[:-1]:
        signal.signal(number, signal.SIG_DFL)


def _marked(mark: str) -> Iterator[int]:
    """Yield the processes that have a mark in their environment."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark.encode() in (entry / "environ").read_bytes():
                    yield int(entry.name)
            except OSError:
                continue


def _all_end(mark: str) -> bool:
    deadline = time.monotonic() + _NOTICED_SECONDS
    while any(True for _ in _marked(mark)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def _damaged(folder: Path, files: Sequence[str]) -> Iterator[str]:
    """Yield which of a command's files is there and not whole."""
    readers: dict[str, Callable[[Path], object]] = {
        ".net": read_network,
        ".pt": load_checkpoint,
        ".json": lambda path: json.loads(path.read_text()),
        ".toml": lambda path: parse_toml(path.read_text(encoding="utf-8")),
        ".npz": lambda path: [np.load(path)[name] for name in np.load(path)],
    }
    for name in files:
        path = folder / name
        try:
            if path.exists():
                readers[path.suffix](path)
        except Exception as error:
            yield f"{name} is not whole: {error!r}"


def main(times: int, seed: int) -> int:
    """Send each signal so many times, print what was found, and return how many faults there were.

    Args:
        times: of each signal, over all commands in turn.
        seed: of the moments.
    """
    chosen = random.Random(seed)
    names = [
        name for name in COMMANDS if name != "lava-cpu" or not LavaCpuBackend().why_unavailable()
    ]
    with tempfile.TemporaryDirectory() as folder:
        targets = Targets(Path(folder))
        seconds = {name: _seconds(targets, name) for name in names}
        print({name: round(value, 1) for name, value in seconds.items()}, flush=True)
        tally = Counter[str]()
        for turn in range(times):
            name = names[turn % len(names)]
            for number in SIGNALS:
                moment = chosen.uniform(0, seconds[name])
                found = targets.strike(name, number, moment)
                tally[f"{number.name}: exit status {found.status}"] += 1
                tally[f"{number.name}: left something that the next run removed"] += bool(
                    found.left
                )
                tally["faults"] += len(found.faults)
                for fault in found.faults:
                    print(f"{name} {number.name} after {moment:.3f} s: {fault}", flush=True)
            print(f"{turn + 1} times each: {dict(sorted(tally.items()))}", flush=True)
    return tally["faults"]


def _seconds(targets: Targets, name: str) -> float:
    """Return how long a command takes."""
    place = targets.folder / f"{name}-whole"
    place.mkdir()
    start = time.monotonic()
    process, _ = targets.start(COMMANDS[name][0], place)
    _, said = process.communicate(timeout=_SECONDS_MAX)
    assert process.returncode == 0, said
    assert all((place / "out" / file).exists() for file in COMMANDS[name][1])
    return time.monotonic() - start


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1]), int(sys.argv[2])) else 0)
