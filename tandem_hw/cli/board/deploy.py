"""``tandem-hw deploy``: run a .net file on a Loihi 2 board.

Nothing here imports PyTorch before a board is known to be within reach, so that the answer comes at
once where there is none.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tandem_hw.cli.board.options import board_options
from tandem_hw.cli.look.options import report_options, wanted_report
from tandem_hw.cli.options import (
    FiniteRange,
    OutputPath,
    check_outputs,
    data_option,
    json_option,
    load_network,
    network_argument,
    samples_option,
    write_json,
)
from tandem_hw.cli.output.written_files import overwrite_option, written_lines
from tandem_hw.cli.process.exit_status import EXIT_MISMATCH
from tandem_hw.counted import counted
from tandem_hw.sim.loihi2.host import PROFILES
from tandem_hw.version import installed_version, package_versions

if TYPE_CHECKING:
    from tandem_hw.network.quantized import QuantizedNetwork
    from tandem_hw.network.recording import Recording
    from tandem_hw.sim.loihi2.backend import Loihi2Backend
    from tandem_hw.verification.step import VerificationReport


@click.command("deploy")
@network_argument
@data_option
@board_options
@samples_option
@click.option("--verify", is_flag=True, help="Compare every count with the reference backend.")
@click.option(
    "--recording",
    "recording_path",
    type=OutputPath(".npz"),
    help="Write spike counts, potentials and predictions as npz.",
)
@json_option
@report_options
@overwrite_option
@click.option(
    "--period",
    type=click.IntRange(min=1),
    help="Steps from one sample to the next, a power of two (default: the shortest legal).",
)
@click.option(
    "--profile",
    type=click.Choice(PROFILES),
    help="Measure the time of a step or the power (not both: one distorts the other), and the "
    "cores in use.",
)
@click.option(
    "--compile-timeout",
    type=FiniteRange(min=1),
    default=1800.0,
    show_default=True,
    help="Seconds that compiling may take.",
)
@click.option(
    "--run-timeout",
    type=FiniteRange(min=1),
    default=1800.0,
    show_default=True,
    help="Seconds that the run may take, waiting for a board included.",
)
@click.option(
    "--failure-folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the report and the log of a run that fails there [default: "
    "deploy-failure-DATE-TIME].",
)
def command(
    network_path: Path,
    data: str,
    samples: int | None,
    verify: bool,
    recording_path: Path | None,
    json_path: Path | None,
    report: Path | None,
    report_sample: int | None,
    **board: Any,
) -> None:
    """Run NET on a Loihi 2 board and show what it did; this needs lava-loihi and a board.

    Name the board by --partition, --board or --host. The exit status is 0 if it ran (and agrees,
    with --verify), 1 if it differs from the reference, 2 on an error. docs/loihi2.md tells how to
    begin.
    """
    # These need NumPy and h5py, but no PyTorch.
    from tandem_hw.sim.backend import require_available
    from tandem_hw.sim.loihi2.backend import Loihi2Backend
    from tandem_hw.sim.loihi2.failure import default_folder

    board["failure_folder"] = board["failure_folder"] or default_folder()
    runner = Loihi2Backend(**board)
    require_available(runner)
    # What follows needs PyTorch, whose import takes seconds.
    from tandem_hw.cli.metrics import for_json
    from tandem_hw.cli.terminal import follow, make_console, progress_bars
    from tandem_hw.cli.work.samples import load_samples
    from tandem_hw.sim.reference import ReferenceBackend
    from tandem_hw.verification.step import compare

    check_outputs(recording_path, json_path, report, inputs=[network_path], data=data)
    wanted = wanted_report(report, report_sample)
    network = load_network(network_path)
    runner.check_network(network)
    given = load_samples(network, data, samples)
    if wanted is not None and wanted.sample is not None:
        given.require_sample(wanted.sample, data)
    with progress_bars() as progress:
        recording = runner.run(network, given.inputs, given.labels, follow(progress, runner.name))
    if recording_path is not None:
        recording.save(recording_path)
    recordings, compared = [recording], None
    if verify:
        recordings.insert(0, ReferenceBackend().run(network, given.inputs, given.labels))
        compared = compare(network, recordings)
    metrics = {found.backend: given.measure(network, found) for found in recordings}
    judged = {"objective": given.objective.name, **for_json(metrics[runner.name])}
    write_json({**describe(runner, network, recording, compared), **judged}, json_path)
    if wanted is not None:
        from tandem_hw.cli.work.look.pages import write_board_report

        runners = [ReferenceBackend(), runner][-len(recordings) :]
        write_board_report(wanted, network, given, recordings, metrics, compared, runners)
    _show(runner, network, recording, compared, metrics)
    for line in written_lines(recording_path, json_path, report):
        make_console().print(line)
    if compared is not None and not compared.match:
        raise click.exceptions.Exit(EXIT_MISMATCH)


def describe(
    runner: Loihi2Backend,
    network: QuantizedNetwork,
    recording: Recording,
    report: VerificationReport | None,
) -> dict[str, Any]:
    """Return what a run on a board amounts to as plain data.

    Args:
        runner: the backend.
        network: what ran.
        recording: what came back.
        report: the comparison with the reference, where one was made.
    """
    from tandem_hw.cli.work.budget_tables import estimate_of_run
    from tandem_hw.network.activity import activity_dict, summarise

    return {
        "backend": runner.name,
        "board": runner.choice.named,
        "loihi_gen": runner.choice.loihi_gen,
        "samples": len(recording),
        "network_digest": recording.network_digest,
        "measured": dict(recording.extra),
        "estimated": estimate_of_run(network, recording)[0],
        **activity_dict(summarise(network, recording)),
        "seconds": recording.seconds,
        "tandem_hw": installed_version(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "verification": None if report is None else report.to_dict(),
    }


def _show(
    runner: Loihi2Backend,
    network: QuantizedNetwork,
    recording: Recording,
    report: VerificationReport | None,
    metrics: Mapping[str, Mapping[str, float]],
) -> None:
    from tandem_hw.cli.metrics import shown_together
    from tandem_hw.cli.terminal import make_console
    from tandem_hw.cli.work.run_tables import activity_table, show_report
    from tandem_hw.network.activity import summarise

    console = make_console()
    title = f"{counted(len(recording), 'sample')} on {runner.name} ({runner.choice})"
    console.print(activity_table(summarise(network, recording), title))
    measured = dict(recording.extra)
    profile = measured.pop("profile", {})
    for name, value in {**measured, **profile}.items():
        console.print(f"{name.replace('_', ' ')}: {value}")
    if report is not None:
        show_report(report, metrics)
    else:
        console.print(shown_together(metrics[runner.name]))
