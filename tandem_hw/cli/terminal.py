"""What the commands show in the terminal: text and tables, and progress bars beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.segment import Segment

from tandem_hw.plain_text import plain

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
    console.push_render_hook(_PlainText())
    return console


class _PlainText(RenderHook):
    """Lets no text through that steers the terminal; the console's own colours come later."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return what shows the same in plain characters."""
        return [_Plain(one) for one in renderables]


class _Plain:
    """Something that a console shows, in plain characters."""

    def __init__(self, shown: ConsoleRenderable) -> None:
        self.shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.shown, options):
            if segment.control:
                yield segment
                continue
            lines = (plain(line, longest=None) for line in segment.text.split("\n"))
            yield Segment("\n".join(lines), segment.style)


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
