"""``tandem-hw simulate``: run a .net file on one backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from tandem_hw.cli.metrics import for_json, shown_together
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
from tandem_hw.cli.terminal import follow, make_console, progress_bars, warn
from tandem_hw.errors import TandemError
from tandem_hw.export.files import read_network
from tandem_hw.network.activity import LayerSummary, activity_dict, summarise, total
from tandem_hw.network.recording import Recording
from tandem_hw.network.saturation import saturation_lines, summarise_saturation, uncounted_lines
from tandem_hw.report.plots import check_plot, write_plot
from tandem_hw.sim.backend import require_available
from tandem_hw.sim.registry import BACKENDS


@click.command("simulate")
@network_argument
@data_option
@click.option(
    "--backend", type=click.Choice(list(BACKENDS)), default="reference", show_default=True
)
@samples_option
@click.option(
    "--recording",
    "recording_path",
    type=click.Path(path_type=Path),
    help="Write spike counts, potentials and predictions as npz.",
)
@click.option(
    "--final-states",
    is_flag=True,
    help="Keep the state of every neuron at the window's end in the recording as well.",
)
@json_option
@click.option(
    "--plot",
    "plot_path",
    type=click.Path(path_type=Path),
    help="Draw the results and each layer's spike rate as PNG; this needs matplotlib.",
)
@device_option
@lava_options
def command(
    network_path: Path,
    data: str,
    backend: str,
    samples: int | None,
    recording_path: Path | None,
    final_states: bool,
    json_path: Path | None,
    plot_path: Path | None,
    device: str,
    **lava: Any,
) -> None:
    """Run NET on a backend and show how good it is, its spikes and its synaptic operations.

    The data tell what it is judged by: accuracy with labels, mean squared error with real targets,
    and against the image itself where it puts out as many values.
    """
    check_outputs(recording_path, json_path, plot_path, inputs=[network_path], data=data)
    if plot_path is not None:
        check_plot(plot_path)
    if final_states and recording_path is None:
        raise TandemError("--final-states keeps states in a recording; give --recording too")
    runner = backend_from_options(backend, lava, device)
    require_available(runner)
    network = read_network(network_path)
    runner.check_network(network)
    given = load_samples(network, data, samples)
    with progress_bars() as progress:
        recording = runner.run(
            network,
            given.inputs,
            given.labels,
            follow(progress, backend),
            keep_final_state=final_states,
        )
    if recording_path is not None:
        recording.save(recording_path)
    layers = summarise(network, recording)
    metrics = given.measure(network, recording)
    judged = {"objective": given.objective.name, **for_json(metrics)}
    saturation = summarise_saturation(network, [recording])
    write_json(
        {
            **_describe(recording, layers, judged),
            "saturation": [asdict(layer) for layer in saturation],
        },
        json_path,
    )
    if plot_path is not None:
        write_plot(network, recording, given.objective.name, given.wanted, plot_path)
    console = make_console()
    console.print(activity_table(layers, f"{len(recording)} samples on {backend}"))
    lines = saturation_lines(saturation) if saturation else uncounted_lines(network, backend)
    warn(console, lines)
    console.print(f"{shown_together(metrics)}, {_last_line(recording, layers)}")


def _describe(
    recording: Recording, layers: Sequence[LayerSummary], judged: dict[str, Any]
) -> dict[str, Any]:
    """Return what a recording amounts to as plain data."""
    return {
        "backend": recording.backend,
        "samples": len(recording),
        "network_digest": recording.network_digest,
        **judged,
        **activity_dict(layers),
        "seconds": recording.seconds,
        "samples_per_second": len(recording) / recording.seconds,
    }


def _last_line(recording: Recording, layers: Sequence[LayerSummary]) -> str:
    totals = total(layers)
    return (
        f"{totals.synops_per_sample:.0f} SynOps a sample, {totals.synops_per_mac:.2f} of "
        f"the ordinary network's {totals.macs_per_sample} MACs; {recording.seconds:.2f} s "
        f"({len(recording) / recording.seconds:.0f} samples a second)"
    )


def activity_table(layers: Sequence[LayerSummary], title: str) -> Table:
    """Return a table of spikes, rates and operations for the terminal."""
    table = Table(title=title)
    for name in (
        "layer",
        "neurons",
        "spikes",
        "spike rate",
        "SynOps a sample",
        "MACs",
        "SynOps/MACs",
    ):
        table.add_column(name, justify="left" if name == "layer" else "right")
    for layer in layers:
        table.add_row(
            layer.name,
            str(layer.neurons),
            "readout" if layer.spikes is None else str(layer.spikes),
            "" if layer.spike_rate is None else f"{layer.spike_rate:.4f}",
            f"{layer.synops_per_sample:.0f}",
            str(layer.macs),
            f"{layer.synops_per_sample / layer.macs:.2f}",
        )
    return table
