"""``tandem-hw examples``: the networks that come with the package, and what to try on them."""

from __future__ import annotations

from pathlib import Path

import click

from tandem_hw.atomic_write import require_writable, write_whole
from tandem_hw.cli.metrics import shown_together
from tandem_hw.cli.output.written_files import overwrite_option, require_free, written_lines
from tandem_hw.examples.catalogue import EXAMPLES, Example, read_record


@click.command("examples")
@click.option(
    "--copy",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Copy the files into a folder, which is made if it is not there.",
)
@overwrite_option
def command(folder: Path | None) -> None:
    """List the trained networks that come with tandem-hw.

    Where a command takes NET, example:NAME stands for the file of one of them.
    """
    from tandem_hw.cli.terminal import make_console  # rich, whose import takes some time

    console = make_console()
    if folder is not None:
        for line in written_lines(*copy(folder)):
            console.print(line)
        return
    record = read_record()
    for example in EXAMPLES.values():
        measured = shown_together(record[example.name]["metrics"])
        console.print(f"{example.spec}: {example.purpose}; {measured}")
        for line in lines_to_try(example):
            console.print(f"    tandem-hw {line}")


def lines_to_try(example: Example) -> list[str]:
    """Return the arguments of commands to try on an example."""
    data = f"--data {example.data}"
    return [
        f"inspect {example.spec} --chip",
        f"simulate {example.spec} {data}",
        f"verify {example.spec} {data} --samples 20",
        f"export {example.spec} --out {example.name.replace('-', '_')}.c",
    ]


def copy(folder: Path) -> list[Path]:
    """Copy the files of all examples.

    Args:
        folder: where to; it is made if it is not there.

    Returns:
        The files.

    Raises:
        FileFormatError: a file is there already and may not be replaced, or cannot be written.
    """
    targets = {folder / example.path.name: example.path for example in EXAMPLES.values()}
    for target in targets:  # all or none
        require_free(target)
        require_writable(target)
    for target, source in targets.items():
        write_whole(target, source.read_bytes())
    return list(targets)
