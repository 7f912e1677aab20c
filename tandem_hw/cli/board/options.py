"""The options that name a board."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from tandem_hw.sim.loihi2.host import CHIP_GENERATIONS, DEFAULT_GENERATION, DEFAULT_HOST_BINARY

#: What ``board_options`` adds, by the names that ``Loihi2Backend`` takes.
BOARD: Final = ("partition", "board", "host", "loihi_gen", "host_binary")


def board_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which board is meant."""
    options = (
        click.option("--partition", help="SLURM partition with boards, such as oheogulch."),
        click.option("--board", help="One SLURM node."),
        click.option("--host", help="Address of a host on Ethernet."),
        click.option(
            "--loihi-gen",
            type=click.Choice(CHIP_GENERATIONS),
            default=DEFAULT_GENERATION,
            show_default=True,
            help="Generation of the chip.",
        ),
        click.option(
            "--host-binary",
            default=DEFAULT_HOST_BINARY,
            show_default=True,
            help="With --host: nxcore's driver server there.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command
