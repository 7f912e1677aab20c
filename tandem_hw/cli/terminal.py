"""What the commands show in the terminal: text and tables, and progress bars beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from tandem_hw.cli.output.sentences import breaks
from tandem_hw.cli.output.table_width import fit
from tandem_hw.cli.output.written_files import standard_output_is_taken
from tandem_hw.plain_text import plain

#: Width that a file or a pipe has for tables: more than any takes, so that no name is cut.
_PIPE_WIDTH = 1 << 16


def make_console(*, stderr: bool = False) -> Console:
    """Return a console that shows paths, names and numbers as they are.

    Args:
        stderr: write to standard error; where standard output belongs to JSON all do.
    """
    stderr = stderr or standard_output_is_taken()
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
    """Something that a console shows, in plain characters and in its width.

    Sentences go on in a further line between two words, and what is longer than a line, such as a
    path, stays whole, so that it can be copied; tables have their own way (``table_width``).
    """

    def __init__(self, shown: ConsoleRenderable) -> None:
        self.shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = self.shown
        if isinstance(shown, Table):
            options = options.update(width=fit(shown, options), no_wrap=False)
        elif isinstance(shown, Text):
            shown = Text("\n").join(
                part
                for line in shown.split("\n", allow_blank=True)
                for part in _parts(line, options.max_width)
            )
        for segment in console.render(shown, options):
            if segment.control:
                yield segment
                continue
            lines = (plain(line, longest=None) for line in segment.text.split("\n"))
            yield Segment("\n".join(lines), segment.style)


def _parts(line: Text, width: int) -> list[Text]:
    """Return a line as those of a terminal."""
    parts = list(line.divide(breaks(line.plain, width)))
    for part in parts:
        part.rstrip()
    return parts


def warn(console: Console, lines: Iterable[str]) -> None:
    """Show lines that ask for attention."""
    for line in lines:
        console.print(line, style="yellow")


@contextmanager
def progress_bars(
    *, columns: Sequence[ProgressColumn] | None = None, disable: bool = False
) -> Iterator[Progress]:
    """Show progress bars on standard error, so that standard output stays clean.

    Args:
        columns: what a line consists of; a bar, how much is done and the time where it is None.
        disable: show nothing.
    """
    console = make_console(stderr=True)
    usual: tuple[ProgressColumn, ...] = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(
        *(usual if columns is None else columns),
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
