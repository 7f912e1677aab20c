"""Layers and networks in few words, for cases and tests.

A function for each kind of synapses makes a layer of all that it has, by the names of the fields of
its synapses, geometry and neurons. A layer without a source is fed by the one before it, which
``network_of`` and ``connected`` fill in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

import numpy as np

from tandem_hw.network.layers import INPUT_SOURCE, Input, Layer, Neurons
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork, Readout, Reset
from tandem_hw.network.synapses.convolutions import Conv1d, Conv2d, ConvTranspose2d
from tandem_hw.network.synapses.dense import Dense, OneToOne
from tandem_hw.network.synapses.kind import Synapses

#: The source of a layer that takes the spikes of the one before it.
BEFORE = ""
_NEURONS = frozenset(field.name for field in fields(Neurons))


def make(
    kind: type[Synapses],
    name: str,
    weight: Any,
    weight_bits: int,
    bias: Any,
    threshold: int | None,
    input_shape: tuple[int, ...],
    *,
    source: str = BEFORE,
    skips: Iterable[Layer | Input] = (),
    **others: Any,
) -> Layer:
    """Return a layer; ``others`` are decays of its neurons and numbers of its geometry."""
    decays = {field: others.pop(field) for field in _NEURONS & set(others)}
    synapses = make_synapses(kind, name, weight, weight_bits, input_shape, **others)
    inputs = (Input(source, synapses), *map(as_input, skips))
    return Layer(name, Neurons(bias, threshold, **decays), inputs)


def make_synapses(
    kind: type[Synapses],
    name: str,
    weight: Any,
    weight_bits: int,
    input_shape: tuple[int, ...],
    **geometry: Any,
) -> Synapses:
    """Return synapses; ``geometry`` are the numbers that are not the kind's own default."""
    arguments: dict[str, Any] = {}
    if geometry:
        default: Any = next(field for field in fields(kind) if field.name == "geometry")
        arguments["geometry"] = replace(default.default_factory(), **geometry)
    return kind(name, np.asarray(weight), weight_bits, input_shape, **arguments)


def dense_layer(*arguments: Any, **named: Any) -> Layer:
    """Return a layer of ``Dense`` synapses; see ``make``."""
    return make(Dense, *arguments, **named)


def one_to_one_layer(*arguments: Any, **named: Any) -> Layer:
    """Return a layer of ``OneToOne`` synapses; see ``make``."""
    return make(OneToOne, *arguments, **named)


def conv1d_layer(*arguments: Any, **named: Any) -> Layer:
    """Return a layer of ``Conv1d`` synapses; see ``make``."""
    return make(Conv1d, *arguments, **named)


def conv2d_layer(*arguments: Any, **named: Any) -> Layer:
    """Return a layer of ``Conv2d`` synapses; see ``make``."""
    return make(Conv2d, *arguments, **named)


def conv_transpose2d_layer(*arguments: Any, **named: Any) -> Layer:
    """Return a layer of ``ConvTranspose2d`` synapses; see ``make``."""
    return make(ConvTranspose2d, *arguments, **named)


def as_input(skip: Layer | Input) -> Input:
    """Return the first synapses of a layer as further ones for another layer."""
    return skip.inputs[0] if isinstance(skip, Layer) else skip


def changed(layer: Layer, **changes: Any) -> Layer:
    """Return a layer with other fields, by the names that the functions above take."""
    first, *others = layer.inputs
    neurons = {field: changes.pop(field) for field in _NEURONS & set(changes)}
    inputs = map(as_input, changes.pop("skips", others))
    source = changes.pop("source", first.source)
    geometry: Any = getattr(first.synapses, "geometry", None)
    if geometry is not None:
        names = {field.name for field in fields(geometry)} & set(changes)
        changes["geometry"] = replace(geometry, **{name: changes.pop(name) for name in names})
    synapses = replace(first.synapses, **changes)
    return Layer(
        synapses.name, replace(layer.neurons, **neurons), (Input(source, synapses), *inputs)
    )


def connected(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """Fill in the sources of layers that are fed by the one before, the first by the input."""
    before, found = INPUT_SOURCE, []
    for layer in layers:
        first, *others = layer.inputs
        source = before if first.source == BEFORE else first.source
        found.append(replace(layer, inputs=(Input(source, first.synapses), *others)))
        before = layer.name
    return tuple(found)


def network_of(
    spec: InputSpec,
    layers: Iterable[Layer],
    num_steps: int,
    reset: Reset,
    readout: Readout = "potential",
    readout_scale: float = 1.0,
) -> QuantizedNetwork:
    """Return a network of layers that are connected where their source is not said."""
    return QuantizedNetwork(spec, connected(layers), num_steps, reset, readout, readout_scale)
