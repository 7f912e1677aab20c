"""The ``.net`` file: lava-dl's netx schema in HDF5, and what that schema has no place for.

``docs/net-format.md`` describes the format for readers without tandem-hw. Schema:
``lava/lib/dl/netx/hdf5.py`` of lava-dl 0.6.0.
"""

from __future__ import annotations

import math
import os
from importlib import metadata
from typing import Any, Final

import numpy as np

from tandem_hw.errors import FileFormatError, NetworkError
from tandem_hw.export.hdf5_tree import (
    FORMAT,
    VERSION,
    Array,
    Group,
    check_same,
    read_tree,
    shown,
    write_tree,
)
from tandem_hw.network import Conv2d, Dense, InputSpec, Layer, QuantizedNetwork, Shape

FORMAT_NAME: Final = "tandem-hw network"
#: 2: the decays of current and voltage belong to the network, and so to its digest.
FORMAT_VERSION: Final = 2

#: netx builds Lava's LIF for this type. LIF resets to zero.
_CUBA: Final = "CUBA"
#: netx knows no neuron that resets by subtraction. It refuses a type that it does not know.
_SUBTRACTING: Final = "TANDEM_IF"

#: Limits on what a damaged or hostile file can ask a simulator for. They are far above any chip.
_LENGTH_MAX: Final = 1 << 24
_VALUES_MAX: Final = 1 << 28
#: Longest name of a layer in bytes: HDF5 attributes are small.
_NAME_BYTES_MAX: Final = 1024
#: Longer than any text that a reset, readout or encoding is called.
_CHOICE_LENGTH_MAX: Final = 40

_WEIGHT_AXES: Final = {
    "conv": ("out", "in / groups", "kernel_h", "kernel_w"),
    "dense": ("out", "in"),
}


def write_net(network: QuantizedNetwork, path: str | os.PathLike[str]) -> None:
    """Write a network; the same network gives the same bytes.

    Args:
        network: what to write.
        path: the file, by custom ``*.net``; written whole or not at all.

    Raises:
        NetworkError: a shape or name is too large for the format.
        FileFormatError: the path cannot be written to.
    """
    check_sizes(network)
    write_tree(path, _network_tree(network, f"tandem-hw {_version()}"))


def read_net(path: str | os.PathLike[str]) -> QuantizedNetwork:
    """Read a network and check everything that the file says.

    Args:
        path: a file that ``write_net`` wrote.

    Returns:
        The network, with the digest that the file has.

    Raises:
        FileFormatError: the file is missing, truncated, altered, foreign or of another version.
    """
    tree = read_tree(path, FORMAT_NAME, FORMAT_VERSION)
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
    check_same(tree, _network_tree(network, tree.text_attribute("writer")))
    return network


def _version() -> str:
    try:
        return metadata.version("tandem-hw")
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        return "(not installed)"


def check_sizes(network: QuantizedNetwork) -> None:
    """Refuse shapes that no simulator could allocate."""
    shapes = {"input": network.input.shape} | {layer.name: layer.output_shape for layer in network}
    for name, shape in shapes.items():
        if max(shape) > _LENGTH_MAX or math.prod(shape) > _VALUES_MAX:
            raise NetworkError(
                f"{name}: shape {shape} is too large: at most {_LENGTH_MAX} a dimension and "
                f"{_VALUES_MAX} values are allowed"
            )
    for layer in network:
        if len(layer.name.encode()) > _NAME_BYTES_MAX:
            raise NetworkError(f"the layer name {layer.name[:40]}… is over {_NAME_BYTES_MAX} bytes")
        if isinstance(layer, Conv2d):
            for field in ("stride", "padding", "dilation"):
                if max(getattr(layer, field)) > _LENGTH_MAX:
                    raise NetworkError(
                        f"{layer.name}: {field} {getattr(layer, field)} is over {_LENGTH_MAX}"
                    )


# From a network to a tree ------------------------------------------------------------------------


def _network_tree(network: QuantizedNetwork, writer: str) -> Group:
    entries = [Group(children={"type": _text("input"), "shape": _numbers(network.input.shape)})]
    for layer in network:
        if isinstance(layer, Dense) and len(layer.input_shape) == 3:
            entries.append(Group(children={"type": _text("flatten")}))
        entries.append(_layer_tree(layer, network.reset))
    return Group(
        attributes={
            FORMAT: FORMAT_NAME,
            VERSION: FORMAT_VERSION,
            "writer": writer,
            "digest": network.digest,
            "num_steps": network.num_steps,
            "reset": network.reset,
            "readout": network.readout,
            "readout_scale": network.readout_scale,
            "input_bits": network.input.bits,
            "input_scale": network.input.scale,
            "input_encoding": network.input.encoding,
        },
        children={
            "layer": Group(children={str(index): entry for index, entry in enumerate(entries)})
        },
    )


def _layer_tree(layer: Layer, reset: str) -> Group:
    children: dict[str, Group | Array] = {
        "type": _text("conv" if isinstance(layer, Conv2d) else "dense"),
        "shape": _numbers(layer.output_shape),
        "weight": layer.weight.astype("<i2"),
        "bias": layer.bias.astype("<i4"),
    }
    if isinstance(layer, Conv2d):
        children |= {
            field: _numbers(getattr(layer, field))
            for field in ("stride", "padding", "dilation", "groups")
        }
    if layer.threshold is not None:
        children["neuron"] = _neuron_tree(layer, layer.threshold, reset)
    return Group({"name": layer.name, "weight_bits": layer.weight_bits}, children)


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
    entries = tree.group("layer")
    first = entries.group("0")
    if first.text("type") != "input":
        raise FileFormatError(f'{first.location}/type is {first.text("type")!r}; "input" is needed')
    spec = InputSpec(
        first.integers("shape"),
        tree.integer_attribute("input_bits"),
        tree.float_attribute("input_scale"),
        _any_text(tree, "input_encoding"),
    )
    layers: list[Layer] = []
    shape = spec.shape
    for index in range(1, len(entries.children)):
        entry = entries.group(str(index))
        # Where a "flatten" stands follows from the shapes, and is compared with them afterwards.
        if entry.text("type") != "flatten":
            layers.append(_read_layer(entry, shape))
            shape = layers[-1].output_shape
    return QuantizedNetwork(
        spec,
        tuple(layers),
        tree.integer_attribute("num_steps"),
        _any_text(tree, "reset"),
        _any_text(tree, "readout"),
        tree.float_attribute("readout_scale"),
    )


def _any_text(tree: Group, name: str) -> Any:
    """Return a text that the network itself compares with the values it allows."""
    text = tree.text_attribute(name)
    if not text.isprintable() or len(text) > _CHOICE_LENGTH_MAX:  # it goes into messages
        raise FileFormatError(f"{tree.location}: attribute {name} is {shown(text)}; it is damaged")
    return text


def _read_layer(entry: Group, input_shape: Shape) -> Layer:
    kind = entry.text("type")
    if kind not in _WEIGHT_AXES:
        raise FileFormatError(
            f'{entry.location}/type is {kind!r}; allowed are "conv", "dense" and "flatten"'
        )
    weight, axes = entry.array("weight"), _WEIGHT_AXES[kind]
    if weight.ndim != len(axes):
        raise FileFormatError(
            f"{entry.location}/weight has shape {weight.shape}; a {kind} layer needs "
            f"[{', '.join(axes)}]"
        )
    arguments: dict[str, Any] = {
        "name": entry.text_attribute("name"),
        "weight": weight,
        "weight_bits": entry.integer_attribute("weight_bits"),
        "bias": entry.array("bias"),
        "threshold": None,
        "input_shape": input_shape,
    }
    if "neuron" in entry.children:
        neuron = entry.group("neuron")
        arguments["threshold"] = _single(neuron, "vThMant") + 1
        if neuron.text("type") == _CUBA:
            arguments["current_decay"] = _single(neuron, "iDecay")
            arguments["voltage_decay"] = _single(neuron, "vDecay")
    if kind == "dense":
        return Dense(**arguments)
    for field in ("stride", "padding", "dilation"):
        arguments[field] = entry.integers(field)
    return Conv2d(**arguments, groups=_single(entry, "groups"))


def _single(entry: Group, name: str) -> int:
    values = entry.integers(name)
    if len(values) != 1:
        raise FileFormatError(f"{entry.location}/{name} holds {len(values)} values; one is needed")
    return values[0]
