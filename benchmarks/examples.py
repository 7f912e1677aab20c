"""The trained networks that come with the package: train them, and write files and record."""

from __future__ import annotations

import hashlib
import inspect
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import click
import torch
from torch import nn

from benchmarks.result import machine
from tandem_hw.atomic_write import write_json
from tandem_hw.cli.work.samples import take_samples
from tandem_hw.conversion.convert import convert
from tandem_hw.data.datasets import load_dataset
from tandem_hw.examples.catalogue import EXAMPLES, FOLDER, RECORD, Example
from tandem_hw.export.freezing import freeze
from tandem_hw.export.net_file import write_net
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.training.loop import TrainingOptions, seed_everything, train
from tandem_hw.training.run_files import BEST_NAME
from tandem_hw.zoo.models import build
from tandem_hw.zoo.recipes import RECIPES

#: Bytes of the largest file: what a repository and a wheel carry without a thought.
LARGEST: Final = 200_000


@dataclass(frozen=True)
class _Training:
    """How an example is made.

    Attributes:
        network: takes the shape of a sample and the number of outputs.
        settings: arguments of ``convert`` and of ``TrainingOptions``.
    """

    network: Callable[[tuple[int, ...], int], nn.Module]
    settings: dict[str, Any]

    def taken_by(self, names: set[str]) -> dict[str, Any]:
        """Return the settings that have one of these names."""
        return {name: value for name, value in self.settings.items() if name in names}


def _small_events(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return a network for events on 24x24 pixels whose file stays small."""
    channels, height, width = shape
    return nn.Sequential(
        *(nn.Conv2d(channels, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU()),
        *(nn.Conv2d(12, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU()),
        *(nn.Conv2d(24, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(32 * (height // 8) * (width // 8), classes)),
    )


_TRAININGS: Final[dict[str, _Training]] = {
    "digits": _Training(
        lambda shape, classes: build("lenet", shape, classes), {"num_steps": 7, "epochs": 15}
    ),
    "moving-digits": _Training(
        _small_events,
        {"num_steps": 7, "encoding": "events", "epochs": 6, "learning_rate": 0.01},
    ),
    "autoencoder": _Training(
        lambda shape, outputs: build("autoencoder", shape, outputs),
        {"input_bits": 4, **RECIPES["autoencoder-digits"].settings},
    ),
}


@click.command("examples")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=FOLDER,
    help="Folder to write to [default: that of the package].",
)
def command(out: Path) -> None:
    """Train the networks that come with the package, and write them with their record."""
    record: dict[str, Any] = {}
    for name, example in EXAMPLES.items():
        path = out / example.path.name
        record[name] = {**make(example, path), "machine": machine()}
        size = path.stat().st_size
        click.echo(f"{path}: {size} bytes, {record[name]['metrics']}")
        if size >= LARGEST:
            raise click.ClickException(f"{path}: is larger than {LARGEST} bytes")
    write_json(out / RECORD.name, record)


def make(example: Example, path: Path) -> dict[str, Any]:
    """Train an example and write its file.

    Args:
        example: which one.
        path: of the ``.net`` file.

    Returns:
        The digests of network and file, and the metrics on all test samples.
    """
    training = _TRAININGS[example.name]
    options = TrainingOptions(**training.taken_by({one.name for one in fields(TrainingOptions)}))
    dataset = load_dataset(example.data, num_steps=training.settings["num_steps"], input_bits=4)
    seed_everything(options.seed)
    shape = dataset.shape
    outputs = torch.Size(shape).numel() if example.name == "autoencoder" else dataset.outputs
    model = convert(
        training.network(shape, outputs),
        input_shape=shape,
        **training.taken_by(set(inspect.signature(convert).parameters)),
    )
    with tempfile.TemporaryDirectory() as folder:
        train(model, dataset, options, Path(folder))
        network = freeze(load_checkpoint(Path(folder) / BEST_NAME).model)
    write_net(network, path)
    samples = take_samples(network, dataset, None)
    run = ReferenceBackend().run(network, samples.inputs, samples.labels)
    return {
        "digest": network.digest,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "metrics": samples.measure(network, run),
    }


COMMANDS = (command,)
