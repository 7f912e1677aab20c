"""``tandem-hw verify``: do the backends agree, spike for spike?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tandem_hw.cli.look.options import report_options, wanted_report
from tandem_hw.cli.options import (
    backend_from_options,
    backend_options,
    check_outputs,
    data_option,
    device_option,
    json_option,
    load_network,
    network_argument,
    samples_option,
)
from tandem_hw.cli.process.exit_status import EXIT_MISMATCH
from tandem_hw.errors import ComparisonRefusedError
from tandem_hw.sim.registry import check_name, default_backends


@click.command("verify")
@network_argument
@data_option
@click.option(
    "--backends",
    help="Backends to compare, separated by commas; the first one is the measure [default: "
    "reference,lava-cpu, and reference,c where Lava is not installed].",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="Compare the trained model's own forward pass as well.",
)
@samples_option
@json_option
@report_options
@device_option
@backend_options
def command(
    network_path: Path,
    data: str,
    backends: str | None,
    checkpoint: Path | None,
    samples: int | None,
    json_path: Path | None,
    report: Path | None,
    report_sample: int | None,
    device: str,
    **options: Any,
) -> None:
    """Run NET on several backends and compare every count, potential, state and weight.

    Spike counts, outputs and synaptic operations of all backends are compared, the states at the
    window's end of those that have them, and the digests of the weights, biases and thresholds that
    they computed with, with those of NET.

    The exit status is 0 if all are equal, 1 if they differ or a layer never fired, 2 on an error.
    """
    check_outputs(json_path, report, inputs=[network_path, checkpoint], data=data)
    backends = ",".join(default_backends()) if backends is None else backends
    names = [name.strip() for name in backends.split(",")]
    if not all(names):
        raise ComparisonRefusedError(
            f'--backends "{backends}" has an empty name; give names with one comma between two'
        )
    for name in names:
        check_name(name)
    wanted = wanted_report(report, report_sample)
    network = load_network(network_path)
    # PyTorch, which is in there, takes seconds; what can be refused without it was refused.
    from tandem_hw.cli.work.verify import verify

    options["device"] = device
    runners = [backend_from_options(name, options) for name in names]
    if not verify(network, runners, checkpoint, data, samples, json_path, wanted):
        raise click.exceptions.Exit(EXIT_MISMATCH)
