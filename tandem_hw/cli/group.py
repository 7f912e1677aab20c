"""The group of commands: loads each when it is called, and turns our errors into exit status 2."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, Final

import click

from tandem_hw.cli.given.config_file import with_config
from tandem_hw.cli.process.exit_status import EXIT_DONE, EXIT_ERROR, EXIT_MISMATCH, exit_after
from tandem_hw.cli.process.signals import Interruption, Interruptions, signals_raised
from tandem_hw.cli.process.streams import say, standard_streams
from tandem_hw.errors import TandemError
from tandem_hw.temporaries import remove_own
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
    "trace": "tandem_hw.cli.look.trace",
    "report": "tandem_hw.cli.look.report",
    "deploy": "tandem_hw.cli.board.deploy",
    "conformance": "tandem_hw.cli.board.conformance",
    "examples": "tandem_hw.cli.look.examples",
    "doctor": "tandem_hw.cli.look.doctor",
}


#: Set where a shell asks what the Tab key completes.
_COMPLETE: Final = "_TANDEM_HW_COMPLETE"


class TandemGroup(click.Group):
    """Commands in the order of the work, with one clear line for every error of ours."""

    _interruptions = Interruptions()

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command, which then takes its options from a file as well."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name]).command
        assert isinstance(command, click.Command)
        return with_config(command)

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

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run as the program of this process: with its streams, its signals and its exit status."""
        if not extra.get("standalone_mode", True):
            return super().main(*args, **extra)
        try:
            with signals_raised() as self._interruptions:
                status = self._run(*args, **extra)
        except KeyboardInterrupt as error:  # while streams or handlers took their places or left
            status = self._interrupted(error)
        finally:
            remove_own()
        sys.exit(status)

    def _run(self, *args: Any, **extra: Any) -> int:
        """Run with the streams of the process, and return its exit status."""
        status = EXIT_DONE
        if _COMPLETE in os.environ:
            from tandem_hw.cli.completion.shells import register_shells

            register_shells()
        with standard_streams() as failures:
            try:
                super().main(*args, **extra)
            except SystemExit as leaving:
                status = leaving.code if isinstance(leaving.code, int) else EXIT_DONE
            except KeyboardInterrupt as error:
                status = self._interrupted(error)
            except Exception:  # a defect of ours; Python would end with the status of a mismatch
                traceback.print_exc()
                status = EXIT_ERROR
        if failures and status in (EXIT_DONE, EXIT_MISMATCH):
            say(f"Error: {'; '.join(failures)}")
            status = EXIT_ERROR
        return status

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read the arguments of the group; what goes wrong ends as in ``invoke``."""
        with self._endings():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; our errors become a message and exit status 2, our warnings a line."""
        with self._endings(), _warnings_in_a_line():
            return super().invoke(ctx)

    @contextmanager
    def _endings(self) -> Iterator[None]:
        """Say in one line what ends a command, and end it with the exit status that this has."""
        try:
            yield
        except KeyboardInterrupt as error:
            status = self._interrupted(error)
        except Exception as error:
            # What was interrupted may have made another error of it.
            if self._interruptions.pending is not None:
                status = self._interrupted(self._interruptions.pending)
            elif isinstance(error, TandemError | OSError | MemoryError):
                _say_error(error)
                status = EXIT_ERROR
            else:
                raise
        else:
            return
        raise click.exceptions.Exit(status)

    def _interrupted(self, error: KeyboardInterrupt) -> int:
        """Say that a signal has come, and return the exit status that follows."""
        self._interruptions.arrived()
        number = error.number if isinstance(error, Interruption) else signal.SIGINT
        name = signal.Signals(number).name
        say("Interrupted." if number == signal.SIGINT else f"Ended by {name}.")
        return exit_after(number)


def _say_error(error: TandemError | OSError | MemoryError) -> None:
    """Say an error in one line, and below it what another program has said."""
    further: Sequence[str] = ()
    if isinstance(error, TandemError):
        message, *further = error.args
    elif isinstance(error, OSError):  # of a file that nobody has looked after so far
        of = f"{error.filename}: " if error.filename is not None else ""
        message = f"{of}{error.strerror or error}"
    else:
        message = f"out of memory{f' ({error})' if str(error) else ''}"
    say(f"Error: {message}")
    for line in further:
        say(f"  {line}")


@contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """Show each warning of ours as one line, without the place in the code that Python adds."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", TandemWarning)
        show = warnings.showwarning

        def show_line(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, TandemWarning):
                say(f"Warning: {message}")
            else:
                show(message, category, *place, **more)

        warnings.showwarning = show_line
        logger, handler = logging.getLogger("tandem_hw"), _LogLine(logging.WARNING)
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)


class _LogLine(logging.Handler):
    """Shows what is logged, such as what a training finds in its folder."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show one message."""
        say(f"Warning: {record.getMessage()}")
