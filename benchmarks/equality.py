"""The promise itself: PyTorch, reference and lava-cpu agree on every count and every potential."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, get_args

import click

from benchmarks.images import labels_of, load_images
from benchmarks.networks import CLASSES, MNIST_SHAPE
from benchmarks.result import data_option, finish, json_option
from tandem_hw.conversion.convert import convert
from tandem_hw.data.dataset import ImageDataset
from tandem_hw.export.freezing import freeze
from tandem_hw.export.net_file import read_net, write_net
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.network.inputs import quantize_inputs
from tandem_hw.network.quantized import Reset
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.training.loop import TrainingOptions, seed_everything, train
from tandem_hw.training.run_files import BEST_NAME
from tandem_hw.verification.step import VerificationReport, verify
from tandem_hw.zoo.models import build


@click.command("equality")
@data_option
@click.option("--samples", default=10_000, show_default=True, help="Images on PyTorch, reference.")
@click.option("--lava-samples", default=200, show_default=True, help="Images on lava-cpu; 0: none.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/equality"))
@json_option
def command(data: str, samples: int, lava_samples: int, out: Path, json_path: Path | None) -> None:
    """Train lenet one epoch for each reset, T and weight width, export it, and compare."""
    dataset = load_images(data)
    combinations = itertools.product(get_args(Reset), (3, 7, 8), (8, 4))
    rows = [
        _compare(dataset, reset, num_steps, bits, samples, lava_samples, out)
        for reset, num_steps, bits in combinations
    ]
    finish("equality", rows, json_path)
    if any(row["different"] for row in rows):
        raise click.ClickException("the backends differ")


def _compare(
    dataset: ImageDataset,
    reset: Reset,
    num_steps: int,
    bits: int,
    samples: int,
    lava_samples: int,
    out: Path,
) -> dict[str, Any]:
    trained = trained_lenet(dataset, reset, num_steps, bits, out)
    folder = out / _name(reset, num_steps, bits)
    write_net(freeze(trained), folder / "lenet.net")
    network = read_net(folder / "lenet.net")
    inputs = quantize_inputs(dataset.x_test, network.input.bits, network.input.scale)[:samples]
    labels = labels_of(dataset)[:samples]
    many = verify(network, inputs, labels, [ReferenceBackend(), PyTorchBackend(trained)])
    reports = [many]
    if lava_samples:
        few = slice(0, lava_samples)
        backends = [ReferenceBackend(), LavaCpuBackend()]
        reports.append(verify(network, inputs[few], labels[few], backends))
    if not all(report.match or report.difference for report in reports):
        raise click.ClickException(f"{folder.name}: layers {many.silent_layers} are silent")
    return {
        "reset": reset,
        "T": num_steps,
        "weight bits": bits,
        "images": samples,
        "on lava-cpu": lava_samples,
        "spikes": sum(layer.spikes or 0 for layer in many.layers),
        "different": sum(different(report) for report in reports),
        "accuracy": many.accuracy["reference"],
    }


def trained_lenet(
    dataset: ImageDataset, reset: Reset, num_steps: int, bits: int, out: Path
) -> TandemNetwork:
    """Train lenet one epoch and return it in evaluation mode."""
    folder = out / _name(reset, num_steps, bits)
    options = TrainingOptions(epochs=1)
    seed_everything(options.seed)
    model = convert(
        build("lenet", MNIST_SHAPE, CLASSES),
        input_shape=MNIST_SHAPE,
        num_steps=num_steps,
        reset=reset,
        weight_bits=bits,
    )
    train(model, dataset, options, folder, overwrite=True)
    return load_checkpoint(folder / BEST_NAME).model


def _name(reset: Reset, num_steps: int, bits: int) -> str:
    return f"{reset}-T{num_steps}-{bits}bit"


def different(report: VerificationReport) -> int:
    """Count differing spike counts, potentials, final states, SynOps, predictions and layers."""
    values = sum(
        layer.mismatched + (layer.mismatched_states or 0) + layer.mismatched_synops
        for layer in (*report.layers, report.readout)
    )
    return values + report.mismatched_predictions + len(report.other_parameters)


COMMANDS = [command]
