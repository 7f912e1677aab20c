"""A residual network and an autoencoder: trained, exported, and compared on every backend here."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click

from benchmarks.equality import different
from benchmarks.result import finish, json_option
from tandem_hw.cli.train import command as train_command
from tandem_hw.data.datasets import load_dataset
from tandem_hw.export.freezing import freeze
from tandem_hw.export.net_file import read_net, write_net
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend, LavaStockBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import verify

RECIPES = ("residual-digits", "autoencoder-digits")


@click.command("graph-networks")
@click.option("--samples", default=20, show_default=True, help="Images to compare.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/graph-networks"))
@json_option
def command(samples: int, out: Path, json_path: Path | None) -> None:
    """Train by the recipes, export, and compare reference, lava-cpu and lava-stock."""
    rows = [_compared(recipe, samples, out / recipe) for recipe in RECIPES]
    finish("graph-networks", rows, json_path)
    if any(row["different"] for row in rows):
        raise click.ClickException("the backends differ")


def _compared(recipe: str, samples: int, folder: Path) -> dict[str, Any]:
    line = f"--recipe {recipe} --out {folder} --overwrite"
    train_command.main(shlex.split(line), standalone_mode=False)
    write_net(freeze(load_checkpoint(folder / "checkpoint.pt").model), folder / "model.net")
    network = read_net(folder / "model.net")
    dataset = load_dataset("digits", need="test")
    inputs = dataset.integers(dataset.x_test[:samples], network.input)
    backends = [ReferenceBackend(), LavaCpuBackend(), LavaStockBackend()]
    report = verify(network, inputs, None, backends)
    if not (report.match or report.difference):
        raise click.ClickException(f"{recipe}: layers {report.silent_layers} are silent")
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    tested = {name: value for name, value in metrics.items() if name.startswith("test_")}
    skips = sum(len(layer.synapses[1:]) for layer in network)
    return {
        "recipe": recipe,
        "layers": len(network.layers),
        "skips": skips,
        "neurons": sum(layer.num_neurons for layer in network),
        "samples": samples,
        "spikes": sum(layer.spikes or 0 for layer in report.layers),
        "different": different(report),
        "test": ", ".join(f"{name[5:]} {value:.4g}" for name, value in tested.items()),
    }


COMMANDS = [command]
