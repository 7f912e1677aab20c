"""``tandem-hw report``: a training's folder as one page."""

from __future__ import annotations

from pathlib import Path

import click

from tandem_hw.cli.completion.values import data_sets
from tandem_hw.cli.look.options import report_sample_option, wanted_report
from tandem_hw.cli.options import OutputPath, check_outputs, samples_option
from tandem_hw.cli.output.written_files import overwrite_option, written_lines
from tandem_hw.data.catalogue import KNOWN_SPECS
from tandem_hw.training.run_files import FILE_NAMES

#: Files of other commands that the page takes in where they lie in the folder.
FURTHER_NAMES = ("simulate.json", "verify.json")


@click.command("report")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=OutputPath(),
    help="Where to write, an .html file [default: report.html in the folder].",
)
@click.option(
    "--data",
    shell_complete=data_sets,
    help=f"Data set: {', '.join(KNOWN_SPECS)}; its test part is run on the reference [default: "
    "what it was trained on].",
)
@samples_option
@report_sample_option
@overwrite_option
def command(
    folder: Path,
    out: Path | None,
    data: str | None,
    samples: int | None,
    report_sample: int | None,
) -> None:
    """Write a report of the training in FOLDER, as one HTML file for a browser.

    It has the curves of the training, and what the network does with the test samples on the
    reference. What simulate --json and verify --json wrote into the folder as simulate.json and
    verify.json is shown as well.
    """
    from tandem_hw.cli.work.look.run_folder import read_run_folder

    found = read_run_folder(folder)
    path = out or folder / "report.html"
    files = [folder / name for name in (*FILE_NAMES, *FURTHER_NAMES)]
    check_outputs(path, inputs=files, data=data or found.data)
    wanted = wanted_report(path, report_sample)
    # PyTorch, which is in there, takes seconds; what can be refused without it was refused.
    from tandem_hw.cli.terminal import make_console
    from tandem_hw.cli.work.look.folder_page import write_folder_report

    assert wanted is not None  # it has a path
    write_folder_report(wanted, folder, data, samples)
    for line in written_lines(path):
        make_console().print(line)
