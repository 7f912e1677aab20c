"""A network on several backends: run, compared, written and shown."""

from __future__ import annotations

from pathlib import Path

from tandem_hw.cli.look.options import WantedReport
from tandem_hw.cli.options import write_json
from tandem_hw.cli.terminal import follow, progress_bars
from tandem_hw.cli.work.look.pages import check_report_sample, write_verification_report
from tandem_hw.cli.work.run_tables import describe_report, show_report
from tandem_hw.cli.work.samples import load_samples
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.report.page.agreement import CountPairs
from tandem_hw.sim.backend import Backend, require_available
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.verification.step import run_and_compare


def verify(
    network: QuantizedNetwork,
    runners: list[Backend],
    checkpoint: Path | None,
    data: str,
    samples: int | None,
    json_path: Path | None,
    wanted: WantedReport | None = None,
) -> bool:
    """Run the test part of a data set on all backends, and show and write how they compare.

    Args:
        network: what runs.
        runners: where; the first is the measure.
        checkpoint: a trained model that is compared as well, or None.
        data: the data set, as ``load_dataset`` takes it.
        samples: only so many samples; None for all.
        json_path: where the report is written as JSON, or None.
        wanted: where the report for a browser is written, or None.

    Returns:
        Whether everything is equal and every layer fired.

    Raises:
        TandemError: a backend cannot run here, or not this network, or the data do not fit.
    """
    for runner in runners:
        require_available(runner)
    if checkpoint is not None:
        runners = [*runners, PyTorchBackend(load_checkpoint(checkpoint).model)]
    for runner in runners:
        runner.check_network(network)
    given = load_samples(network, data, samples)
    check_report_sample(wanted, given, data)
    pairs = CountPairs(network)
    with progress_bars() as progress:
        bars = {runner.name: follow(progress, runner.name) for runner in runners}
        report, runs = run_and_compare(
            network,
            given.inputs,
            given.labels,
            runners,
            progress=bars,
            observe=None if wanted is None else pairs.add,
        )
    metrics = {run.backend: given.measure(network, run) for run in runs}
    write_json(describe_report(report, given, metrics), json_path)
    if wanted is not None:
        write_verification_report(wanted, network, given, report, runs, metrics, pairs, runners)
    show_report(report, metrics)
    return report.match
