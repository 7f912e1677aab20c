"""A network as a table and as plain data; without PyTorch."""

from __future__ import annotations

from typing import Any, Final

from rich.table import Table

from tandem_hw.cli.output.table_width import natural_width
from tandem_hw.counted import counted
from tandem_hw.network.choices import is_phased
from tandem_hw.network.fixed_point import STATE_LIMIT
from tandem_hw.network.layers import INPUT_SOURCE
from tandem_hw.network.output_meaning import OutputMeaning
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.saturation import beyond
from tandem_hw.network.synapses.dense import OneToOne
from tandem_hw.network.wiring import Connection
from tandem_hw.plain_text import plain


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
        "firing_delay": network.firing_delay,
        "meaning": None if network.meaning is None else network.meaning.to_dict(),
        "digest": network.digest,
        "layers": [
            {
                **_connection(network, connections[0]),
                "depth": depth,
                "firing_delay": delay,
                "output_shape": list(layer.output_shape),
                "neurons": layer.num_neurons,
                "threshold": layer.neurons.threshold,
                "current_decay": layer.neurons.current_decay,
                "voltage_decay": layer.neurons.voltage_decay,
                "bias": [int(layer.neurons.bias.min()), int(layer.neurons.bias.max())],
                "state": [bounds.low, bounds.high],
                "proven": bounds.proven,
                "beyond": beyond(bounds),
                "skips": [_connection(network, connection) for connection in connections[1:]],
            }
            for layer, bounds, connections, depth, delay in zip(
                network.layers,
                network.bounds,
                wiring.connections,
                wiring.depths,
                wiring.firing_delays,
                strict=True,
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


def window_words(network: QuantizedNetwork) -> str:
    """Say how long a window is, and how long a layer waits in it if it does."""
    delay, num_steps = network.firing_delay, network.num_steps
    phased = network.reset == "subtract" and is_phased(delay, num_steps)
    # In a window of one step nothing is left to wait for: phased without a delay.
    waits = f", firing_delay {delay}" if delay or phased else ""
    return f"num_steps {num_steps}{waits}{' (phased)' if phased else ''}"


def meaning_words(meaning: OutputMeaning) -> str:
    """Say what a network was trained for, and what its classes are called."""
    names = f"; classes: {', '.join(meaning.class_names)}" if meaning.class_names else ""
    return plain(f"trained for {meaning.objective}{names}")


def layer_tables(network: QuantizedNetwork, width: int) -> list[Table]:
    """Return a table of a network's layers for the terminal, a row for every skip path.

    Args:
        network: what is shown.
        width: characters of a line; where the table is wider, its synapses and its neurons are
            tables of their own.
    """
    both, synapses, neurons = (_empty_table(network, *columns) for columns in _COLUMNS)
    weights = 0
    for layer, bounds, connections in zip(
        network.layers, network.bounds, network.wiring.connections, strict=True
    ):
        reach = f"{bounds.low} to {bounds.high}"
        main, *skips = (_connection_cells(network, connection) for connection in connections)
        own = (
            "readout" if not layer.fires else str(layer.neurons.threshold),
            f"{layer.neurons.bias.min()} to {layer.neurons.bias.max()}",
            f"proven ({reach})" if bounds.proven else f"not proven ({reach})",
        )
        both.add_row(layer.name, *main, *own)
        synapses.add_row(layer.name, *main)
        neurons.add_row(layer.name, *own)
        for skip, cells in zip(layer.synapses[1:], skips, strict=True):
            both.add_row(f"+ {skip.name}", *cells)
            synapses.add_row(f"+ {skip.name}", *cells)
        weights += sum(connection.synapses.weight.size for connection in connections)
    total = sum(layer.num_neurons for layer in network)
    both.caption = neurons.caption = f"{counted(total, 'neuron')}, {counted(weights, 'weight')}"
    neurons.title = None
    return [both] if natural_width(both) <= width else [synapses, neurons]


_TEXTS: Final = ("layer", "from", "synapses", f"state within ±{STATE_LIMIT}")
_SYNAPSES: Final = ("from", "synapses", "output", "weights", "bits")
_NEURONS: Final = ("threshold", "bias", _TEXTS[-1])
#: Of the whole table, and of its two parts.
_COLUMNS: Final = tuple(("layer", *part) for part in (_SYNAPSES + _NEURONS, _SYNAPSES, _NEURONS))


def _empty_table(network: QuantizedNetwork, *columns: str) -> Table:
    table = Table(title=f"reset {network.reset}, {window_words(network)}")
    for name in columns:
        table.add_column(name, justify="left" if name in _TEXTS else "right")
    return table


def _connection_cells(network: QuantizedNetwork, connection: Connection) -> tuple[str, ...]:
    """Return the columns from the source to the bits."""
    synapses, late = connection.synapses, connection.delay
    held = f", held back {counted(late, 'step')}" if late else ""
    return (
        f"{_source(network, connection)}{held}",
        synapses.title,
        pair(synapses.output_shape),
        str(synapses.weight.size),
        "" if isinstance(synapses, OneToOne) else str(synapses.weight_bits),
    )


def pair(values: tuple[int, ...]) -> str:
    """Return a shape as it is shown, such as 3×3."""
    return "×".join(map(str, values))
