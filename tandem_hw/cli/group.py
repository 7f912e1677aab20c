"""The group of commands: loads each when it is called, and turns our errors into exit status 2."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import click

from tandem_hw.errors import TandemError
from tandem_hw.user_warnings import TandemWarning

#: Commands and the modules that hold them. Their help is in there as well, so none of these modules
#: imports NumPy or PyTorch at its top: what a command does is in ``tandem_hw.cli.work``.
COMMANDS = {
    "train": "tandem_hw.cli.train",
    "sweep": "tandem_hw.cli.sweep",
    "export": "tandem_hw.cli.export",
    "convert": "tandem_hw.cli.convert",
    "inspect": "tandem_hw.cli.inspect",
    "simulate": "tandem_hw.cli.simulate",
    "verify": "tandem_hw.cli.verify",
    "deploy": "tandem_hw.cli.deploy",
}
#: Exit status of an error that the user can mend; a mismatch has status 1.
EXIT_ERROR = 2
#: Exit status after Ctrl-C, as shells have it.
EXIT_INTERRUPTED = 130


class TandemGroup(click.Group):
    """Commands in the order of the work, with one clear line for every error of ours."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name]).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for a misspelt name propose those that are like it."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            near = [repr(one) for one in get_close_matches(name, COMMANDS)]
            proposal = f" Did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"No such command {name!r}.{proposal}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; our errors become a message and exit status 2, our warnings a line."""
        try:
            with _warnings_in_a_line():
                return super().invoke(ctx)
        except TandemError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(EXIT_ERROR)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(EXIT_INTERRUPTED)
        except BrokenPipeError:
            # The reader of a pipe has gone; say nothing more, not even at the interpreter's end.
            sys.stderr.close()
            ctx.exit(EXIT_ERROR)


@contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """Show each warning of ours as one line, without the place in the code that Python adds."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", TandemWarning)
        show = warnings.showwarning

        def show_line(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, TandemWarning):
                click.echo(f"Warning: {message}", err=True)
            else:
                show(message, category, *place, **more)

        warnings.showwarning = show_line
        yield
