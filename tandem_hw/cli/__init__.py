"""The command line: each command a thin call of public functions."""

from __future__ import annotations

try:
    import click

    from tandem_hw.cli.group import TandemGroup
except KeyboardInterrupt:  # before there is anything that would handle it
    raise SystemExit(130) from None


@click.group(cls=TandemGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tandem-hw")
def main() -> None:
    """Spiking networks from PyTorch to neuromorphic hardware, the same bit for bit.

    Train with the tandem learning rule, export integers, simulate them, and verify that every
    backend gives the same spike counts.
    """
