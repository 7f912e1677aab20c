"""``tandem-hw conformance``: does a backend give what the oracle gives, case by case?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tandem_hw.cli.board.options import BOARD, board_options
from tandem_hw.cli.options import (
    check_device,
    check_outputs,
    device_option,
    json_option,
    write_json,
)
from tandem_hw.cli.output.written_files import overwrite_option, written_lines
from tandem_hw.cli.process.exit_status import EXIT_MISMATCH
from tandem_hw.counted import counted
from tandem_hw.sim.registry import BACKENDS, make_backend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tandem_hw.conformance.suite import BackendMaker, Outcome


@click.command("conformance")
@click.option(
    "--backend", type=click.Choice(list(BACKENDS)), required=True, help="The backend under test."
)
@click.option("-k", "part_of_name", default="", help="Only cases that have this in their name.")
@click.option("--fail-fast", is_flag=True, help="Stop behind the first case that fails.")
@click.option("--list", "only_list", is_flag=True, help="Show the names of the cases, run none.")
@json_option
@overwrite_option
@device_option
@board_options
def command(
    backend: str,
    part_of_name: str,
    fail_fast: bool,
    only_list: bool,
    json_path: Path | None,
    device: str,
    **board: Any,
) -> None:
    """Run the conformance suite on a backend: every count, potential, state and weight.

    Small networks of every kind are judged by an oracle in plain Python integers. A case passes,
    fails, or is refused with a reason by a backend that cannot run it exactly. The report that
    --json writes is a file to send. For loihi2 name the board by --partition, --board or --host.

    The exit status is 0 if no case failed, 1 if one did, 2 on an error.
    """
    check_outputs(json_path)
    # These need NumPy, and some PyTorch, whose import takes seconds.
    from tandem_hw.cli.terminal import make_console
    from tandem_hw.conformance.suite import cases_of, count, describe, run_suite
    from tandem_hw.sim.backend import require_available

    make = _maker(backend, device, {name: board[name] for name in BOARD})
    chosen = cases_of(backend, part_of_name)
    console = make_console()
    if only_list:
        for case in chosen:
            console.print(case.name)
        return
    require_available(make())
    console.print(f"{counted(len(chosen), 'case')} on {backend}")
    outcomes: list[Outcome] = []
    is_estimated = False
    for outcome in run_suite(make, chosen, fail_fast=fail_fast):
        outcomes.append(outcome)
        if outcome.outcome != "refused" and not is_estimated:
            console.print(_estimate(len(chosen) - len(outcomes), outcome.seconds))
            is_estimated = True
        if outcome.outcome != "passed":
            console.print(f"{outcome.outcome}: {outcome.name}: {outcome.reason}")
    write_json(describe(backend, chosen, outcomes), json_path)
    console.print(_last_line(backend, len(chosen), outcomes, count(outcomes)))
    for line in written_lines(json_path):
        console.print(line)
    if count(outcomes)["failed"]:
        raise click.exceptions.Exit(EXIT_MISMATCH)


def _maker(backend: str, device: str, board: dict[str, Any]) -> BackendMaker:
    """Return what makes the backend with those of the options that it takes."""
    options: dict[str, Any] = {}
    if backend == "loihi2":
        options = board
    elif backend == "reference":
        check_device(device)
        options = {"device": device}
    return lambda **period: make_backend(backend, **options, **period)


def _estimate(cases: int, first: float) -> str:
    """Say how long the other cases will take, going by the first one that ran."""
    return f"about {cases * first:.0f} s or less, going by the first case that ran ({first:.2f} s)"


def _last_line(
    backend: str, cases: int, outcomes: Sequence[Outcome], counts: dict[str, int]
) -> str:
    told = ", ".join(f"{number} {word}" for word, number in counts.items())
    left = cases - len(outcomes)
    return f"{backend}: {told}{f', {left} not run' if left else ''}"
