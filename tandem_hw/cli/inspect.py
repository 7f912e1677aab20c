"""``tandem-hw inspect``: what is in a .net file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from tandem_hw.chip.budget import ChipBudget, chip_budget
from tandem_hw.cli.options import check_outputs, json_option, network_argument, write_json
from tandem_hw.cli.terminal import make_console, warn
from tandem_hw.export.files import read_network
from tandem_hw.network.fixed_point import STATE_LIMIT
from tandem_hw.network.layers import INPUT_SOURCE
from tandem_hw.network.quantized import (
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Layer,
    OneToOne,
    QuantizedNetwork,
)
from tandem_hw.network.saturation import beyond, unproven_lines
from tandem_hw.network.wiring import Connection


@click.command("inspect")
@network_argument
@click.option("--chip", is_flag=True, help="Estimate cores, chips, steps and energy on Loihi 2.")
@json_option
def command(network_path: Path, chip: bool, json_path: Path | None) -> None:
    """Show the layers of NET, their integers, and what their states are proven to stay within."""
    check_outputs(json_path, inputs=[network_path])
    network = read_network(network_path)
    budget = chip_budget(network) if chip else None
    console = make_console()
    console.print(layer_table(network))
    warn(console, unproven_lines(network))
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
    wiring = network.wiring
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
                **_connection(network, connections[0]),
                "depth": depth,
                "output_shape": list(layer.output_shape),
                "neurons": layer.neurons,
                "threshold": layer.threshold,
                "current_decay": layer.current_decay,
                "voltage_decay": layer.voltage_decay,
                "bias": [int(layer.bias.min()), int(layer.bias.max())],
                "state": [bounds.low, bounds.high],
                "proven": bounds.proven,
                "beyond": beyond(bounds),
                "skips": [_connection(network, connection) for connection in connections[1:]],
            }
            for layer, bounds, connections, depth in zip(
                network.layers, network.bounds, wiring.connections, wiring.depths, strict=True
            )
        ],
    }


def _connection(network: QuantizedNetwork, connection: Connection) -> dict[str, Any]:
    """Describe the synapses of a layer or a skip, and what they are connected to."""
    return {
        "name": connection.synapses.name,
        "kind": type(connection.synapses).__name__,
        "source": _source(network, connection),
        "delay": connection.delay,
        "weights": connection.synapses.weight.size,
        "weight_bits": connection.synapses.weight_bits,
    }


def _source(network: QuantizedNetwork, connection: Connection) -> str:
    return INPUT_SOURCE if connection.source is None else network.layers[connection.source].name


def layer_table(network: QuantizedNetwork) -> Table:
    """Return a table of a network's layers for the terminal, a row for every skip path."""
    table = Table(title=f"reset {network.reset}, num_steps {network.num_steps}")
    left = ("layer", "from", "synapses")
    for name in (*left, "output", "weights", "bits", "threshold", "bias"):
        table.add_column(name, justify="left" if name in left else "right")
    table.add_column(f"state within ±{STATE_LIMIT}")
    weights = 0
    for layer, bounds, connections in zip(
        network.layers, network.bounds, network.wiring.connections, strict=True
    ):
        reach = f"{bounds.low} … {bounds.high}"
        main, *skips = (_connection_cells(network, connection) for connection in connections)
        table.add_row(
            layer.name,
            *main,
            "readout" if layer.threshold is None else str(layer.threshold),
            f"{layer.bias.min()} … {layer.bias.max()}",
            f"proven ({reach})" if bounds.proven else f"not proven ({reach})",
        )
        for skip, cells in zip(layer.skips, skips, strict=True):
            table.add_row(f"+ {skip.name}", *cells)
        weights += sum(connection.synapses.weight.size for connection in connections)
    total = sum(layer.neurons for layer in network)
    table.caption = f"{total} neurons, {weights} weights"
    return table


def _connection_cells(network: QuantizedNetwork, connection: Connection) -> tuple[str, ...]:
    """Return the columns from the source to the bits."""
    synapses, late = connection.synapses, connection.delay
    held = f", held back {late} {'step' if late == 1 else 'steps'}" if late else ""
    return (
        f"{_source(network, connection)}{held}",
        _synapses(synapses),
        _pair(synapses.output_shape),
        str(synapses.weight.size),
        "" if isinstance(synapses, OneToOne) else str(synapses.weight_bits),
    )


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
    if isinstance(layer, OneToOne):
        return f"one to one, {layer.weight[0]}"
    if not isinstance(layer, Conv1d | Conv2d | ConvTranspose2d):
        return f"dense {math.prod(layer.input_shape)}→{layer.neurons}"
    kind = "transposed conv" if isinstance(layer, ConvTranspose2d) else "conv"
    parts = [f"{kind} {_pair(layer.weight.shape[2:])}"]
    for field, plain in (("stride", 1), ("padding", 0), ("dilation", 1), ("output_padding", 0)):
        values = getattr(layer, field, (plain,))
        if set(values) != {plain}:
            shown = values[0] if len(set(values)) == 1 else _pair(values)
            parts.append(f"{field.replace('_', ' ')} {shown}")
    if layer.groups != 1:
        parts.append(f"{layer.groups} groups")
    return ", ".join(parts)


def _pair(values: tuple[int, ...]) -> str:
    return "×".join(map(str, values))
