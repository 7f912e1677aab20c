"""Small trainings, the processes that they are killed in, and what is left of them.

Such a process imports this module, which therefore imports no more than a training needs.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tandem_hw.conversion.convert import convert
from tandem_hw.data.dataset import ImageDataset, Labels
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.training.loop import train
from tandem_hw.training.options import TrainingOptions

NEW = TrainingOptions(epochs=3, batch_size=16, learning_rate=0.01, validation=0.25, seed=3)
OLD = replace(NEW, seed=4)


def make_data() -> ImageDataset:
    values = np.random.RandomState(0)
    y = np.arange(120) % 3
    x = values.uniform(0, 0.6, (120, 8)).astype(np.float32)
    x[np.arange(120), y] += 0.3
    labels = Labels(y, classes=3)
    return ImageDataset("rows", x[:80], labels[:80], x[80:], labels[80:])


def make_model() -> TandemNetwork:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, 3))
    return convert(network, input_shape=(8,), num_steps=4)


def run(folder: Path, options: TrainingOptions = NEW, **how: Any) -> dict[str, Any]:
    return train(make_model(), make_data(), options, folder, **how)


def anonymous(summary: dict[str, Any]) -> dict[str, Any]:
    """Return the metrics of a training without its id and its times, which no two share."""
    assert re.fullmatch("[0-9a-f]{32}", summary["run"])
    return {name: value for name, value in summary.items() if name not in ("run", "seconds")}


def kill_at(moment: int, end: Callable[[], None]) -> tuple[Callable[..., None], list[str]]:
    """Return an ``os.replace`` that ends all before or after a file is renamed.

    Args:
        moment: 0 is before the first file is renamed, 1 is after that, 2 before the second one.
        end: ends the process.

    Returns:
        The function, and the names of the files that it is asked to replace.
    """
    names: list[str] = []
    rename = os.replace

    def replace_and_die(source: Any, target: Any) -> None:
        names.append(Path(target).name)
        if moment == 2 * len(names) - 2:
            end()
        rename(source, target)
        if moment == 2 * len(names) - 1:
            end()

    return replace_and_die, names


def attempt(folder: str, options: TrainingOptions, how: dict[str, Any], moment: int) -> None:
    """Train in this process, which kills itself at a moment."""
    torch.set_num_threads(1)
    os.replace, _ = kill_at(moment, lambda: os.kill(os.getpid(), signal.SIGKILL))
    run(Path(folder), options, **how)


def linger(folder: str, note: str) -> None:
    """Train in this process until the first step, and then wait to be killed."""

    def wait(_: Any) -> None:
        Path(note).write_text("training")
        time.sleep(300)

    run(Path(folder), report=wait)
