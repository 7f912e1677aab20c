"""``tandem-hw export``: from a checkpoint to a .net or .nir file of integers."""

from __future__ import annotations

from pathlib import Path

import click

from tandem_hw.chip.budget import chip_budget
from tandem_hw.cli.inspect import layer_table
from tandem_hw.cli.options import check_outputs
from tandem_hw.cli.terminal import make_console, warn
from tandem_hw.errors import FileFormatError, NetworkError
from tandem_hw.export.files import check_name, is_nir, write_network
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.saturation import unproven_lines

simulation_only_option = click.option(
    "--simulation-only", is_flag=True, help="Write a network even if no Loihi 2 board can run it."
)


@click.command("export")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The file to write, .net or .nir."
)
@simulation_only_option
@click.option(
    "--tandem-only",
    is_flag=True,
    help="NIR: write also what only tandem-hw can run, such as reset subtract.",
)
def command(checkpoint: Path, out: Path, simulation_only: bool, tandem_only: bool) -> None:
    """Quantize CHECKPOINT and write it as a .net or .nir file, with bounds of every state."""
    if tandem_only and not is_nir(out):
        raise FileFormatError(f"{out}: --tandem-only is for .nir files; a .net file says it all")
    check_outputs(out, inputs=[checkpoint])
    check_name(out)
    network = freeze(load_checkpoint(checkpoint).model)
    budget = budget_line(network, simulation_only)
    write_network(network, out, tandem_only=tandem_only)
    console = make_console()
    console.print(layer_table(network))
    warn(console, unproven_lines(network))
    console.print(budget)
    console.print(f"wrote {out}")


def budget_line(network: QuantizedNetwork, simulation_only: bool) -> str:
    """Return the chip budget in a line; refuse what no board can run, unless that is not wanted.

    Args:
        network: what is to be written.
        simulation_only: whether it is written for the simulators alone.

    Raises:
        NetworkError: names the layer and the limit.
    """
    try:
        budget = chip_budget(network)
        obstacle = budget.obstacle
    except NetworkError as error:
        obstacle = str(error)
    if obstacle is None:
        return budget.summary
    if not simulation_only:
        raise NetworkError(
            f"{obstacle}; or write it for the simulators alone with --simulation-only"
        )
    return f"for the simulators alone, no Loihi 2 board can run it: {obstacle}"
