"""The graph that goes to the chip against the leaf models and the reference, on MNIST."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchmarks.equality import different, trained_lenet
from benchmarks.images import labels_of, load_images
from benchmarks.result import data_option, finish, json_option
from tandem_hw.chip.timing import board_period, default_period
from tandem_hw.data.dataset import ImageDataset
from tandem_hw.export.freezing import freeze
from tandem_hw.network.inputs import quantize_inputs
from tandem_hw.network.quantized import Reset
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend, LavaStockBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import verify

#: Windows that suit a board: with the step that a reset by subtraction needs, powers of two.
WINDOWS: tuple[tuple[Reset, int], ...] = (
    ("subtract", 3),
    ("subtract", 7),
    ("subtract", 15),
    ("zero", 4),
    ("zero", 8),
    ("zero", 7),
)


@click.command("lowering")
@data_option
@click.option("--samples", default=100, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/lowering"))
@json_option
def command(data: str, samples: int, out: Path, json_path: Path | None) -> None:
    """Train lenet one epoch per window and run it on lava-cpu and lava-stock at each period."""
    dataset = load_images(data)
    rows = [
        row
        for reset, num_steps in WINDOWS
        for row in _compare(dataset, reset, num_steps, samples, out)
    ]
    finish("lowering", rows, json_path, "nothing fired between windows")
    if any(row["different"] for row in rows):
        raise click.ClickException("the backends differ")


def _compare(
    dataset: ImageDataset, reset: Reset, num_steps: int, samples: int, out: Path
) -> list[dict[str, Any]]:
    network = freeze(trained_lenet(dataset, reset, num_steps, 8, out))
    inputs = quantize_inputs(dataset.x_test[:samples], network.input.bits, network.input.scale)
    labels = labels_of(dataset)[:samples]
    shortest = default_period(network)
    # Twice the next power of two where that is the shortest period, so that there is padding.
    longer = board_period(network) if board_period(network) > shortest else 2 * shortest
    rows = []
    for period in (shortest, longer):
        backends = [
            ReferenceBackend(),
            LavaCpuBackend(period=period),
            LavaStockBackend(period=period),
        ]
        report = verify(network, inputs, labels, backends)
        if report.silent_layers:
            raise click.ClickException(f"layers {report.silent_layers} are silent")
        rows.append(
            {
                "reset": reset,
                "T": num_steps,
                "period": period,
                "images": samples,
                "spikes": sum(layer.spikes or 0 for layer in report.layers),
                "different": different(report),
                "lava-cpu seconds": report.seconds["lava-cpu"],
                "lava-stock seconds": report.seconds["lava-stock"],
            }
        )
    return rows


COMMANDS = [command]
