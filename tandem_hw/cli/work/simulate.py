"""A run on one backend: simulated, judged, written and shown."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tandem_hw.cli.look.options import WantedReport
from tandem_hw.cli.metrics import for_json, shown_together
from tandem_hw.cli.options import write_json
from tandem_hw.cli.output.written_files import written_lines
from tandem_hw.cli.terminal import follow, make_console, progress_bars, warn
from tandem_hw.cli.work.arithmetic_tables import describe_ways
from tandem_hw.cli.work.budget_tables import estimate_of_run
from tandem_hw.cli.work.early_exit import early_exit_tables, judge_early_exits
from tandem_hw.cli.work.look.pages import check_report_sample, write_simulation_report
from tandem_hw.cli.work.run_tables import (
    CONFUSION_SHOWN_MAX,
    activity_table,
    confusion,
    confusion_table,
    describe_run,
    last_line,
    modelled_line,
)
from tandem_hw.cli.work.samples import Samples, load_samples
from tandem_hw.counted import counted
from tandem_hw.network.activity import summarise
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.saturation import saturation_lines, summarise_saturation, uncounted_lines
from tandem_hw.npz_in_parts import npz_in_parts
from tandem_hw.report.plots import write_plot
from tandem_hw.sim.backend import Backend, require_available
from tandem_hw.sim.early_exit import check_early_exit
from tandem_hw.sim.run_summary import RunSummary, RunTally


@dataclass(frozen=True)
class Results:
    """What a run leaves beside what it shows.

    Attributes:
        recording: an npz file, or None.
        final_states: keep the states at the window's end in it.
        json: a JSON file, or None.
        plot: a PNG file, or None.
        early_exit: margins at which samples end early, "curve" for some, or None for whole windows.
        device: where the readout of each step is computed then.
        report: a report, or None.
    """

    recording: Path | None
    final_states: bool
    json: Path | None
    plot: Path | None
    early_exit: tuple[float, ...] | str | None = None
    device: str = "cpu"
    report: WantedReport | None = None


def simulate(
    network: QuantizedNetwork, runner: Backend, data: str, samples: int | None, wanted: Results
) -> None:
    """Run the test part of a data set, and show and write what came out.

    Args:
        network: what runs.
        runner: where.
        data: the data set, as ``load_dataset`` takes it.
        samples: only so many samples; None for all.
        wanted: the files.

    Raises:
        TandemError: the backend cannot run here, or not this network, or the data do not fit.
    """
    require_available(runner)
    runner.check_network(network)
    given = load_samples(network, data, samples)
    check_report_sample(wanted.report, given, data)
    if wanted.early_exit is not None:
        check_early_exit(network, runner, given.objective.name)
    run = run_samples(network, runner, given, wanted.recording, final_states=wanted.final_states)
    layers = summarise(network, run)
    metrics = given.measure(network, run)
    judged = {"objective": given.objective.name, **for_json(metrics)}
    saturation = summarise_saturation(network, [run])
    early = _early_exits(network, given, run, wanted)
    confused = confusion(network, run, given)
    estimate, estimate_lines = estimate_of_run(network, run)
    modelled = run.extra.get("modelled")
    write_json(
        {
            **describe_run(run, layers, judged),
            "num_steps": network.num_steps,
            "firing_delay": network.firing_delay,
            "saturation": [asdict(layer) for layer in saturation],
            "arithmetic": describe_ways(),
            "chip": estimate,
            **({} if confused is None else {"confusion": confused}),
            **({} if early is None else {"early_exit": early}),
            **({} if modelled is None else {"modelled": modelled}),
        },
        wanted.json,
    )
    if wanted.plot is not None:
        write_plot(network, run, given.objective.name, given.wanted.values, wanted.plot)
    if wanted.report is not None:
        write_simulation_report(wanted.report, network, given, run, layers, metrics)
    console = make_console()
    console.print(activity_table(layers, f"{counted(len(run), 'sample')} on {runner.name}"))
    lines = saturation_lines(saturation) if saturation else uncounted_lines(network, runner.name)
    warn(console, lines)
    if given.class_names(network) and confused and network.outputs <= CONFUSION_SHOWN_MAX:
        console.print(confusion_table(confused))
    console.print(f"{shown_together(metrics)}, {last_line(run, layers)}")
    for line in estimate_lines:
        console.print(line)
    if modelled is not None:
        console.print(modelled_line(modelled))
    for table in [] if early is None else early_exit_tables(early):
        console.print(table)
    page = None if wanted.report is None else wanted.report.path
    for line in written_lines(wanted.recording, wanted.json, wanted.plot, page):
        console.print(line)


def _early_exits(
    network: QuantizedNetwork, given: Samples, run: RunSummary, wanted: Results
) -> dict[str, Any] | None:
    if wanted.early_exit is None:
        return None
    margins = None if isinstance(wanted.early_exit, str) else wanted.early_exit
    return judge_early_exits(network, given, run, margins, wanted.device)


def run_samples(
    network: QuantizedNetwork,
    runner: Backend,
    given: Samples,
    recording: Path | None = None,
    *,
    final_states: bool = False,
) -> RunSummary:
    """Run all samples, and write the recording, of which only a part is ever in memory.

    Args:
        network: what runs.
        runner: where.
        given: the samples.
        recording: an npz file, or None.
        final_states: keep the states at the window's end in it.
    """
    with ExitStack() as stack:
        file = None
        if recording is not None:
            file = stack.enter_context(npz_in_parts(recording))
        progress = stack.enter_context(progress_bars())
        parts = stack.enter_context(
            closing(
                runner.run_in_parts(
                    network,
                    given.inputs,
                    given.labels,
                    follow(progress, runner.name),
                    keep_final_state=final_states,
                )
            )
        )
        tally = RunTally(len(given.inputs))
        for part in parts:
            tally.add(part)
            if file is not None:
                file.add(part.arrays())
            del part  # or two parts would be there while the next one is made
    return tally.summary()
