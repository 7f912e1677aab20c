"""``tandem-hw export``: from a checkpoint to a .net or .nir file of integers."""

from __future__ import annotations

from pathlib import Path

import click

from tandem_hw.cli.options import OutputPath, check_outputs, simulation_only_option
from tandem_hw.errors import FileFormatError


@click.command("export")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--out", type=OutputPath(), required=True, help="The file to write, .net or .nir.")
@simulation_only_option
@click.option(
    "--tandem-only",
    is_flag=True,
    help="NIR: write also what only tandem-hw can run, such as reset subtract.",
)
def command(checkpoint: Path, out: Path, simulation_only: bool, tandem_only: bool) -> None:
    """Quantize CHECKPOINT and write it as a .net or .nir file, with bounds of every state."""
    # These need NumPy and h5py alone.
    from tandem_hw.export.files import check_name, is_nir, write_network

    if tandem_only and not is_nir(out):
        raise FileFormatError(f"{out}: --tandem-only is for .nir files; a .net file says it all")
    check_outputs(out, inputs=[checkpoint])
    check_name(out)
    # PyTorch, which is in these, takes seconds; what is refused is refused before.
    from tandem_hw.cli.terminal import make_console, warn
    from tandem_hw.cli.work.budget_tables import budget_line
    from tandem_hw.cli.work.network_tables import layer_table
    from tandem_hw.export.freezing import freeze
    from tandem_hw.learning.checkpoint import load_checkpoint
    from tandem_hw.network.saturation import unproven_lines

    network = freeze(load_checkpoint(checkpoint).model)
    budget = budget_line(network, simulation_only)
    write_network(network, out, tandem_only=tandem_only)
    console = make_console()
    console.print(layer_table(network))
    warn(console, unproven_lines(network))
    console.print(budget)
    console.print(f"wrote {out}")
