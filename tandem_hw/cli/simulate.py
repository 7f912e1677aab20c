"""``tandem-hw simulate``: run a .net file on one backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from tandem_hw.cli.options import (
    backend_from_options,
    check_lava_options,
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
from tandem_hw.network import QuantizedNetwork
from tandem_hw.recording import Recording
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
@json_option
@device_option
@lava_options
def command(
    network_path: Path,
    data: str,
    backend: str,
    samples: int | None,
    recording_path: Path | None,
    json_path: Path | None,
    device: str,
    **lava: Any,
) -> None:
    """Run NET on a backend and show accuracy, spikes and synaptic operations."""
    check_outputs(recording_path, json_path, inputs=[network_path])
    runner = backend_from_options(backend, lava, device)
    require_available(runner)
    network = read_net(network_path)
    check_lava_options(network, [backend], lava["period"])
    inputs, labels = load_samples(network, data, samples)
    with progress_bars() as progress:
        recording = runner.run(network, inputs, labels, follow(progress, backend))
    if recording_path is not None:
        recording.save(recording_path)
    summary = summarise(network, recording)
    write_json(summary, json_path)
    _show(summary)


def summarise(network: QuantizedNetwork, recording: Recording) -> dict[str, Any]:
    """Return what a recording amounts to as plain data."""
    samples = len(recording)
    layers = []
    for layer in network:
        counts = recording.counts.get(layer.name)
        spikes = None if counts is None else int(counts.sum(dtype="int64"))
        slots = samples * layer.neurons * network.num_steps
        layers.append(
            {
                "name": layer.name,
                "neurons": layer.neurons,
                "spikes": spikes,
                "spike_rate": None if spikes is None else spikes / slots,
                "synops_per_sample": float(recording.synops[layer.name].mean()),
            }
        )
    return {
        "backend": recording.backend,
        "samples": samples,
        "network_digest": recording.network_digest,
        "accuracy": recording.accuracy,
        "layers": layers,
        "synops_per_sample": recording.synops_per_sample,
        "seconds": recording.seconds,
        "samples_per_second": samples / recording.seconds,
    }


def _show(summary: dict[str, Any]) -> None:
    table = Table(title=f"{summary['samples']} samples on {summary['backend']}")
    for name in ("layer", "neurons", "spikes", "spike rate", "SynOps a sample"):
        table.add_column(name, justify="left" if name == "layer" else "right")
    for layer in summary["layers"]:
        fires = layer["spikes"] is not None
        table.add_row(
            layer["name"],
            str(layer["neurons"]),
            str(layer["spikes"]) if fires else "readout",
            f"{layer['spike_rate']:.4f}" if fires else "",
            f"{layer['synops_per_sample']:.0f}",
        )
    console = make_console()
    console.print(table)
    console.print(
        f"accuracy {summary['accuracy']:.2%}, {summary['synops_per_sample']:.0f} SynOps a sample, "
        f"{summary['seconds']:.2f} s ({summary['samples_per_second']:.0f} samples a second)",
    )
