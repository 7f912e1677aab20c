"""The digest of a network: SHA-256 over every field and array that its results depend on.

What is hashed was settled when a layer was its main synapses and neurons in one record, with its
skips as layers without neurons within it; a source was left out where it is the layer before. The
digests of all files that were ever written rest on that order and these names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.network.layers import INPUT_SOURCE, Layer, Neurons
from tandem_hw.network.synapses.convolutions import Convolution
from tandem_hw.network.synapses.kind import Synapses

_Item = tuple[str, Any]


def network_digest(network: Any, said: Collection[str] = ()) -> str:
    """Return the digest of a ``QuantizedNetwork``, 64 hexadecimal digits.

    Args:
        network: of which the digest is.
        said: names of layers whose source counts although it is the layer before: files of version
            0.1 could say so, and had a digest of their own then.
    """
    state = hashlib.sha256()
    for name, value in _described(network, said):
        state.update(f"{name}={value!r};".encode() if not isinstance(value, bytes) else value)
    return state.hexdigest()


def _described(network: Any, said: Collection[str]) -> Iterator[_Item]:
    yield "type", type(network).__name__
    for entry in fields(network):
        if entry.name == "meaning":
            continue  # nothing that is computed depends on it
        value = getattr(network, entry.name)
        if entry.name == "firing_delay" and value == 0:
            continue  # there was none when the digests of the first files were made
        if entry.name == "layers":
            before = INPUT_SOURCE
            for index, layer in enumerate(value):
                source = None if layer.name in said else before
                yield from _layer(layer, source, f"layers.{index}.")
                before = layer.name
        elif entry.name == "input":
            yield "input.type", type(value).__name__
            yield from ((f"input.{one.name}", getattr(value, one.name)) for one in fields(value))
        else:
            yield entry.name, value


def _layer(layer: Layer, before: str | None, path: str) -> Iterator[_Item]:
    main, *skips = layer.inputs
    yield from _synapses(main.synapses, layer.neurons, path)
    if main.source != before:
        yield f"{path}source", main.source
    for index, (source, synapses) in enumerate(skips):
        there = f"{path}skips.{index}."
        nothing = Neurons(np.zeros(len(synapses.weight), np.int32), threshold=None)
        yield from _synapses(synapses, nothing, there)
        yield f"{there}source", source
        yield from _geometry(synapses, there)
    yield from _geometry(main.synapses, path)


def _synapses(synapses: Synapses, neurons: Neurons, path: str) -> Iterator[_Item]:
    yield f"{path}type", type(synapses).__name__
    yield f"{path}name", synapses.name
    yield from _array(f"{path}weight", synapses.weight)
    yield f"{path}weight_bits", synapses.weight_bits
    yield from _array(f"{path}bias", neurons.bias)
    yield f"{path}threshold", neurons.threshold
    yield f"{path}input_shape", synapses.input_shape
    yield f"{path}current_decay", neurons.current_decay
    yield f"{path}voltage_decay", neurons.voltage_decay


def _geometry(synapses: Synapses, path: str) -> Iterator[_Item]:
    if isinstance(synapses, Convolution):
        for entry in fields(synapses.geometry):
            yield f"{path}{entry.name}", getattr(synapses.geometry, entry.name)


def _array(name: str, values: npt.NDArray[Any]) -> Iterator[_Item]:
    yield f"{name}.shape", values.shape
    yield name, np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
