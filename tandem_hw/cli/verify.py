"""``tandem-hw verify``: do the backends agree, spike for spike?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from tandem_hw.cli.options import (
    backend_from_options,
    check_outputs,
    data_option,
    device_option,
    json_option,
    lava_options,
    load_samples,
    network_argument,
    samples_option,
    write_json,
)
from tandem_hw.cli.terminal import follow, make_console, progress_bars
from tandem_hw.export.net_file import read_net
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.sim.backend import Backend, require_available
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.verification import VerificationReport, verify

#: Exit status of a mismatch.
EXIT_MISMATCH = 1


@click.command("verify")
@network_argument
@data_option
@click.option(
    "--backends",
    default="reference,lava-cpu",
    show_default=True,
    help="Backends to compare, separated by commas; the first one is the measure.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="Compare the trained model's own forward pass as well.",
)
@samples_option
@json_option
@device_option
@lava_options
def command(
    network_path: Path,
    data: str,
    backends: str,
    checkpoint: Path | None,
    samples: int | None,
    json_path: Path | None,
    device: str,
    **lava: Any,
) -> None:
    """Run NET on several backends and compare every count, potential and prediction.

    The exit status is 0 if all are equal, 1 if they differ or a layer never fired, 2 on an error.
    """
    check_outputs(json_path, inputs=[network_path, checkpoint])
    names = [name.strip() for name in backends.split(",") if name.strip()]
    runners = [backend_from_options(name, lava, device) for name in names]
    for runner in runners:
        require_available(runner)
    network = read_net(network_path)
    if checkpoint is not None:
        runners.append(PyTorchBackend(load_checkpoint(checkpoint).model))
    for runner in runners:
        runner.check_network(network)
    inputs, labels = load_samples(network, data, samples)
    report = _run(network, inputs, labels, runners)
    write_json(report.to_dict(), json_path)
    show_report(report)
    if not report.match:
        raise click.exceptions.Exit(EXIT_MISMATCH)


def _run(network: Any, inputs: Any, labels: Any, runners: list[Backend]) -> VerificationReport:
    with progress_bars() as progress:
        bars = {runner.name: follow(progress, runner.name) for runner in runners}
        return verify(network, inputs, labels, runners, progress=bars)


def show_report(report: VerificationReport) -> None:
    """Print a report for the terminal."""
    table = Table(title=f"{report.samples} samples on {', '.join(report.backends)}")
    numbers = ("neurons", "spikes", "mismatched", "head room (bits)", "SynOps a sample", "MACs")
    for name in ("layer", *numbers):
        table.add_column(name, justify="left" if name == "layer" else "right")
    # A counted readout is among the layers as well.
    compared = {layer.name: layer for layer in (report.readout, *report.layers)}
    for activity in report.activity:
        layer = compared[activity.name]
        table.add_row(
            layer.name,
            str(layer.neurons),
            "readout" if layer.spikes is None else str(layer.spikes),
            str(layer.mismatched),
            "" if layer.head_room_bits is None else str(layer.head_room_bits),
            f"{activity.synops_per_sample:.0f}",
            str(activity.macs),
        )
    console = make_console()
    console.print(table)
    for name in report.backends:
        accuracy = report.accuracy[name]
        shown = "" if accuracy is None else f"accuracy {accuracy:.2%}, "
        console.print(f"{name}: {shown}{report.seconds[name]:.2f} s")
    if report.match:
        console.print("MATCH: every spike count and every output is equal", style="green")
    elif report.difference is not None:
        console.print(f"MISMATCH: first in {report.difference}", style="red")
    else:
        silent = ", ".join(report.silent_layers)
        console.print(
            f"SILENT: {silent} never fired, and equal silence proves nothing", style="red"
        )
