"""A network on several backends: run, compared, written and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tandem_hw.chip.timing import check_period
from tandem_hw.cli.look.options import WantedReport
from tandem_hw.cli.metrics import shown_together
from tandem_hw.cli.options import backend_from_options, write_json
from tandem_hw.cli.output.written_files import written_lines
from tandem_hw.cli.terminal import follow, make_console, progress_bars
from tandem_hw.cli.work.look.pages import check_report_sample, write_verification_report
from tandem_hw.cli.work.run_tables import describe_report, show_report
from tandem_hw.cli.work.samples import Samples, load_samples
from tandem_hw.counted import counted
from tandem_hw.errors import ComparisonRefusedError
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import RunResults
from tandem_hw.report.page.agreement import CountPairs
from tandem_hw.sim.backend import Backend, require_available
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.registry import exact_backends
from tandem_hw.verification.step import VerificationReport, run_and_compare


@dataclass(frozen=True)
class Backends:
    """What is compared.

    Attributes:
        runners: the backends; the first is the measure.
        left_out: why others cannot run, by their names, where all were wanted.
        are_named: whether they were asked for, and not found.
    """

    runners: Sequence[Backend]
    left_out: Mapping[str, str] = field(default_factory=dict)
    are_named: bool = True

    @classmethod
    def all_exact(cls, network: QuantizedNetwork, options: dict[str, Any]) -> Backends:
        """Return all that can run a network here.

        Args:
            network: what runs.
            options: those of the command line.

        Raises:
            NetworkError: a period was asked for that the network cannot have.
        """
        make = partial(backend_from_options, options=options)
        if options["period"] is not None:  # or Lava would be left out for it
            check_period(network, options["period"])
        return cls(*exact_backends(network, make), are_named=False)

    def require_two(self, checkpoint: Path | None) -> None:
        """Refuse a comparison of one thing where nothing else can run here.

        Raises:
            ComparisonRefusedError: says why the others cannot.
        """
        if not self.are_named and len(self.runners) < 2 and checkpoint is None:
            raise ComparisonRefusedError(
                f"a comparison needs two backends, and {self.runners[0].name} alone can run the "
                f"network here; make one of these available, or compare with a --checkpoint",
                *self.left_out.values(),
            )

    def by_samples(self, samples: int | None, found: int) -> list[tuple[list[Backend], int]]:
        """Return which are compared together, and on how many samples: all, and the slow ones few.

        Args:
            samples: how many were asked for, or None.
            found: how many there are.
        """
        slow = {runner.name: runner.few_samples or found for runner in self.runners}
        all_of = [runner for runner in self.runners if slow[runner.name] >= found]
        if self.are_named or samples is not None or len(all_of) == len(self.runners):
            return [(list(self.runners), found)]
        few = [runner for runner in self.runners if runner not in all_of]
        together = [([all_of[0], *few], min(slow[runner.name] for runner in few))]
        return together if len(all_of) == 1 else [(all_of, found), *together]


def verify(
    network: QuantizedNetwork,
    chosen: Backends,
    checkpoint: Path | None,
    data: str,
    samples: int | None,
    json_path: Path | None,
    wanted: WantedReport | None = None,
) -> bool:
    """Run the test part of a data set on all backends, and show and write how they compare.

    Args:
        network: what runs.
        chosen: where.
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
    for runner in chosen.runners:
        require_available(runner)
    chosen.require_two(checkpoint)
    if checkpoint is not None:
        trained = PyTorchBackend(load_checkpoint(checkpoint).model)
        chosen = replace(chosen, runners=[*chosen.runners, trained])
    for runner in chosen.runners:
        runner.check_network(network)
    given = load_samples(network, data, samples)
    check_report_sample(wanted, given, data)
    groups = chosen.by_samples(samples, len(given.inputs))
    main, *few = (
        _Comparison.of(
            network,
            given.first(number),
            runners,
            is_first=index == 0,
            paired=wanted is not None,
        )
        for index, (runners, number) in enumerate(groups)
    )
    match = all(one.report.match for one in (main, *few))
    content = {**main.as_dict(), "left_out": dict(chosen.left_out)}
    if few:
        content |= {"match": match, "few_samples": few[0].as_dict()}
    write_json(content, json_path)
    if wanted is not None:
        # What differs is shown, otherwise what was compared on the most samples.
        shown, *others = sorted([main, *few], key=lambda one: one.report.match)
        write_verification_report(
            wanted,
            network,
            shown.given,
            shown.report,
            shown.runs,
            shown.metrics,
            shown.pairs,
            shown.runners,
            everything=given,
            others=[one.report for one in others],
        )
    show_report(main.report, main.metrics)
    for one in few:
        one.show_few()
    console = make_console()
    written = written_lines(json_path, None if wanted is None else wanted.path)
    for line in (*_left_out_lines(chosen.left_out), *written):
        console.print(line)
    return match


def _left_out_lines(left_out: Mapping[str, str]) -> list[str]:
    """Return a line for each reason, with all the backends that it keeps out."""
    names: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        names.setdefault(reason.removeprefix(f"backend {name}: "), []).append(name)
    return [f"left out: {', '.join(of)}: {reason}" for reason, of in names.items()]


@dataclass(frozen=True)
class _Comparison:
    """Some backends on the same samples."""

    given: Samples
    report: VerificationReport
    metrics: Mapping[str, Mapping[str, float]]
    runs: Sequence[RunResults]
    runners: Sequence[Backend]
    pairs: CountPairs

    @classmethod
    def of(
        cls,
        network: QuantizedNetwork,
        given: Samples,
        runners: Sequence[Backend],
        *,
        is_first: bool,
        paired: bool,
    ) -> _Comparison:
        """Run and compare; few samples of many need not make every layer fire once more."""
        pairs = CountPairs(network)
        with progress_bars() as progress:
            bars = {runner.name: follow(progress, runner.name) for runner in runners}
            report, runs = run_and_compare(
                *(network, given.inputs, given.labels, runners),
                allow_silence=not is_first,
                progress=bars,
                observe=pairs.add if paired else None,
            )
        metrics = {run.backend: given.measure(network, run) for run in runs}
        return cls(given, report, metrics, runs, runners, pairs)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return describe_report(self.report, self.given, self.metrics)

    def show_few(self) -> None:
        """Print what a few samples gave: all of it where they differ, else in lines."""
        if not self.report.match:
            show_report(self.report, self.metrics)
            return
        console, (first, *slow) = make_console(), self.report.backends
        for name in slow:
            metrics, seconds = shown_together(self.metrics[name]), self.report.seconds[name]
            console.print(
                f"{name}, {counted(self.report.samples, 'sample')}: {metrics}, {seconds:.2f} s"
            )
        silent = ", ".join(self.report.silent_layers)
        but = f", in which {silent} never fired" if silent else ""
        console.print(
            f"MATCH of {first} and {', '.join(slow)} on the first "
            f"{counted(self.report.samples, 'sample')}"
            f"{but} (more with --samples or --backends)",
            style="green",
        )
