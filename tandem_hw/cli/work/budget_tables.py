"""What a network takes of a chip, as a table and in lines; without PyTorch."""

from __future__ import annotations

from rich.table import Table

from tandem_hw.chip.budget import ChipBudget, chip_budget
from tandem_hw.cli.work.network_tables import pair
from tandem_hw.errors import NetworkError
from tandem_hw.network.quantized import QuantizedNetwork


def budget_table(budget: ChipBudget) -> Table:
    """Return a table of what each layer takes of a chip, for the terminal."""
    table = Table(title="Loihi 2, estimated; words and axons of the fullest core")
    table.add_column("layer")
    for name in ("cores", "neurons", "on a core", "synapse words", "axons in", "axons out"):
        table.add_column(name, justify="right")
    table.add_column("block w×h×c")
    for layer in (*budget.layers, *budget.relays):
        clocks = f" + {layer.clock_cores}" if layer.clock_cores else ""
        core = layer.core
        numbers = (layer.neurons, core.neurons, core.synapse_words, core.axons_in, core.axons_out)
        block = "" if layer.block is None else pair(layer.block)
        table.add_row(layer.name, f"{layer.cores}{clocks}", *map(str, numbers), block)
    if any(layer.clock_cores for layer in budget.layers):
        table.caption = "+ 1: the core of the clock that silences the layer between two windows"
    return table


def budget_line(network: QuantizedNetwork, simulation_only: bool) -> str:
    """Return the chip budget in a line; refuse what no board can run, unless that is not wanted.

    Args:
        network: what is to be written.
        simulation_only: whether it is written for the simulators alone.

    Raises:
        NetworkError: names the layer and the limit.
    """
    try:
        budget = chip_budget(network)
        obstacle = budget.obstacle
    except NetworkError as error:
        obstacle = str(error)
    if obstacle is None:
        return budget.summary
    if not simulation_only:
        raise NetworkError(
            f"{obstacle}; or write it for the simulators alone with --simulation-only"
        )
    return f"for the simulators alone, no Loihi 2 board can run it: {obstacle}"


def energy_line(budget: ChipBudget) -> str:
    """Return one line about the energy of a sample, its source named."""
    energy = budget.energy
    kind = "recorded" if energy.recorded else "at most"
    return (
        f"{kind} {energy.synops:.0f} SynOps a sample: {energy.loihi1_joules * 1e6:.3g} µJ dynamic "
        f"with Loihi 1 constants (Davies 2018), {energy.hala_point_joules * 1e6:.3g} µJ at Hala "
        f"Point's full load; static power apart, {budget.static_watts:.3g} W"
    )
