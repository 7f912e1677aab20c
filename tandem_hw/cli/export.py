"""``tandem-hw export``: from a checkpoint to a .net file of integers."""

from __future__ import annotations

from pathlib import Path

import click

from tandem_hw.cli.inspect import layer_table
from tandem_hw.cli.options import check_outputs
from tandem_hw.cli.terminal import make_console
from tandem_hw.export.freezing import freeze
from tandem_hw.export.net_file import write_net
from tandem_hw.learning.checkpoint import load_checkpoint


@click.command("export")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The .net file to write."
)
def command(checkpoint: Path, out: Path) -> None:
    """Quantize CHECKPOINT and write it as a .net file, with proven bounds of every state."""
    check_outputs(out, inputs=[checkpoint])
    network = freeze(load_checkpoint(checkpoint).model)
    write_net(network, out)
    console = make_console()
    console.print(layer_table(network))
    console.print(f"wrote {out}")
