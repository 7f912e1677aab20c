"""What the commands show in the terminal: text and tables, and progress bars beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

#: Width that a file or a pipe has for tables: more than any takes, so that no name is cut.
_PIPE_WIDTH = 1 << 16


def make_console(*, stderr: bool = False) -> Console:
    """Return a console that shows paths, names and numbers as they are.

    Args:
        stderr: write to standard error.
    """
    console = Console(stderr=stderr, markup=False, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def warn(console: Console, lines: Iterable[str]) -> None:
    """Show lines that ask for attention."""
    for line in lines:
        console.print(line, style="yellow")


@contextmanager
def progress_bars(*columns: str, disable: bool = False) -> Iterator[Progress]:
    """Show progress bars on standard error, so that standard output stays clean.

    Args:
        columns: further columns in rich's markup, filled from a task's fields.
        disable: show nothing.
    """
    console = make_console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        *(TextColumn(column) for column in columns),
        console=console,
        transient=True,
        disable=disable or not console.is_interactive,  # in a file it would leave an empty line
    ) as progress:
        yield progress


def follow(progress: Progress, name: str) -> Callable[[int, int], None]:
    """Return a callback that moves a bar of its own."""
    task = progress.add_task(name, total=None)

    def update(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)

    return update
