"""The command line: each command a thin call of public functions."""

from __future__ import annotations

import signal

try:
    # What is raised within an import can be lost there, and leaves half of a module: it waits.
    _held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        import click

        from tandem_hw.cli.group import TandemGroup
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, _held)
except KeyboardInterrupt:  # before there is anything that would handle it
    raise SystemExit(130) from None


@click.group(cls=TandemGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tandem-hw")
def main() -> None:
    """Spiking networks from PyTorch to neuromorphic hardware, the same bit for bit.

    Train with the tandem learning rule, export integers, simulate them, and verify that every
    backend gives the same spike counts.
    """
