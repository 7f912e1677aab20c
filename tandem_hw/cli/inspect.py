"""``tandem-hw inspect``: what is in a .net file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from tandem_hw.cli.options import check_outputs, json_option, network_argument, write_json
from tandem_hw.cli.terminal import make_console
from tandem_hw.export.chip_budget import ChipBudget, chip_budget
from tandem_hw.export.net_file import read_net
from tandem_hw.fixed_point import STATE_LIMIT
from tandem_hw.network import Conv2d, Layer, QuantizedNetwork


@click.command("inspect")
@network_argument
@click.option("--chip", is_flag=True, help="Estimate cores, chips, steps and energy on Loihi 2.")
@json_option
def command(network_path: Path, chip: bool, json_path: Path | None) -> None:
    """Show the layers of NET, their integers, and what their states are proven to stay within."""
    check_outputs(json_path, inputs=[network_path])
    network = read_net(network_path)
    budget = chip_budget(network) if chip else None
    console = make_console()
    console.print(layer_table(network))
    spec = network.input
    console.print(
        f"input {spec.shape}, {spec.bits} bits, scale {spec.scale:.6g}, encoding {spec.encoding}; "
        f"num_steps {network.num_steps}, reset {network.reset}, readout {network.readout}\n"
        f"digest {network.digest}",
    )
    description = describe(network)
    if budget is not None:
        console.print(budget_table(budget))
        console.print(budget.summary)
        console.print(energy_line(budget))
        description["chip"] = budget.as_dict()
    write_json(description, json_path)


def describe(network: QuantizedNetwork) -> dict[str, Any]:
    """Return a network's description as plain data."""
    return {
        "input": {
            "shape": list(network.input.shape),
            "bits": network.input.bits,
            "scale": network.input.scale,
            "encoding": network.input.encoding,
        },
        "num_steps": network.num_steps,
        "reset": network.reset,
        "readout": network.readout,
        "digest": network.digest,
        "layers": [
            {
                "name": layer.name,
                "kind": type(layer).__name__,
                "output_shape": list(layer.output_shape),
                "neurons": layer.neurons,
                "weights": layer.weight.size,
                "weight_bits": layer.weight_bits,
                "threshold": layer.threshold,
                "current_decay": layer.current_decay,
                "voltage_decay": layer.voltage_decay,
                "bias": [int(layer.bias.min()), int(layer.bias.max())],
                "state": [bounds.low, bounds.high],
                "proven": bounds.proven,
            }
            for layer, bounds in zip(network.layers, network.bounds, strict=True)
        ],
    }


def layer_table(network: QuantizedNetwork) -> Table:
    """Return a table of a network's layers for the terminal."""
    table = Table(title=f"reset {network.reset}, num_steps {network.num_steps}")
    for name in ("layer", "synapses", "output", "weights", "bits", "threshold", "bias"):
        table.add_column(name, justify="left" if name in ("layer", "synapses") else "right")
    table.add_column(f"state within ±{STATE_LIMIT}")
    for layer, bounds in zip(network.layers, network.bounds, strict=True):
        reach = f"{bounds.low} … {bounds.high}"
        table.add_row(
            layer.name,
            _synapses(layer),
            _pair(layer.output_shape),
            str(layer.weight.size),
            str(layer.weight_bits),
            "readout" if layer.threshold is None else str(layer.threshold),
            f"{layer.bias.min()} … {layer.bias.max()}",
            f"proven ({reach})" if bounds.proven else f"not proven ({reach}); verify on data",
        )
    total = sum(layer.neurons for layer in network)
    table.caption = f"{total} neurons, {sum(layer.weight.size for layer in network)} weights"
    return table


def budget_table(budget: ChipBudget) -> Table:
    """Return a table of what each layer takes of a chip, for the terminal."""
    table = Table(title="Loihi 2, estimated; words and axons of the fullest core")
    table.add_column("layer")
    for name in ("cores", "neurons", "on a core", "synapse words", "axons in", "axons out"):
        table.add_column(name, justify="right")
    table.add_column("block w×h×c")
    for layer in budget.layers:
        clocks = f" + {layer.clock_cores}" if layer.clock_cores else ""
        core = layer.core
        numbers = (layer.neurons, core.neurons, core.synapse_words, core.axons_in, core.axons_out)
        block = "" if layer.block is None else _pair(layer.block)
        table.add_row(layer.name, f"{layer.cores}{clocks}", *map(str, numbers), block)
    if any(layer.clock_cores for layer in budget.layers):
        table.caption = "+ 1: the core of the clock that silences the layer between two windows"
    return table


def energy_line(budget: ChipBudget) -> str:
    """Return one line about the energy of a sample, its source named."""
    energy = budget.energy
    kind = "recorded" if energy.recorded else "at most"
    return (
        f"{kind} {energy.synops:.0f} SynOps a sample: {energy.loihi1_joules * 1e6:.3g} µJ dynamic "
        f"with Loihi 1 constants (Davies 2018), {energy.hala_point_joules * 1e6:.3g} µJ at Hala "
        f"Point's full load; static power apart, {budget.static_watts:.3g} W"
    )


def _synapses(layer: Layer) -> str:
    if not isinstance(layer, Conv2d):
        return f"dense {math.prod(layer.input_shape)}→{layer.neurons}"
    parts = [f"conv {_pair(layer.weight.shape[2:])}"]
    for field, plain in (("stride", 1), ("padding", 0), ("dilation", 1)):
        rows, columns = getattr(layer, field)
        if (rows, columns) != (plain, plain):
            parts.append(f"{field} {rows if rows == columns else _pair((rows, columns))}")
    if layer.groups != 1:
        parts.append(f"{layer.groups} groups")
    return ", ".join(parts)


def _pair(values: tuple[int, ...]) -> str:
    return "×".join(map(str, values))
