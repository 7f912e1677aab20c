"""What a network takes of a chip, as a table and in lines; without PyTorch."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from tandem_hw.chip.budget import ChipBudget, chip_budget
from tandem_hw.chip.step_time import Seconds
from tandem_hw.cli.work.network_tables import pair
from tandem_hw.errors import NetworkError
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import RunResults


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


def time_line(budget: ChipBudget) -> str:
    """Return one line about the time of a step and of a sample, with ranges."""
    time = budget.time
    core, rates = time.busiest_core, time.samples_per_second
    rate = f"{rates.expected:.0f} ({rates.least:.0f} to {rates.most:.0f})"
    work = "recorded work" if time.recorded else "at most"
    return (
        f"time ({work}): {_ranged(time.step, 1e6)} µs a step, latency {_ranged(time.latency, 1e3)} "
        f"ms, {rate} samples a second; the most time is with a host in every step; "
        f"busiest core: {time.busiest_layer}, {core.synops:.0f} SynOps and "
        f"{core.neuron_updates:.0f} neurons a step"
    )


def energy_line(budget: ChipBudget) -> str:
    """Return one line about the energy of a sample, its sources named."""
    energy = budget.energy
    kind = "recorded" if energy.recorded else "at most"
    least, most = (joules * 1e6 for joules in energy.range_joules)
    low, high = (joules * 1e6 for joules in energy.core_joules)
    return (
        f"{kind} {energy.synops:.0f} SynOps a sample: {energy.loihi1_joules * 1e6:.3g} µJ dynamic "
        f"with Loihi 1 constants (Davies 2018), {energy.hala_point_joules * 1e6:.3g} µJ at Hala "
        f"Point's full load, {low:.3g} to {high:.3g} µJ at the power of cores on Loihi 2; "
        f"so {least:.3g} to {most:.3g} µJ; static power apart, {budget.static_watts:.3g} W"
    )


def estimate_of_run(network: QuantizedNetwork, run: RunResults) -> tuple[dict[str, Any], list[str]]:
    """Return what a run would take on a Loihi 2, as plain data and in lines for the terminal.

    Args:
        network: what ran.
        run: what came out, of one sample at least.
    """
    try:
        budget = chip_budget(network, run)
    except NetworkError as error:
        return {"refused": str(error)}, [f"no Loihi 2 board can run it: {error}"]
    lines = [
        f"Loihi 2 (estimate), {time_line(budget)}",
        f"energy (estimate): {energy_line(budget)}",
    ]
    return budget.totals_dict(), lines


def _ranged(value: Seconds, factor: float) -> str:
    """Return an expected value and its range, in a unit of so many a second."""
    least, expected, most = (one * factor for one in (value.least, value.expected, value.most))
    return f"{expected:.3g} ({least:.3g} to {most:.3g})"
