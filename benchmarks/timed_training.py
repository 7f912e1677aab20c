"""As accurate a network as a given time allows: what a few minutes on a GPU are good for."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import torch

from benchmarks.equality import different
from benchmarks.images import labels_of, load_images
from benchmarks.networks import CIFAR_SHAPE, CLASSES
from benchmarks.result import device_option, finish, json_option
from tandem_hw.cli.options import FiringDelay
from tandem_hw.conversion.convert import convert
from tandem_hw.data.dataset import ImageDataset
from tandem_hw.export.freezing import freeze
from tandem_hw.export.net_file import write_net
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.network.choices import Phased
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.training.loop import TrainingOptions, seed_everything, train
from tandem_hw.training.run_files import BEST_NAME
from tandem_hw.verification.step import compare
from tandem_hw.zoo.models import build

#: Epochs of the rehearsal, whose last one is timed: the first one compiles and records.
_REHEARSED: Final = 2
#: Share of the time that the rehearsal and the test leave to the training, to be on the safe side.
_SHARE: Final = 0.95
#: Samples whose spikes are compared between PyTorch, and the reference on the CPU and the device.
_COMPARED: Final = 256
#: As the field trains, for so few epochs: without AutoAugment, and an average over part of one.
_OPTIONS: Final = TrainingOptions(
    epochs=_REHEARSED,
    batch_size=256,
    augmentation="cifar+cutout",
    validation=0.0,
    optimizer="sgd",
    learning_rate=0.15,
    learning_rate_schedule="one-cycle",
    weight_decay=5e-4,
    label_smoothing=0.1,
    clip_gradient=5.0,
    ema=0.99,
)


@dataclass(frozen=True)
class _Task:
    """What is trained, and where.

    Attributes:
        network: of the zoo.
        spiking: what ``convert`` is given.
        data: the images.
        device: where.
        out: folder of the trainings.
    """

    network: str
    spiking: dict[str, Any]
    data: ImageDataset
    device: torch.device
    out: Path

    def train(self, options: TrainingOptions, name: str) -> list[float]:
        """Train from fresh weights, and return the seconds of every epoch."""
        seed_everything(options.seed)
        network = build(self.network, CIFAR_SHAPE, CLASSES)
        model = convert(network, input_shape=CIFAR_SHAPE, **self.spiking)
        times = [time.perf_counter()]

        def epoch_done(metrics: dict[str, Any]) -> None:
            times.append(time.perf_counter())
            click.echo(
                f"{name}, epoch {metrics['epoch']}: {times[-1] - times[-2]:.2f} s, loss "
                f"{metrics['loss']:.3f}, training accuracy {metrics['accuracy']:.4f}"
            )

        folder = self.out / name
        train(
            model,
            self.data,
            options,
            folder,
            device=str(self.device),
            overwrite=True,
            epoch_done=epoch_done,
        )
        return list(np.diff(times))


@click.command("timed-training")
@device_option
@click.option("--network", default="vgg16", show_default=True, help="Of the zoo.")
@click.option("--num-steps", type=click.IntRange(1), default=4, show_default=True)
@click.option("--firing-delay", type=FiringDelay(), default="phased", show_default=True)
@click.option("--data", default="cifar10", show_default=True, help="cifar10 or npz:PATH.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True)
@click.option("--batch", type=click.IntRange(2), default=_OPTIONS.batch_size, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/timed-training"))
@json_option
def command(
    device: torch.device,
    network: str,
    num_steps: int,
    firing_delay: int | Phased,
    data: str,
    minutes: float,
    batch: int,
    seed: int,
    out: Path,
    json_path: Path | None,
) -> None:
    """Train for some minutes, and test the integers that come of it.

    Two epochs are rehearsed to see how many fit. The network is exported to network.net beside its
    checkpoint, tested on all test images by the reference on the device, and compared on some of
    them with PyTorch's own forward pass and with the reference on the CPU.
    """
    began = time.perf_counter()
    spiking = {
        "num_steps": num_steps,
        "firing_delay": firing_delay,
        "initial_potential": 0.5,
        "learn_thresholds": True,
    }
    task = _Task(network, spiking, load_images(data), device, out)
    options = replace(_OPTIONS, batch_size=batch, seed=seed)
    rehearsed = task.train(options, "rehearsal")[-1]
    left = minutes * 60 - (time.perf_counter() - began)
    options = replace(options, epochs=max(int(_SHARE * left / rehearsed), _REHEARSED))
    click.echo(f"{options.epochs} epochs of {rehearsed:.2f} s fit")
    seconds = task.train(options, "training")
    row = {
        "network": network,
        "T": num_steps,
        "firing delay": str(firing_delay),
        "batch": batch,
        "seed": seed,
        "epochs": options.epochs,
        "training, s": sum(seconds),
    }
    finish("timed-training", [row | _tested(task)], json_path, device=device)


def _tested(task: _Task) -> dict[str, Any]:
    """Export the network that was trained; return its accuracy and whether all agree on it."""
    folder = task.out / "training"
    model = load_checkpoint(folder / BEST_NAME).model.to(task.device).eval()
    network = freeze(model)
    write_net(network, folder / "network.net")
    inputs = task.data.integers(task.data.x_test, network.input)
    there = ReferenceBackend(str(task.device))
    recording = there.run(network, inputs, labels_of(task.data))
    some = inputs[:: max(len(inputs) // _COMPARED, 1)]
    compared = [
        ReferenceBackend().run(network, some),
        replace(there.run(network, some), backend=f"reference on {task.device}"),
        PyTorchBackend(model).run(network, some),
    ]
    report = compare(network, compared)
    if different(report):
        raise click.ClickException(f"the backends differ in {different(report)} values")
    return {
        "test accuracy": recording.accuracy,
        "SynOps": recording.synops_per_sample,
        "compared": len(some),
        "different": different(report),
    }


COMMANDS = [command]
