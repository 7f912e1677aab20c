"""The ``.net`` file: lava-dl's netx schema in HDF5, and what that schema has no place for.

A network that netx could follow, a chain of ``Conv2d`` and ``Dense``, is a file of version 2. Any
other is one of version 3, whose layers are in another group: netx passes over layers of types that
it does not know and over attributes, turns some weights into others, and would run a different
network without a word.

``docs/net-format.md`` describes the format for readers without tandem-hw. Schema:
``lava/lib/dl/netx/hdf5.py`` of lava-dl 0.6.0.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np

from tandem_hw.errors import FileFormatError, NetworkError
from tandem_hw.export.hdf5_tree import FORMAT, VERSION, Group, check_same, read_tree, write_tree
from tandem_hw.export.items import Array, shown
from tandem_hw.export.netx_weights import netx_changes
from tandem_hw.network.choices import Encoding, Readout, Reset
from tandem_hw.network.convolutions import Convolution
from tandem_hw.network.layers import INPUT_SOURCE
from tandem_hw.network.quantized import (
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Dense,
    InputSpec,
    Layer,
    OneToOne,
    QuantizedNetwork,
    Shape,
    require_quantized,
)
from tandem_hw.version import installed_version

FORMAT_NAME: Final = "tandem-hw network"
#: 2: the decays of current and voltage belong to the network, and so to its digest.
CHAIN_VERSION: Final = 2
#: 3: layers of every kind, with sources and skips, and results and inputs of any shape.
GRAPH_VERSION: Final = 3
#: Where the layers of each version are; netx reads "layer".
_LAYERS_GROUP: Final = {CHAIN_VERSION: "layer", GRAPH_VERSION: "graph"}

#: netx builds Lava's LIF for this type. LIF resets to zero.
_CUBA: Final = "CUBA"
#: netx knows no neuron that resets by subtraction. It refuses a type that it does not know.
_SUBTRACTING: Final = "TANDEM_IF"

#: Limits on what a damaged or hostile file can ask a simulator for. They are far above any chip.
_LENGTH_MAX: Final = 1 << 24
_VALUES_MAX: Final = 1 << 28
#: Longest name of a layer in bytes: HDF5 attributes are small.
_NAME_BYTES_MAX: Final = 1024


@dataclass(frozen=True)
class _Kind:
    """How a layer of one type is stored."""

    make: type[Layer]
    weight_axes: tuple[str, ...]
    geometry: tuple[str, ...] = ()  # of convolutions, which have ``groups`` as well


_GEOMETRY: Final = ("stride", "padding", "dilation")
_IMAGE: Final = ("out", "in / groups", "kernel_h", "kernel_w")
_KINDS: Final = {
    "conv": _Kind(Conv2d, _IMAGE, _GEOMETRY),
    "conv1d": _Kind(Conv1d, ("out", "in / groups", "kernel"), _GEOMETRY),
    "convT": _Kind(ConvTranspose2d, _IMAGE, (*_GEOMETRY, "output_padding")),
    "dense": _Kind(Dense, ("out", "in")),
    "one_to_one": _Kind(OneToOne, ("1",)),
}
_TYPE_NAMES: Final = {kind.make: name for name, kind in _KINDS.items()}


def write_net(network: QuantizedNetwork, path: str | os.PathLike[str]) -> None:
    """Write a network; the same network gives the same bytes.

    Args:
        network: what to write.
        path: the file, by custom ``*.net``; written whole or not at all.

    Raises:
        NetworkError: a shape or name is too large for the format, or it has no such layers.
        FileFormatError: the path cannot be written to, or its name says that it is NIR.
    """
    require_quantized(network)
    if Path(path).suffix.lower() == ".nir":
        raise FileFormatError(
            f"{path}: has the name of a NIR file, and this writes a .net file; give it the suffix "
            f".net, or use tandem_hw.write_nir"
        )
    check_sizes(network)
    write_tree(
        path, _network_tree(network, f"tandem-hw {installed_version()}", _version_of(network))
    )


def read_net(path: str | os.PathLike[str]) -> QuantizedNetwork:
    """Read a network and check everything that the file says.

    Args:
        path: a file that ``write_net`` wrote.

    Returns:
        The network, with the digest that the file has.

    Raises:
        FileFormatError: the file is missing, truncated, altered, foreign or of another version.
    """
    tree = read_tree(path, FORMAT_NAME, (CHAIN_VERSION, GRAPH_VERSION))
    try:
        network = _read_network(tree)
        check_sizes(network)
    except NetworkError as error:
        raise FileFormatError(
            f"{path}: the file does not hold a valid network: {error}; export it again"
        ) from error
    if network.digest != tree.text_attribute("digest"):
        raise FileFormatError(
            f"{path}: the content does not match its checksum: the file was altered or damaged; "
            f"export it again"
        )
    # Whatever the network does not depend on is compared with what would have been written.
    # Older writers gave version 2 to all chains, whatever netx makes of their weights.
    is_old = tree.integer_attribute(VERSION) == CHAIN_VERSION and _is_chain(network)
    version = CHAIN_VERSION if is_old else _version_of(network)
    check_same(tree, _network_tree(network, tree.text_attribute("writer"), version))
    return network


def check_sizes(network: QuantizedNetwork) -> None:
    """Refuse shapes that no simulator could allocate."""
    shapes = {"input": network.input.shape} | {layer.name: layer.output_shape for layer in network}
    for name, shape in shapes.items():
        if max(shape) > _LENGTH_MAX or math.prod(shape) > _VALUES_MAX:
            raise NetworkError(
                f"{name}: shape {shape} is too large: at most {_LENGTH_MAX} a dimension and "
                f"{_VALUES_MAX} values are allowed"
            )
    for synapses in (one for layer in network for one in (layer, *layer.skips)):
        name = synapses.name
        if len(name.encode()) > _NAME_BYTES_MAX:
            raise NetworkError(f"the layer name {name[:40]}… is over {_NAME_BYTES_MAX} bytes")
        for field in _KINDS[_type_name(synapses)].geometry:
            if max(getattr(synapses, field)) > _LENGTH_MAX:
                raise NetworkError(
                    f"{name}: {field} {getattr(synapses, field)} is over {_LENGTH_MAX}"
                )


def _type_name(layer: Layer) -> str:
    if type(layer) not in _TYPE_NAMES:
        raise NetworkError(
            f"layer {layer.name}: a .net file has no {type(layer).__name__}; it holds "
            f"{', '.join(kind.make.__name__ for kind in _KINDS.values())}"
        )
    return _TYPE_NAMES[type(layer)]


def _is_chain(network: QuantizedNetwork) -> bool:
    """Whether version 2 has a place for a network."""
    is_chain = all(
        isinstance(layer, Conv2d | Dense) and not layer.source and not layer.skips
        for layer in network
    )
    shapes_are_old = len(network.input.shape) != 2 and len(network.layers[-1].output_shape) == 1
    return is_chain and shapes_are_old


def _netx_changes(network: QuantizedNetwork) -> bool:
    """Whether netx, which knows no reset by subtraction, would run a chain with other weights."""
    return network.reset == "zero" and any(
        isinstance(layer, Dense) and netx_changes(layer.weight) for layer in network
    )


def _version_of(network: QuantizedNetwork) -> int:
    """Return the first version of the format that has a place for a network."""
    return CHAIN_VERSION if _is_chain(network) and not _netx_changes(network) else GRAPH_VERSION


# From a network to a tree ------------------------------------------------------------------------


def network_attributes(network: QuantizedNetwork) -> dict[str, int | float | str]:
    """Return what a file says of a network as a whole, whatever its format."""
    return {
        "digest": network.digest,
        "num_steps": network.num_steps,
        "reset": network.reset,
        "readout": network.readout,
        "readout_scale": network.readout_scale,
        "input_bits": network.input.bits,
        "input_scale": network.input.scale,
        "input_encoding": network.input.encoding,
    }


def _network_tree(network: QuantizedNetwork, writer: str, version: int) -> Group:
    entries = [Group(children={"type": _text("input"), "shape": _numbers(network.input.shape)})]
    for layer in network:
        takes_image = isinstance(layer, Dense) and len(layer.input_shape) > 1
        if takes_image and version == CHAIN_VERSION:
            entries.append(Group(children={"type": _text("flatten")}))
        entries.append(_layer_tree(layer, network.reset))
    return Group(
        attributes={
            FORMAT: FORMAT_NAME,
            VERSION: version,
            "writer": writer,
            **network_attributes(network),
        },
        children={_LAYERS_GROUP[version]: _numbered(entries)},
    )


def _numbered(entries: list[Group]) -> Group:
    return Group(children={str(index): entry for index, entry in enumerate(entries)})


def _layer_tree(layer: Layer, reset: str) -> Group:
    synapses = _synapses_tree(layer)
    children = {
        **synapses.children,
        "shape": _numbers(layer.output_shape),
        "bias": layer.bias.astype("<i4"),
    }
    if layer.threshold is not None:
        children["neuron"] = _neuron_tree(layer, layer.threshold, reset)
    if layer.skips:
        children["skips"] = _numbered([_synapses_tree(skip) for skip in layer.skips])
    return Group(synapses.attributes, children)


def _synapses_tree(layer: Layer) -> Group:
    """Return what a layer and a skip have in common."""
    kind = _KINDS[_type_name(layer)]
    children: dict[str, Group | Array] = {
        "type": _text(_type_name(layer)),
        "weight": layer.weight.astype(np.dtype(layer.weight_dtype).newbyteorder("<")),
    }
    children |= {field: _numbers(getattr(layer, field)) for field in kind.geometry}
    if isinstance(layer, Convolution):
        children["groups"] = _numbers(layer.groups)
    source = {"source": layer.source} if layer.source else {}
    return Group({"name": layer.name, "weight_bits": layer.weight_bits, **source}, children)


def _neuron_tree(layer: Layer, threshold: int, reset: str) -> Group:
    # A neuron fires when its voltage exceeds vth; ours fires at the threshold itself.
    vth = _numbers(threshold - 1)
    if reset == "subtract":
        return Group(children={"type": _text(_SUBTRACTING), "vThMant": vth})
    return Group(
        children={
            "type": _text(_CUBA),
            "iDecay": _numbers(layer.current_decay),  # netx computes du = iDecay - 1
            "vDecay": _numbers(layer.voltage_decay),
            "vThMant": vth,
            "refDelay": _numbers(1),
            "gradedSpike": _numbers(0),
        }
    )


def _text(text: str) -> Array:
    """Return a text as lava-dl's slayer writes it, one value of 10 bytes."""
    return np.array([text.encode()], dtype="S10")


def _numbers(values: int | tuple[int, ...]) -> Array:
    """Return integers as a tree holds them; a single one is a scalar, as netx wants ``groups``."""
    return np.array(values, dtype="<i4")


# From a tree to a network ------------------------------------------------------------------------


def _read_network(tree: Group) -> QuantizedNetwork:
    version = tree.integer_attribute(VERSION)
    entries = tree.group(_LAYERS_GROUP[version])
    first = entries.group("0")
    if first.text("type") != "input":
        raise FileFormatError(f'{first.location}/type is {first.text("type")!r}; "input" is needed')
    spec = InputSpec(
        first.axes("shape"),
        tree.integer_attribute("input_bits"),
        tree.float_attribute("input_scale"),
        tree.choice_attribute("input_encoding", get_args(Encoding)),
    )
    layers: list[Layer] = []
    outputs, before = {INPUT_SOURCE: spec.shape}, INPUT_SOURCE
    for index in range(1, len(entries.children)):
        entry = entries.group(str(index))
        # Where a "flatten" stands follows from the shapes, and is compared with them afterwards.
        if version == CHAIN_VERSION and entry.text("type") == "flatten":
            continue
        layers.append(_read_layer(entry, outputs, before))
        before = layers[-1].name
        outputs[before] = layers[-1].output_shape
    return QuantizedNetwork(
        spec,
        tuple(layers),
        tree.integer_attribute("num_steps"),
        tree.choice_attribute("reset", get_args(Reset)),
        tree.choice_attribute("readout", get_args(Readout)),
        tree.float_attribute("readout_scale"),
    )


def _read_layer(entry: Group, outputs: Mapping[str, Shape], before: str) -> Layer:
    """Read a layer; ``outputs`` has the shapes of those that were read, ``before`` is the last."""
    neurons: dict[str, Any] = {"bias": entry.array("bias")}
    if "neuron" in entry.children:
        neuron = entry.group("neuron")
        neurons["threshold"] = neuron.integer("vThMant") + 1
        if neuron.text("type") == _CUBA:
            neurons["current_decay"] = neuron.integer("iDecay")
            neurons["voltage_decay"] = neuron.integer("vDecay")
    if "skips" in entry.children:
        skips = entry.group("skips")
        neurons["skips"] = tuple(
            _read_synapses(skips.group(str(index)), outputs, before, {})
            for index in range(len(skips.children))
        )
    return _read_synapses(entry, outputs, before, neurons)


def _read_synapses(
    entry: Group, outputs: Mapping[str, Shape], before: str, neurons: Mapping[str, Any]
) -> Layer:
    """Read what a layer and a skip have in common; ``neurons`` are the fields of a layer alone."""
    name = entry.text("type")
    if name not in _KINDS:
        raise FileFormatError(
            f"{entry.location}/type is {name!r}; allowed are {', '.join(_KINDS)}, and flatten in "
            f"files of version {CHAIN_VERSION}"
        )
    kind, weight = _KINDS[name], entry.array("weight")
    if weight.ndim != len(kind.weight_axes):
        raise FileFormatError(
            f"{entry.location}/weight has shape {weight.shape}; a {name} layer needs "
            f"[{', '.join(kind.weight_axes)}]"
        )
    source = entry.text_attribute("source") if "source" in entry.attributes else ""
    if (source or before) not in outputs:
        raise FileFormatError(
            f"{entry.location}: attribute source is {shown(source)}, which is no layer before it"
        )
    arguments: dict[str, Any] = {
        "name": entry.text_attribute("name"),
        "weight": weight,
        "weight_bits": entry.integer_attribute("weight_bits"),
        "bias": np.zeros(weight.shape[0], np.int32),
        "threshold": None,
        "input_shape": outputs[source or before],
        "source": source,
        **neurons,
    }
    arguments |= {field: entry.axes(field) for field in kind.geometry}
    if kind.geometry:
        arguments["groups"] = entry.integer("groups")
    return kind.make(**arguments)
