"""``tandem-hw doctor``: what works on this machine, and what to do for the rest."""

from __future__ import annotations

from pathlib import Path

import click

from tandem_hw.cli.options import check_outputs, json_option, write_json
from tandem_hw.cli.output.written_files import overwrite_option, written_lines
from tandem_hw.cli.process.exit_status import EXIT_ERROR


@click.command("doctor")
@json_option
@overwrite_option
def command(json_path: Path | None) -> None:
    """Say what works on this machine, and what to do for the rest.

    Every backend that can run here runs a small network, which an oracle in plain Python integers
    judges. The lines are fit to be pasted into a question. The exit status is 0 if the core works:
    Python, PyTorch and the backend reference; 2 if it does not.
    """
    check_outputs(json_path)
    # These import PyTorch and what else there is, which takes seconds.
    from tandem_hw.cli.terminal import make_console
    from tandem_hw.cli.work.machine.findings import Findings, line_of
    from tandem_hw.cli.work.machine.look import look_at_all

    console = make_console()
    findings = Findings()
    section = ""
    for found in look_at_all():
        findings.add(found)
        if found.section != section:
            section = found.section
            console.print(section)
        console.print(line_of(found))
    console.print(findings.verdict)
    write_json(findings.as_dict(), json_path)
    for line in written_lines(json_path):
        console.print(line)
    if not findings.core_works:
        raise click.exceptions.Exit(EXIT_ERROR)
