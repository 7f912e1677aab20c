"""``tandem-hw verify``: do the backends agree, spike for spike?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tandem_hw.cli.completion.values import names_with_commas
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
from tandem_hw.cli.output.written_files import overwrite_option
from tandem_hw.cli.process.exit_status import EXIT_MISMATCH
from tandem_hw.errors import ComparisonRefusedError
from tandem_hw.sim.registry import BACKENDS, check_name


@click.command("verify")
@network_argument
@data_option
@click.option(
    "--backends",
    shell_complete=names_with_commas(BACKENDS),
    help="Backends to compare, separated by commas; the first one is the measure [default: all "
    "that can run NET here, the slow ones on 20 samples].",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="Compare the trained model's own forward pass as well.",
)
@samples_option
@json_option
@report_options
@overwrite_option
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

    Without --backends, all that can run NET on this machine are compared: lava-stock and sana-fe,
    which are slow, on 20 samples, unless --samples says how many; the others on all. What is left
    out is said with the reason.

    The exit status is 0 if all are equal, 1 if they differ or a layer never fired, 2 on an error.
    """
    check_outputs(json_path, report, inputs=[network_path, checkpoint], data=data)
    names = None if backends is None else _names(backends)
    wanted = wanted_report(report, report_sample)
    network = load_network(network_path)
    # PyTorch, which is in there, takes seconds; what can be refused without it was refused.
    from tandem_hw.cli.work.verify import Backends, verify

    options["device"] = device
    if names is None:
        chosen = Backends.all_exact(network, options)
    else:
        chosen = Backends([backend_from_options(name, options) for name in names])
    if not verify(network, chosen, checkpoint, data, samples, json_path, wanted):
        raise click.exceptions.Exit(EXIT_MISMATCH)


def _names(backends: str) -> list[str]:
    """Return the names of backends that there are.

    Raises:
        TandemError: a name is empty, or no backend's.
    """
    names = [name.strip() for name in backends.split(",")]
    if not all(names):
        raise ComparisonRefusedError(
            f'--backends "{backends}" has an empty name; give names with one comma between two'
        )
    for name in names:
        check_name(name)
    return names
