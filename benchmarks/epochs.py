"""Whole epochs of training: augmentation, quantization, steps and checkpoints."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from benchmarks.images import load_images
from benchmarks.networks import CIFAR_SHAPE, CLASSES, MEASURED
from benchmarks.result import device_option, finish, json_option, wait_for
from benchmarks.training_variants import MEBIBYTE
from tandem_hw.conversion.convert import convert
from tandem_hw.data.dataset import ImageDataset, Labels
from tandem_hw.training.loop import TrainingOptions, seed_everything, train


@click.command("epochs")
@device_option
@click.option("--network", type=click.Choice(list(MEASURED)), default="vgg16", show_default=True)
@click.option("--data", help="cifar10 or npz:PATH.  [default: random images]")
@click.option(
    "--images", type=click.IntRange(20), default=50_000, show_default=True, help="Random images."
)
@click.option("--epochs", type=click.IntRange(1), default=2, show_default=True)
@click.option("--batch", type=click.IntRange(2), default=128, show_default=True)
@json_option
def command(
    device: torch.device,
    network: str,
    data: str | None,
    images: int,
    epochs: int,
    batch: int,
    json_path: Path | None,
) -> None:
    """Train a network on images of CIFAR-10's size as its recipe does, and time every epoch.

    The first epoch includes whatever is compiled or chosen at first use.
    """
    dataset = load_images(data) if data else _random_images(images)
    options = TrainingOptions(epochs=epochs, batch_size=batch, augmentation="cifar", validation=0.0)
    seed_everything(options.seed)
    model = convert(
        MEASURED[network].build(),
        input_shape=CIFAR_SHAPE,
        num_steps=MEASURED[network].num_steps,
        initial_potential=0.5,
        learn_thresholds=True,
    )
    clock = _Clock(network, len(dataset.x_train), device)
    with tempfile.TemporaryDirectory() as folder:
        train(
            model,
            dataset,
            options,
            Path(folder) / "run",
            device=str(device),
            epoch_done=clock.epoch_done,
        )
    finish("epochs", clock.rows, json_path, device=device)


class _Clock:
    """The rows of the epochs that are done, and when the next one began."""

    def __init__(self, network: str, images: int, device: torch.device) -> None:
        self.network, self.images, self.device = network, images, device
        self.rows: list[dict[str, Any]] = []
        self.started = time.perf_counter()

    def epoch_done(self, metrics: dict[str, Any]) -> None:
        """Take the time of an epoch, and say it at once: a limit may fall before the table."""
        wait_for(self.device)
        seconds = time.perf_counter() - self.started
        peak = None
        if self.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self.device) / MEBIBYTE
        self.rows.append(
            {
                "network": self.network,
                "epoch": metrics["epoch"],
                "images": self.images,
                "seconds": seconds,
                "images a second": self.images / seconds,
                "peak MiB": peak,
                "loss": metrics["loss"],
                "accuracy": metrics["accuracy"],
            }
        )
        click.echo(f"epoch {metrics['epoch']}: {seconds:.2f} s, loss {metrics['loss']:.4f}")
        self.started = time.perf_counter()


def _random_images(number: int) -> ImageDataset:
    generator = np.random.default_rng(0)
    parts = [
        generator.integers(0, 256, (size, *CIFAR_SHAPE), dtype=np.uint8)
        for size in (number, number // 10)
    ]
    labels = [Labels(np.arange(len(part)) % CLASSES, CLASSES) for part in parts]
    return ImageDataset("random images", parts[0], labels[0], parts[1], labels[1])


COMMANDS = [command]
