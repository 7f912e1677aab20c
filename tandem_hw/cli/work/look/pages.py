"""The reports of the commands: which sections each has, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tandem_hw.cli.look.options import WantedReport
from tandem_hw.cli.metrics import shown_together
from tandem_hw.cli.work.look.run_sections import (
    activity_section,
    chip_section_of_run,
    judgement_section,
    measured_section,
    run_figures,
    sample_section,
)
from tandem_hw.cli.work.look.sections import network_section, page_table, provenance_section
from tandem_hw.cli.work.run_tables import comparison_table, what_was_compared
from tandem_hw.cli.work.samples import Samples
from tandem_hw.counted import counted
from tandem_hw.network.activity import LayerSummary, summarise
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import Recording, RunResults
from tandem_hw.network.saturation import saturation_lines, summarise_saturation
from tandem_hw.report.page.agreement import CountPairs
from tandem_hw.report.page.content import Figure, Page, Section, Verdict
from tandem_hw.report.page.page import write_page
from tandem_hw.sim.backend import Backend, input_digest
from tandem_hw.verification.step import VerificationReport


def write_simulation_report(
    wanted: WantedReport,
    network: QuantizedNetwork,
    given: Samples,
    run: RunResults,
    layers: Sequence[LayerSummary],
    metrics: Mapping[str, float],
) -> None:
    """Write the report of ``simulate``.

    Args:
        wanted: where, and with what.
        network: what ran.
        given: the samples.
        run: what came out.
        layers: what its layers did.
        metrics: how good it was.
    """
    page = Page(
        f"{wanted.name} on {run.backend}",
        wanted.command,
        [_run_verdict(run, metrics), *saturation_verdicts(network, [run])],
        run_figures(run, layers, metrics),
        [
            judgement_section(network, given, run),
            activity_section(network, [run], layers),
            sample_section(network, given, wanted.sample),
            chip_section_of_run(network, run),
            network_section(network),
            provenance_section(wanted.options, digests(network, given)),
        ],
    )
    write_page(page, wanted.path)


def write_verification_report(
    wanted: WantedReport,
    network: QuantizedNetwork,
    given: Samples,
    report: VerificationReport,
    runs: Sequence[RunResults],
    metrics: Mapping[str, Mapping[str, float]],
    pairs: CountPairs,
    runners: Sequence[Backend],
    measured: Section | None = None,
    everything: Samples | None = None,
    others: Sequence[VerificationReport] = (),
) -> None:
    """Write the report of ``verify``, or of ``deploy --verify``.

    Args:
        wanted: where, and with what.
        network: what ran.
        given: the samples.
        report: the comparison.
        runs: what came out of each backend, in their order.
        metrics: per backend, how good it was.
        pairs: the spike counts of the first two.
        runners: the backends, in their order.
        measured: what a board measured, or None.
        everything: all samples, where these are some of them.
        others: further comparisons, on other samples, of which the verdict is told.
    """
    layers, first = report.activity, runs[0]
    page = Page(
        f"{wanted.name} on {', '.join(report.backends)}",
        wanted.command,
        [
            *(one for found in (report, *others) for one in comparison_verdicts(found)),
            *saturation_verdicts(network, runs),
            *(
                Verdict("neutral", f"{name}: {shown_together(metrics[name])}")
                for name in report.backends
            ),
        ],
        [
            Figure(str(report.samples), "samples compared"),
            Figure(str(sum(layer.mismatched for layer in report.layers)), "counts that differ"),
            *run_figures(first, layers, metrics[first.backend]),
        ],
        [
            Section(
                "agreement",
                "Backends against each other",
                [f"Besides counts and outputs: {what_was_compared(report)}."],
                tables=[page_table(comparison_table(report))],
                pictures=pairs.pictures(),
            ),
            sample_section(network, everything or given, wanted.sample, report, runners),
            judgement_section(network, given, first),
            activity_section(network, runs, layers),
            *([] if measured is None else [measured]),
            chip_section_of_run(network, first),
            network_section(network),
            provenance_section(wanted.options, digests(network, given)),
        ],
    )
    write_page(page, wanted.path)


def write_board_report(
    wanted: WantedReport,
    network: QuantizedNetwork,
    given: Samples,
    recordings: Sequence[Recording],
    metrics: Mapping[str, Mapping[str, float]],
    report: VerificationReport | None,
    runners: Sequence[Backend],
) -> None:
    """Write the report of ``deploy``.

    Args:
        wanted: where, and with what.
        network: what ran.
        given: the samples.
        recordings: the board's, behind that of what it is compared with, if it is.
        metrics: per backend, how good it was.
        report: the comparison, or None.
        runners: the backends of the recordings, in their order.
    """
    board = recordings[-1]
    measured = measured_section(board.extra)
    if report is not None:
        pairs = CountPairs(network)
        pairs.add(recordings)
        write_verification_report(
            wanted, network, given, report, recordings, metrics, pairs, runners, measured
        )
        return
    layers = summarise(network, board)
    page = Page(
        f"{wanted.name} on {board.backend}",
        wanted.command,
        [_run_verdict(board, metrics[board.backend])],
        run_figures(board, layers, metrics[board.backend]),
        [
            measured,
            judgement_section(network, given, board),
            activity_section(network, [board], layers),
            sample_section(network, given, wanted.sample),
            chip_section_of_run(network, board),
            network_section(network),
            provenance_section(wanted.options, digests(network, given)),
        ],
    )
    write_page(page, wanted.path)


def check_report_sample(wanted: WantedReport | None, given: Samples, data: str) -> None:
    """Refuse a sample for a report that is not there.

    Raises:
        DataError: names the last one.
    """
    if wanted is not None and wanted.sample is not None:
        given.require_sample(wanted.sample, data)


def comparison_verdicts(report: VerificationReport) -> list[Verdict]:
    """Return whether backends agree."""
    if report.match:
        return [
            Verdict(
                "good",
                f"MATCH: every spike count and every output is equal on "
                f"{', '.join(report.backends)} ({counted(report.samples, 'sample')})",
            )
        ]
    faults = [f"MISMATCH: {one}" for one in report.other_parameters] or [report.fault]
    return [Verdict("bad", fault) for fault in faults]


def saturation_verdicts(network: QuantizedNetwork, runs: Sequence[RunResults]) -> list[Verdict]:
    """Return what left 24 bits, if anything did."""
    lines = saturation_lines(summarise_saturation(network, runs))
    return [Verdict("bad", line) for line in lines[:-1]]


def digests(network: QuantizedNetwork, given: Samples) -> dict[str, str]:
    """Return what tells that network and samples are the same."""
    return {"network": network.digest, "integer inputs": input_digest(given.inputs)}


def _run_verdict(run: RunResults, metrics: Mapping[str, float]) -> Verdict:
    return Verdict(
        "neutral",
        f"{shown_together(metrics)} on {counted(len(run), 'sample')}, by the backend {run.backend}",
    )
