"""The progress of a training on standard error: a bar for each epoch, and a line about each.

``train`` shows it where somebody looks on, at a terminal or in a notebook, and the command line has
the same bar on a console of its own. A notebook has lines in one output of the cell.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from tandem_hw.training.progress import StepReport
from tandem_hw.training.watching.words import describe_epoch, duration, shown

#: Characters of the bar itself: with the longest numbers the line has 80.
_BAR_WIDTH: Final = 10
#: Seconds from one change of a notebook's output to the next.
_NOTEBOOK_SECONDS: Final = 0.5


class Pace:
    """How long the epochs of a training take, and the time that it has left.

    Args:
        clock: tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        #: Steps that were done, and when, as the first one of this process was over.
        self._start: tuple[int, float] | None = None
        self._epoch_began = clock()

    def seconds_of_epoch(self) -> float:
        """Return how long the epoch took that is over now."""
        now = self._clock()
        seconds, self._epoch_began = now - self._epoch_began, now
        return seconds

    def state(self, step: StepReport) -> str:
        """Return how the epoch goes, and before it how long the training will still take."""
        return (
            f"{self._left(step)}loss {step.loss:.4f} {shown(step.metric_name, step.metric)} "
            f"spike rate {step.spike_rate:.3f}"
        )

    def _left(self, step: StepReport) -> str:
        """Return the time that is left, going by the steps so far, or nothing after the first."""
        done = (step.epoch - 1) * step.batches + step.batch
        now = self._clock()
        if self._start is None:
            self._start = (done, now)
            return ""
        first, began = self._start
        left = (now - began) / (done - first) * (step.epochs * step.batches - done)
        return f"{duration(left)} left "


class TrainingBar:
    """One progress bar, filled anew in every epoch, with the time that the training has left.

    Attributes:
        progress: where it is shown.
    """

    def __init__(self, progress: Progress, clock: Callable[[], float] = time.perf_counter) -> None:
        """Add the bar.

        Args:
            progress: where it is shown.
            clock: tells the time in seconds.
        """
        self.progress = progress
        self._pace = Pace(clock)
        self._task = progress.add_task("training", total=None, state="")

    def step(self, step: StepReport) -> None:
        """Show how far the epoch is, how it goes and how long the training will still take."""
        self.progress.update(
            self._task,
            description=f"epoch {step.epoch}/{step.epochs}",
            completed=step.batch,
            total=step.batches,
            state=self._pace.state(step),
        )

    def seconds_of_epoch(self) -> float:
        """Return how long the epoch took that is over now."""
        return self._pace.seconds_of_epoch()


class NotebookOutput:
    """The lines of a training in one output of a notebook's cell, whose last line moves.

    It is text that IPython updates, so it needs no widgets, and what a notebook stores in the end
    is a line for each epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Show nothing yet.

        Args:
            clock: tells the time in seconds.
        """
        self._clock, self._pace = clock, Pace(clock)
        self._lines: list[str] = []
        self._handle: Any = None
        self._shown = -math.inf

    def step(self, step: StepReport) -> None:
        """Show how far the epoch is, a few times a second."""
        words = f"epoch {step.epoch}/{step.epochs}, {step.batch}/{step.batches}: "
        words += self._pace.state(step)
        if self._clock() - self._shown >= _NOTEBOOK_SECONDS:
            self._show(words)

    def epoch_done(self, epoch: Mapping[str, Any]) -> None:
        """Leave a line about an epoch in the place of the one that moved."""
        self._lines.append(describe_epoch(epoch, self._pace.seconds_of_epoch()))
        self._show()

    def _show(self, *moving: str) -> None:
        display: Any = importlib.import_module("IPython.display").display  # it carries no types
        self._shown = self._clock()
        content = {"text/plain": "\n".join([*self._lines, *moving])}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


def training_columns() -> tuple[TextColumn | BarColumn | MofNCompleteColumn, ...]:
    """Return the columns of the bar, which together fit a terminal of 80 characters."""
    return (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=_BAR_WIDTH),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}", markup=False),
    )


@contextmanager
def shown_by_itself(
    quiet: bool,
) -> Iterator[tuple[Callable[[StepReport], None] | None, Callable[[Mapping[str, Any]], None]]]:
    """Show a training that nobody else shows, where somebody looks on.

    Args:
        quiet: show nothing.

    Yields:
        What is told of every step, or None, and of every epoch.
    """
    console = Console(stderr=True, markup=False, highlight=False)
    if quiet or not (console.is_terminal or console.is_jupyter):
        yield None, _tell_nobody
        return
    if console.is_jupyter:
        output = NotebookOutput()
        yield output.step, output.epoch_done
        return
    with Progress(*training_columns(), console=console, transient=True) as progress:
        bar = TrainingBar(progress)

        def epoch_done(epoch: Mapping[str, Any]) -> None:
            console.print(describe_epoch(epoch, bar.seconds_of_epoch()))

        yield bar.step, epoch_done


def _tell_nobody(_: Mapping[str, Any]) -> None:
    """Take in what nobody looks at."""
