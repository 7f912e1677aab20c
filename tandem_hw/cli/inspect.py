"""``tandem-hw inspect``: what is in a .net file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from tandem_hw.cli.options import check_outputs, json_option, network_argument, write_json
from tandem_hw.cli.terminal import make_console
from tandem_hw.export.net_file import read_net
from tandem_hw.fixed_point import STATE_LIMIT
from tandem_hw.network import Conv2d, Layer, QuantizedNetwork


@click.command("inspect")
@network_argument
@json_option
def command(network_path: Path, json_path: Path | None) -> None:
    """Show the layers of NET, their integers, and what their states are proven to stay within."""
    check_outputs(json_path, inputs=[network_path])
    network = read_net(network_path)
    console = make_console()
    console.print(layer_table(network))
    spec = network.input
    console.print(
        f"input {spec.shape}, {spec.bits} bits, scale {spec.scale:.6g}, encoding {spec.encoding}; "
        f"num_steps {network.num_steps}, reset {network.reset}, readout {network.readout}\n"
        f"digest {network.digest}",
    )
    write_json(describe(network), json_path)


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
