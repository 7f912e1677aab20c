"""``tandem-hw export``: from a checkpoint to a .net, .nir or .c file of integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tandem_hw.cli.completion.values import data_sets, networks
from tandem_hw.cli.options import NetworkPath, OutputPath, check_outputs, simulation_only_option
from tandem_hw.cli.output.written_files import overwrite_option
from tandem_hw.data.catalogue import KNOWN_SPECS
from tandem_hw.errors import FileFormatError
from tandem_hw.export.c99.written_files import is_c, written_paths


@click.command("export")
@click.argument("checkpoint", type=NetworkPath(), shell_complete=networks)
@click.option(
    "--out",
    type=OutputPath(),
    required=True,
    help="The file to write, .net, .nir or .c (with a header .h beside it).",
)
@overwrite_option
@simulation_only_option
@click.option(
    "--tandem-only",
    is_flag=True,
    help="NIR: write also what only tandem-hw can run, such as reset subtract.",
)
@click.option(
    "--soft-reset",
    is_flag=True,
    help="NIR: write reset subtract by a key that a reader has to know; others reset to zero.",
)
@click.option(
    "--self-test",
    "test_samples",
    type=click.IntRange(min=1),
    metavar="N",
    help="C: embed N samples with their results, and a main that compares them.",
)
@click.option(
    "--data",
    shell_complete=data_sets,
    help=f"C: take the samples of the self-test from the test part of a data set (default: random "
    f"integers). Data set: {', '.join(KNOWN_SPECS)}; its first samples.",
)
def command(
    checkpoint: Path,
    out: Path,
    tandem_only: bool,
    soft_reset: bool,
    test_samples: int | None,
    **options: Any,
) -> None:
    """Quantize CHECKPOINT and write it as a .net, .nir or .c file, with bounds of every state.

    CHECKPOINT may be a .net or .nir file as well, or example:NAME.
    """
    check_outputs(*written_paths(out), inputs=[checkpoint], data=options["data"])
    from tandem_hw.export.files import check_name, is_nir  # needs NumPy and h5py alone

    if tandem_only and not is_nir(out):
        raise FileFormatError(f"{out}: --tandem-only is for .nir files; a .net file says it all")
    if soft_reset and not is_nir(out):
        raise FileFormatError(f"{out}: --soft-reset is for .nir files; other files say every reset")
    if soft_reset and tandem_only:
        raise FileFormatError(
            f"{out}: --soft-reset is for other programs, --tandem-only for none; give one of them"
        )
    for option, value in (("--self-test", test_samples), ("--data", options["data"])):
        if value is not None and not is_c(out):
            raise FileFormatError(f"{out}: {option} is for .c files; give --out such a name")
    if options["data"] is not None and test_samples is None:
        raise FileFormatError(f"{out}: --data is for a self-test; give --self-test N as well")
    check_name(out)
    # PyTorch, which is in there, takes seconds; what is refused is refused before.
    from tandem_hw.cli.work.export import export

    export(
        checkpoint,
        out,
        tandem_only=tandem_only,
        soft_reset=soft_reset,
        test_samples=test_samples,
        **options,
    )
