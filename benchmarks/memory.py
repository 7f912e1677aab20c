"""Peak memory of ``simulate`` and ``verify`` against the number of samples."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.images import labels_of, load_images
from benchmarks.networks import active_lenet
from benchmarks.result import data_option, finish, json_option
from tandem_hw.export.freezing import freeze
from tandem_hw.export.net_file import write_net
from tandem_hw.learning.checkpoint import Checkpoint, save_checkpoint

#: Runs a command and prints its peak in KiB. The system counts as a process's own what the one had
#: that started it, so this one is small.
_MEASURE = """
import os, subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-m", "tandem_hw", *sys.argv[1:]], stdout=subprocess.DEVNULL
)
_, status, usage = os.wait4(child.pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@click.command("memory")
@data_option
@click.option("--samples", multiple=True, type=int, default=(1000, 60_000), show_default=True)
@json_option
def command(data: str, samples: tuple[int, ...], json_path: Path | None) -> None:
    """Run MNIST's lenet, T = 7, on few and on many samples: the training images and on from there.

    The file of samples is the same for all rows, and is read whole.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_data(data, folder / "data.npz", max(samples))
        model = active_lenet("subtract")
        write_net(freeze(model), folder / "lenet.net")
        save_checkpoint(Checkpoint(model), folder / "lenet.pt")
        rows = [
            row
            for command, options in _commands(folder).items()
            for row in _rows(command, options, folder, samples)
        ]
    finish("memory", rows, json_path)


def _write_data(spec: str, path: Path, samples: int) -> None:
    dataset = load_images(spec)
    images = np.concatenate([dataset.x_train, dataset.x_test])
    labels = np.concatenate([dataset.y_train, labels_of(dataset)])
    # More than there are begin anew; uncompressed, or the reader would distrust so many.
    np.savez(
        path,
        x_test=np.resize(images, (samples, *images.shape[1:])),
        y_test=np.resize(labels, samples),
    )


def _commands(folder: Path) -> Mapping[str, list[str]]:
    return {
        "simulate": ["simulate"],
        "simulate --recording": [
            *("simulate", "--recording", f"{folder / 'run.npz'}", "--overwrite")
        ],
        "verify (reference, pytorch)": [
            *("verify", "--backends", "reference"),
            *("--checkpoint", f"{folder / 'lenet.pt'}"),
        ],
    }


def _rows(
    command: str, options: list[str], folder: Path, samples: tuple[int, ...]
) -> Iterator[dict[str, Any]]:
    least = None
    for number in samples:
        arguments = [
            *options,
            *(f"{folder / 'lenet.net'}", "--data", f"npz:{folder / 'data.npz'}"),
            *("--samples", str(number)),
        ]
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _MEASURE, *arguments], stdout=subprocess.PIPE, check=True
        )
        peak = int(done.stdout) / 1024
        least = peak if least is None else least
        yield {
            "command": command,
            "samples": number,
            "peak MiB": peak,
            "times the first": peak / least,
            "seconds": time.perf_counter() - started,
        }


COMMANDS = [command]
