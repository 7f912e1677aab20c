"""Accuracy of the integer network on MNIST's 10 000 test images, trained as the README says."""

from __future__ import annotations

import time
from pathlib import Path
from typing import get_args

import click

from benchmarks.images import labels_of, load_images
from benchmarks.networks import CLASSES, MNIST_SHAPE
from benchmarks.result import data_option, finish, json_option
from tandem_hw.conversion.convert import convert
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.network.inputs import quantize_inputs
from tandem_hw.network.quantized import Reset
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.training.loop import TrainingOptions, seed_everything, train
from tandem_hw.training.run_files import BEST_NAME
from tandem_hw.zoo.models import build


@click.command("accuracy")
@data_option
@click.option("--num-steps", default=7, show_default=True)
@click.option("--weight-bits", default=8, show_default=True)
@click.option("--epochs", default=5, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/accuracy"))
@json_option
def command(
    data: str, num_steps: int, weight_bits: int, epochs: int, out: Path, json_path: Path | None
) -> None:
    """Train lenet with both resets and run the exported integers on the reference backend."""
    dataset = load_images(data)
    rows = []
    for reset in get_args(Reset):
        options = TrainingOptions(epochs=epochs)
        seed_everything(options.seed)
        model = convert(
            build("lenet", MNIST_SHAPE, CLASSES),
            input_shape=MNIST_SHAPE,
            num_steps=num_steps,
            reset=reset,
            weight_bits=weight_bits,
        )
        started = time.perf_counter()
        train(model, dataset, options, out / reset, overwrite=True)
        seconds = time.perf_counter() - started
        network = freeze(load_checkpoint(out / reset / BEST_NAME).model)
        inputs = quantize_inputs(dataset.x_test, network.input.bits, network.input.scale)
        recording = ReferenceBackend().run(network, inputs, labels_of(dataset))
        rows.append(
            {
                "reset": reset,
                "T": num_steps,
                "weight bits": weight_bits,
                "epochs": epochs,
                "images": len(recording),
                "accuracy": recording.accuracy,
                "SynOps a sample": recording.synops_per_sample,
                "training seconds": seconds,
            }
        )
    finish("accuracy", rows, json_path)


COMMANDS = [command]
