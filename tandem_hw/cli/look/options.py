"""The options of a report, for every command that can write one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tandem_hw.cli.options import OutputPath
from tandem_hw.errors import TandemError

report_option = click.option(
    "--report",
    type=OutputPath(".html"),
    help="Write a report as one HTML file, for a browser; this needs jinja2 and matplotlib.",
)
report_sample_option = click.option(
    "--report-sample",
    type=click.IntRange(min=0),
    help="The sample that the report shows step by step, from 0 (default: the one of the first "
    "difference, otherwise 0).",
)


@dataclass(frozen=True)
class WantedReport:
    """A report that is asked for.

    Attributes:
        path: where it is written.
        sample: the sample that is shown step by step, or None for one that is chosen by rule.
        command: the name of the command.
        options: names and values of all arguments and options that the command was given or has.
    """

    path: Path
    sample: int | None
    command: str
    options: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """What the report is about: the first argument, or else the command."""
        return next((value for name, value in self.options if name[0] != "-"), self.command)


def report_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add both options of a report."""
    return report_option(report_sample_option(command))


def wanted_report(path: Path | None, sample: int | None = None) -> WantedReport | None:
    """Return the report that the command that runs is asked for; refuse one before any work.

    Args:
        path: of ``--report``.
        sample: of ``--report-sample``.

    Raises:
        FileFormatError: the path does not end in .html.
        BackendUnavailableError: a package is missing.
        TandemError: a sample is named for no report.
    """
    if path is None:
        if sample is not None:
            raise TandemError("--report-sample names what a report shows; give --report too")
        return None
    from tandem_hw.report.page.require import require_report  # needs NumPy

    require_report(path)
    context = click.get_current_context()
    given = [
        (_name(parameter), str(value))
        for parameter in context.command.params
        for value in [context.params.get(parameter.name or "")]
        if value is not None and value is not False
    ]
    return WantedReport(path, sample, context.info_name or "", tuple(given))


def _name(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Option):
        return max(parameter.opts, key=len)
    return parameter.human_readable_name.upper()
