"""A sweep: what is finished is found, the rest trained, and all of it shown and written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tandem_hw.cli.given.config_file import write_options
from tandem_hw.cli.metrics import shown
from tandem_hw.cli.output.written_files import written_lines
from tandem_hw.cli.terminal import make_console, progress_bars, warn
from tandem_hw.counted import counted
from tandem_hw.sim.cores import cores
from tandem_hw.sweep.cluster import dask_cluster, require_dask
from tandem_hw.sweep.execution import Start, execute, this_machine, threads_for
from tandem_hw.sweep.grid import SEED, Axis, Point, Run, Skipped, described
from tandem_hw.sweep.run_files import folder_of, read_result, write_run
from tandem_hw.sweep.summary import CSV_NAME, JSON_NAME, Row, Statistic, summed_up, write_summary
from tandem_hw.training.run_files import OPTIONS_NAME


@dataclass(frozen=True)
class Place:
    """Where trainings run.

    Attributes:
        jobs: how many at a time, or None for what the machine can do.
        threads: of each, or None for what keeps the cores busy.
        scheduler: the address of Dask's scheduler, or None for this machine.
    """

    jobs: int | None
    threads: int | None
    scheduler: str | None

    def opened(self, runs: Sequence[Run]) -> AbstractContextManager[Start]:
        """Return what starts the trainings.

        Args:
            runs: what is to be trained, one at least.
        """
        if self.scheduler is not None:
            return dask_cluster(self.scheduler, self.threads or 1)
        on_cpu = all(run.settings["device"] == "cpu" for run in runs)
        jobs = min(self.jobs or (cores() if on_cpu else 1), len(runs))
        return this_machine(jobs, self.threads or threads_for(jobs))


def run_sweep(
    axes: Sequence[Axis],
    points: Sequence[Point],
    skipped: Sequence[Skipped],
    folder: Path,
    place: Place,
    plot: Path | None,
    used: Mapping[str, Any],
) -> bool:
    """Train what is not finished, and show and write what is known of all.

    Args:
        axes: what is varied.
        points: what is to be trained, one at least.
        skipped: what cannot be, which is said.
        folder: of the sweep.
        place: where to train.
        plot: a PNG file, or None.
        used: all options, which ``run.toml`` gets.

    Returns:
        Whether all trainings are finished.

    Raises:
        TandemError: the folder cannot be used, or the cluster.
    """
    if place.scheduler is not None:
        require_dask()
    console = make_console()
    without_seed = {
        f"skipped {described({n: label for n, label in one.labels.items() if n != SEED})}: "
        f"{one.reason}": None
        for one in skipped
    }
    warn(console, without_seed)
    sweep = _Sweep(axes, points, skipped, folder, console)
    sweep.find_finished()
    write_options(folder / OPTIONS_NAME, "sweep", used)
    if sweep.unfinished:
        with sweep.shown(), place.opened(sweep.unfinished) as start:
            execute(sweep.unfinished, partial(folder_of, folder), start, sweep.ended)
    sweep.write()
    rows = summed_up(points, sweep.results)
    if rows:
        console.print(_table(axes, rows))
    if plot is not None and rows:
        from tandem_hw.report.sweep_plot import write_sweep_plot

        write_sweep_plot(rows, plot)
    for name, reason in sweep.failures.items():
        console.print(f"FAILED {sweep.called(name)}: {reason}", style="red")
    for line in written_lines(folder / JSON_NAME, folder / CSV_NAME, plot if rows else None):
        console.print(line)
    return not sweep.failures


class _Sweep:
    """What is known of a sweep's trainings while they run."""

    def __init__(
        self,
        axes: Sequence[Axis],
        points: Sequence[Point],
        skipped: Sequence[Skipped],
        folder: Path,
        console: Console,
    ) -> None:
        self.axes, self.points, self.skipped = axes, points, skipped
        self.folder, self.console = folder, console
        self.runs = {run.name: run for point in points for run in point.run.with_before}
        self.results: dict[str, dict[str, Any]] = {}
        self.failures: dict[str, str] = {}
        self.unfinished: list[Run] = []
        self._advance: Callable[[], None] = lambda: None

    def called(self, name: str) -> str:
        """Return what a training is called: the combinations that it stands for."""
        of = [described(point.labels) for point in self.points if point.run.name == name]
        return f"{' = '.join(of) or 'a first training'} ({name})"

    def find_finished(self) -> None:
        """Find out what is finished, and write down for the others what they are."""
        for name, run in self.runs.items():
            result = read_result(folder_of(self.folder, run), run)
            if result is not None:
                self.results[name] = result
            else:
                self.unfinished.append(run)
        for run in self.unfinished:
            write_run(folder_of(self.folder, run), run)
        if self.results:
            self.console.print(
                f"{len(self.results)} of {counted(len(self.runs), 'training')} were finished"
            )

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show how many are done."""
        with progress_bars() as progress:
            task = progress.add_task("trainings", total=len(self.runs), completed=len(self.results))
            self.console = progress.console if progress.console.is_terminal else self.console
            self._advance = lambda: progress.advance(task)
            yield

    def ended(self, run: Run, failure: str | None) -> None:
        """Take in that a training has ended, say so, and write what is known."""
        if failure is None:
            result = read_result(folder_of(self.folder, run), run)
            if result is not None:
                self.results[run.name] = result
                self._say(run, shown(*next(iter(result["metrics"].items()))))
            else:
                failure = "ended without a result that can be read"
        if failure is not None:
            self.failures[run.name] = failure
            self._say(run, f"failed: {failure}")
        self._advance()
        self.write()

    def _say(self, run: Run, text: str) -> None:
        done = len(self.results) + len(self.failures)
        self.console.print(f"{done}/{len(self.runs)} {self.called(run.name)}: {text}")

    def write(self) -> None:
        """Write ``sweep.json`` and ``sweep.csv``."""
        write_summary(
            self.folder, self.axes, self.points, self.skipped, self.results, self.failures
        )


def _table(axes: Sequence[Axis], rows: Sequence[Row]) -> Table:
    """Return the rows as a table; ± is the standard deviation over the seeds."""
    names = list(rows[0].labels)
    table = Table(title="means over the seeds ± standard deviation")
    for name in names:
        table.add_column(name)
    metric = rows[0].metric
    for name in (
        *("seeds", metric, "SynOps", "SynOps/MACs", "spikes", "latency", "period", "training (s)"),
    ):
        table.add_column(name, justify="right")
    for row in rows:
        numbers = row.statistics
        table.add_row(
            *(row.labels[name] for name in names),
            str(row.count),
            _percent(numbers.get(metric)) if metric == "accuracy" else _text(numbers.get(metric)),
            _text(numbers.get("synops_per_sample"), ".0f"),
            _text(numbers.get("synops_per_mac"), ".3f"),
            _text(numbers.get("spikes_per_sample"), ".0f"),
            _text(numbers.get("latency"), ".0f", False),
            _text(numbers.get("period"), ".0f", False),
            _text(numbers.get("training_seconds"), ".0f", False),
        )
    return table


def _percent(number: Statistic | None) -> str:
    if number is None:
        return "-"
    spread = "" if number.deviation is None else f" ± {100 * number.deviation:.2f}"
    return f"{100 * number.mean:.2f}{spread} %"


def _text(number: Statistic | None, how: str = ".4g", with_spread: bool = True) -> str:
    if number is None:
        return "-"
    if number.deviation is None or not with_spread:
        return format(number.mean, how)
    return f"{format(number.mean, how)} ± {format(number.deviation, how)}"
