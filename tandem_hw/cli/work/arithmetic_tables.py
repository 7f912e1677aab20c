"""Which algorithms computed the sums of a run: as a table and as plain data."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from tandem_hw.arithmetic.chosen_ways import chosen_ways
from tandem_hw.cli.terminal import make_console


def describe_ways() -> list[dict[str, Any]]:
    """Return the algorithms of this process's sums as plain data, the latest ones last."""
    return [
        {
            "algorithm": one.way,
            "device": one.device,
            "signal": list(one.signal_shape),
            "weights": list(one.weight_shape),
        }
        for one in chosen_ways()
    ]


def show_ways() -> None:
    """Print the algorithms of this process's sums for the terminal."""
    ways = chosen_ways()
    console = make_console()
    if not ways:
        console.print("no sums of several spikes were computed by PyTorch")
        return
    table = Table(title="Sums of spikes, each algorithm seen to be exact for its sizes")
    for name in ("algorithm", "device", "signal", "weights"):
        table.add_column(name)
    for one in ways:
        table.add_row(one.way, one.device, _shape(one.signal_shape), _shape(one.weight_shape))
    console.print(table)


def _shape(lengths: tuple[int, ...]) -> str:
    return "×".join(map(str, lengths))
