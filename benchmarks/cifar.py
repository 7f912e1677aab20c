"""CIFAR-10: the integer network against the same ReLU network, on the same part of the data."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from benchmarks.images import load_images
from benchmarks.networks import CIFAR_SHAPE, three_convolutions
from benchmarks.result import finish, json_option
from benchmarks.trained import PLAIN_RELU, integers_on_test
from tandem_hw.conversion.convert import convert
from tandem_hw.data.dataset import Dataset
from tandem_hw.training.loop import TrainingOptions, seed_everything, train
from tandem_hw.training.schedule import Schedule


@click.command("cifar")
@click.option("--data", default="cifar10", show_default=True, help="cifar10 or npz:PATH.")
@click.option("--num-steps", default=7, show_default=True)
@click.option("--epochs", default=10, show_default=True)
@click.option("--samples", default=10_000, show_default=True, help="Training images.")
@click.option("--networks", default="ReLU,tandem", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/cifar"))
@json_option
def command(
    data: str,
    num_steps: int,
    epochs: int,
    samples: int,
    networks: str,
    out: Path,
    json_path: Path | None,
) -> None:
    """Train the 3-conv net as an ordinary ReLU network and as a tandem network, and compare.

    The tandem network's layers begin to spike one after another (schedule "progressive").
    """
    dataset = load_images(data)
    options = TrainingOptions(epochs=epochs, samples=samples, augmentation="cifar", validation=0.0)
    schedules: dict[str, Schedule] = {"ReLU": "ordinary", "tandem": "progressive"}
    rows = [
        _trained(name, dataset, num_steps, replace(options, schedule=schedules[name]), out)
        for name in networks.split(",")
    ]
    finish("cifar", rows, json_path)


def _trained(
    name: str, dataset: Dataset, num_steps: int, options: TrainingOptions, folder: Path
) -> dict[str, Any]:
    ordinary = options.schedule == "ordinary"
    spiking: dict[str, Any] = PLAIN_RELU if ordinary else {"initial_potential": 0.5}
    seed_everything(options.seed)
    model = convert(three_convolutions(), input_shape=CIFAR_SHAPE, num_steps=num_steps, **spiking)
    started = time.perf_counter()
    summary = train(model, dataset, options, folder / name, overwrite=True)
    seconds = time.perf_counter() - started
    row = {
        "network": name,
        "T": 0 if ordinary else num_steps,
        "training images": options.samples,
        "epochs": options.epochs,
        "test images": len(dataset.y_test),
        "accuracy": summary["test_accuracy"],
        "SynOps/MACs": 1.0,
        "training seconds": seconds,
    }
    if ordinary:
        return row
    network, recording = integers_on_test(folder / name, dataset)
    macs = sum(int(c.synapses.fan_out.sum()) for cs in network.wiring.connections for c in cs)
    return row | {
        "accuracy": recording.accuracy,
        "SynOps/MACs": recording.synops_per_sample / macs,
    }


COMMANDS = [command]
