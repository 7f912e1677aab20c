"""A training on small images, its interruption, and what it leaves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tandem_hw.conversion.convert import convert
from tandem_hw.data.dataset import ImageDataset, Labels
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.training.loop import StepReport
from tandem_hw.training.options import TrainingOptions

OPTIONS = TrainingOptions(epochs=3, batch_size=16, learning_rate=0.01, validation=0.2, seed=5)


def make_data(samples: int = 150, train: int = 120, **changes: Any) -> ImageDataset:
    """Three classes of 4x4 images, each with a bright row of its own and much noise."""
    random = np.random.RandomState(0)
    y = np.arange(samples) % 3
    x = random.uniform(0, 0.5, (samples, 1, 4, 4))
    x[np.arange(samples), 0, y] += 0.4
    x = x.astype(np.float32)
    labels = Labels(y, classes=3)
    data = ImageDataset("rows", x[:train], labels[:train], x[train:], labels[train:])
    return replace(data, **changes)


def make_model(**options: Any) -> TandemNetwork:
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(96, 3),
    )
    return convert(network, input_shape=(1, 4, 4), **({"num_steps": 4} | options))


def tensors(item: Any, path: str = "") -> dict[str, Any]:
    """List what a checkpoint holds, so that two can be compared bit for bit."""
    if isinstance(item, dict):
        pairs = [(str(key), value) for key, value in item.items()]
    elif isinstance(item, list | tuple):
        pairs = [(str(index), value) for index, value in enumerate(item)]
    else:
        return {path: item.numpy().tobytes() if isinstance(item, Tensor) else item}
    found: dict[str, Any] = {}
    for key, value in pairs:
        found |= tensors(value, f"{path}/{key}")
    return found


def contents(folder: Path) -> dict[str, dict[str, Any]]:
    files = {}
    for name in ("checkpoint.pt", "last.pt"):
        checkpoint = load_checkpoint(folder / name)
        assert checkpoint.run == json.loads((folder / "metrics.json").read_text())["run"]
        state = dict(checkpoint.model.state_dict())
        files[name] = tensors([state, checkpoint.metrics, checkpoint.training, checkpoint.data])
    return files


def interrupt_in(epoch: int, batch: int) -> Any:
    def report(step: StepReport) -> None:
        if (step.epoch, step.batch) == (epoch, batch):
            raise KeyboardInterrupt

    return report
