"""One of the processes that test_distributed.py starts: trains twice and keeps what it ended with.

Arguments: the folder for the results, and the port of the store in which the processes meet.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist
from torch import nn

from tandem_hw.conversion.convert import convert
from tandem_hw.data.dataset import ImageDataset
from tandem_hw.errors import FileFormatError
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.training.loop import train
from tandem_hw.training.options import TrainingOptions
from tests.helpers import image_trainings

#: Without batch normalisation two halves of a batch give the gradient of the whole one.
ONE_STEP = TrainingOptions(epochs=1, batch_size=24, validation=0.0, synop_weight=0.3)
SEVERAL_STEPS = TrainingOptions(epochs=2, batch_size=8, seed=3, augmentation="mnist")


def make_data() -> ImageDataset:
    return image_trainings.make_data(samples=36, train=24)


def make_model(*, normalised: bool) -> TandemNetwork:
    torch.manual_seed(1)
    norm = [nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.2)] if normalised else [nn.ReLU()]
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), *norm, nn.Linear(6, 3))
    return convert(network, input_shape=(1, 4, 4), num_steps=4, activation_max=0.4)


def trained(options: TrainingOptions, folder: Path) -> dict[str, Any]:
    """Train a model and return all that is left of it, its last gradients included."""
    model = make_model(normalised=options == SEVERAL_STEPS)
    summary = train(model, make_data(), options, folder)
    gradients = {
        name: parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return {
        "parameters": dict(model.named_parameters()),
        "gradients": gradients,
        "epochs": summary["epochs"],
        "run": summary["run"],
        "dropout": torch.rand(4),
    }


def refused(folder: Path) -> str:
    """Return why no training can begin where there is one; only the first process has looked."""
    try:
        trained(ONE_STEP, folder)
    except FileFormatError as error:
        return str(error)
    return ""


def main(folder: Path, port: int) -> None:
    dist.init_process_group(
        "gloo",
        # The test's store: it is there before and after, and nobody else can have its port.
        store=dist.TCPStore("127.0.0.1", port, is_master=False),  # type: ignore[attr-defined]
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
        timeout=timedelta(seconds=90),
    )
    found: dict[str, Any] = {
        "one step": trained(ONE_STEP, folder / "one"),
        "several steps": trained(SEVERAL_STEPS, folder / "several"),
    }
    found["refused"] = refused(folder / "one")
    assert dist.is_initialized()  # a training leaves a group alone that it did not make
    torch.save(found, folder / f"rank{dist.get_rank()}.pt")
    # destroy_process_group waited for ever in 2 of 40 runs, where the other process had ended.
    os._exit(0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]))
