"""``tandem-hw inspect``: what is in a .net file."""

from __future__ import annotations

from pathlib import Path

import click

from tandem_hw.cli.options import (
    check_outputs,
    json_option,
    load_network,
    network_argument,
    write_json,
)
from tandem_hw.cli.output.written_files import overwrite_option, written_lines


@click.command("inspect")
@network_argument
@click.option(
    "--chip", is_flag=True, help="Estimate cores, chips, steps, time and energy on Loihi 2."
)
@json_option
@overwrite_option
def command(network_path: Path, chip: bool, json_path: Path | None) -> None:
    """Show the layers of NET, their integers, and what their states are proven to stay within."""
    check_outputs(json_path, inputs=[network_path])
    # NumPy and h5py take a moment, which help and a refused argument need not wait for.
    from tandem_hw.cli.terminal import make_console, warn
    from tandem_hw.cli.work.network_tables import (
        describe,
        layer_tables,
        meaning_words,
        window_words,
    )
    from tandem_hw.network.saturation import unproven_lines

    network = load_network(network_path)
    budget = None
    if chip:
        from tandem_hw.chip.budget import chip_budget  # needs SciPy

        budget = chip_budget(network)
    console = make_console()
    for table in layer_tables(network, console.width):
        console.print(table)
    warn(console, unproven_lines(network))
    spec = network.input
    console.print(
        f"input {spec.shape}, {spec.bits} bits, scale {spec.scale:.6g}, encoding {spec.encoding}; "
        f"{window_words(network)}, reset {network.reset}, readout {network.readout}\n"
        f"digest {network.digest}",
    )
    if network.meaning is not None:
        console.print(meaning_words(network.meaning))
    description = describe(network)
    if budget is not None:
        from tandem_hw.cli.work.budget_tables import budget_table, energy_line, time_line

        console.print(budget_table(budget))
        console.print(budget.summary)
        console.print(time_line(budget))
        console.print(energy_line(budget))
        description["chip"] = budget.as_dict()
    write_json(description, json_path)
    for line in written_lines(json_path):
        console.print(line)
