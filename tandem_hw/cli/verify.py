"""``tandem-hw verify``: do the backends agree, spike for spike?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from tandem_hw.cli.metrics import for_json, shown_together
from tandem_hw.cli.options import (
    Samples,
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
from tandem_hw.cli.terminal import follow, make_console, progress_bars, warn
from tandem_hw.errors import ComparisonRefusedError
from tandem_hw.export.files import read_network
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import Recording
from tandem_hw.network.saturation import head_room_line, saturation_lines
from tandem_hw.sim.backend import Backend, require_available
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.verification.step import VerificationReport, compare, record

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
    """Run NET on several backends and compare every count, potential, state and weight.

    Spike counts, outputs and synaptic operations of all backends are compared, the states at the
    window's end of those that have them, and the digests of the weights, biases and thresholds that
    they computed with, with those of NET.

    The exit status is 0 if all are equal, 1 if they differ or a layer never fired, 2 on an error.
    """
    check_outputs(json_path, inputs=[network_path, checkpoint], data=data)
    names = [name.strip() for name in backends.split(",")]
    if not all(names):
        raise ComparisonRefusedError(
            f'--backends "{backends}" has an empty name; give names with one comma between two'
        )
    runners = [backend_from_options(name, lava, device) for name in names]
    for runner in runners:
        require_available(runner)
    network = read_network(network_path)
    if checkpoint is not None:
        runners.append(PyTorchBackend(load_checkpoint(checkpoint).model))
    for runner in runners:
        runner.check_network(network)
    given = load_samples(network, data, samples)
    recordings = _run(network, given, runners)
    report = compare(network, recordings)
    metrics = {found.backend: given.measure(network, found) for found in recordings}
    write_json(describe(report, given, metrics), json_path)
    show_report(report, metrics)
    if not report.match:
        raise click.exceptions.Exit(EXIT_MISMATCH)


def _run(network: QuantizedNetwork, given: Samples, runners: list[Backend]) -> list[Recording]:
    with progress_bars() as progress:
        bars = {runner.name: follow(progress, runner.name) for runner in runners}
        return record(network, given.inputs, given.labels, runners, progress=bars)


def describe(
    report: VerificationReport, given: Samples, metrics: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Return a report and the metrics as plain data.

    Args:
        report: the comparison.
        given: the samples compared.
        metrics: per backend, the objective's numbers.
    """
    return {
        **report.to_dict(),
        "objective": given.objective.name,
        "metrics": {name: for_json(numbers) for name, numbers in metrics.items()},
    }


def show_report(report: VerificationReport, metrics: Mapping[str, Mapping[str, float]]) -> None:
    """Print a report for the terminal.

    Args:
        report: the comparison.
        metrics: per backend, the objective's numbers.
    """
    table = Table(title=f"{report.samples} samples on {', '.join(report.backends)}")
    numbers = (
        "neurons",
        "spikes",
        "mismatched",
        "final states",
        "head room (bits)",
        "SynOps a sample",
        "MACs",
    )
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
            "" if layer.mismatched_states is None else str(layer.mismatched_states),
            "" if layer.head_room_bits is None else str(layer.head_room_bits),
            f"{activity.synops_per_sample:.0f}",
            str(activity.macs),
        )
    console = make_console()
    console.print(table)
    for name in report.backends:
        console.print(f"{name}: {shown_together(metrics[name])}, {report.seconds[name]:.2f} s")
    explained = [
        head_room_line(layer.name, layer.head_room_bits)
        for layer in compared.values()
        if layer.head_room_bits is not None and layer.head_room_bits < 0
    ]
    warn(console, [*explained, *saturation_lines(report.saturation)])
    console.print(_what_was_compared(report))
    if report.match:
        console.print("MATCH: every spike count and every output is equal", style="green")
    elif report.other_parameters:
        for found in report.other_parameters:
            console.print(f"MISMATCH: {found}", style="red")
    elif report.difference is not None:
        console.print(f"MISMATCH: first in {report.difference}", style="red")
    else:
        console.print(f"SILENT: {report.silence}", style="red")


def _what_was_compared(report: VerificationReport) -> str:
    """Say what beside counts and outputs was compared on which backends."""
    states = ", ".join(report.checked_states) or "no two backends"
    parameters = ", ".join(report.checked_parameters) or "no backend"
    return (
        f"states at the window's end compared on {states}; weights, biases and thresholds in use "
        f"compared with the network's on {parameters}"
    )
