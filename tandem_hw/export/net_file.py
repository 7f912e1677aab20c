"""The ``.net`` file: lava-dl's netx schema in HDF5, and what that schema has no place for.

A network that netx could follow, a chain of ``Conv2d`` and ``Dense``, is a file of version 2. Any
other is one of version 3, whose layers are in another group: netx passes over layers of types that
it does not know and over attributes, turns some weights into others, and would run a different
network without a word. A network whose layers wait before they fire is one of version 4, so that
readers that know nothing of a firing delay refuse it.

``docs/net-format.md`` describes the format for readers without tandem-hw. Schema:
``lava/lib/dl/netx/hdf5.py`` of lava-dl 0.6.0.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np

from tandem_hw.errors import FileFormatError, NetworkError
from tandem_hw.export.hdf5_tree import FORMAT, VERSION, Group, check_same, read_tree, write_tree
from tandem_hw.export.items import Array, Items, shown
from tandem_hw.export.netx_weights import netx_changes
from tandem_hw.network.choices import Encoding, Readout, Reset
from tandem_hw.network.digests.network_digest import network_digest
from tandem_hw.network.layers import INPUT_SOURCE, Input, Layer, Neurons
from tandem_hw.network.output_meaning import OutputMeaning
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork, Shape, require_quantized
from tandem_hw.network.synapses.catalogue import SYNAPSE_KINDS
from tandem_hw.network.synapses.convolutions import Conv2d, Convolution
from tandem_hw.network.synapses.dense import Dense
from tandem_hw.network.synapses.geometry import LENGTH_MAX, VALUES_MAX
from tandem_hw.network.synapses.kind import Synapses
from tandem_hw.version import installed_version

FORMAT_NAME: Final = "tandem-hw network"
#: 2: the decays of current and voltage belong to the network, and so to its digest.
CHAIN_VERSION: Final = 2
#: 3: layers of every kind, with sources and skips, and results and inputs of any shape.
GRAPH_VERSION: Final = 3
#: 4: a firing delay, otherwise as 3.
DELAY_VERSION: Final = 4
#: Where the layers of each version are; netx reads "layer".
_LAYERS_GROUP: Final = {CHAIN_VERSION: "layer", GRAPH_VERSION: "graph", DELAY_VERSION: "graph"}

#: netx builds Lava's LIF for this type. LIF resets to zero.
_CUBA: Final = "CUBA"
#: netx knows no neuron that resets by subtraction. It refuses a type that it does not know.
_SUBTRACTING: Final = "TANDEM_IF"

#: Longest name of a layer in bytes: HDF5 attributes are small.
_NAME_BYTES_MAX: Final = 1024


#: Kinds of synapses by the type that a file has for them.
_KINDS: Final = {kind.file_type: kind for kind in SYNAPSE_KINDS}


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
        The network, with the digest that the file has, unless the file says of a layer that its
        source is the layer before, which goes without saying.

    Raises:
        FileFormatError: the file is missing, truncated, altered, foreign or of another version.
    """
    tree = read_tree(path, FORMAT_NAME, tuple(_LAYERS_GROUP))
    try:
        network = _read_network(tree)
        check_sizes(network)
    except NetworkError as error:
        raise FileFormatError(
            f"{path}: the file does not hold a valid network: {error}; export it again"
        ) from error
    said = _said_sources(tree)
    if network_digest(network, said) != tree.text_attribute("digest"):
        raise FileFormatError(
            f"{path}: the content does not match its checksum: the file was altered or damaged; "
            f"export it again"
        )
    # Whatever the network does not depend on is compared with what would have been written.
    # Older writers gave version 2 to all chains, whatever netx makes of their weights.
    is_chain = _is_chain(network) and not said
    is_old = tree.integer_attribute(VERSION) == CHAIN_VERSION and is_chain
    version = CHAIN_VERSION if is_old else _version_of(network, said)
    check_same(tree, _network_tree(network, tree.text_attribute("writer"), version, said))
    return network


def check_sizes(network: QuantizedNetwork) -> None:
    """Refuse shapes that no simulator could allocate."""
    shapes = {"input": network.input.shape} | {layer.name: layer.output_shape for layer in network}
    for name, shape in shapes.items():
        if max(shape) > LENGTH_MAX or math.prod(shape) > VALUES_MAX:
            raise NetworkError(
                f"{name}: shape {shape} is too large: at most {LENGTH_MAX} a dimension and "
                f"{VALUES_MAX} values are allowed"
            )
    for synapses in (one for layer in network for one in layer.synapses):
        name = synapses.name
        if len(name.encode()) > _NAME_BYTES_MAX:
            raise NetworkError(f"the layer name {name[:40]}… is over {_NAME_BYTES_MAX} bytes")
        for field, values in synapses.geometry_numbers.items():
            if max(values) > LENGTH_MAX:
                raise NetworkError(f"{name}: {field} {values} is over {LENGTH_MAX}")


def _type_name(synapses: Synapses) -> str:
    if type(synapses) not in SYNAPSE_KINDS:
        raise NetworkError(
            f"layer {synapses.name}: a .net file has no {type(synapses).__name__}; it holds "
            f"{', '.join(kind.__name__ for kind in SYNAPSE_KINDS)}"
        )
    return synapses.file_type


def _is_chain(network: QuantizedNetwork) -> bool:
    """Whether version 2 has a place for a network."""
    before = (INPUT_SOURCE, *(layer.name for layer in network.layers))
    is_chain = all(
        [one.source for one in layer.inputs] == [source]
        and isinstance(layer.synapses[0], Conv2d | Dense)
        for layer, source in zip(network.layers, before, strict=False)
    )
    shapes_are_old = len(network.input.shape) != 2 and len(network.layers[-1].output_shape) == 1
    return is_chain and shapes_are_old


def _netx_changes(network: QuantizedNetwork) -> bool:
    """Whether netx, which knows no reset by subtraction, would run a chain with other weights."""
    return network.reset == "zero" and any(
        isinstance(synapses, Dense) and netx_changes(synapses.weight)
        for layer in network
        for synapses in layer.synapses
    )


def _version_of(network: QuantizedNetwork, said: Collection[str] = ()) -> int:
    """Return the first version of the format that has a place for a network."""
    if network.firing_delay:
        return DELAY_VERSION
    is_plain = _is_chain(network) and not _netx_changes(network) and not said
    return CHAIN_VERSION if is_plain else GRAPH_VERSION


# From a network to a tree ------------------------------------------------------------------------


def network_attributes(
    network: QuantizedNetwork, said: Collection[str] = ()
) -> dict[str, int | float | str]:
    """Return what a file says of a network as a whole, whatever its format.

    A firing delay of 0 goes without saying, and so does a meaning that nobody has said, as in files
    that are older than these.

    Args:
        network: which.
        said: as for ``network_digest``.
    """
    return {
        "digest": network_digest(network, said),
        "num_steps": network.num_steps,
        "reset": network.reset,
        "readout": network.readout,
        "readout_scale": network.readout_scale,
        "input_bits": network.input.bits,
        "input_scale": network.input.scale,
        "input_encoding": network.input.encoding,
        **({"firing_delay": network.firing_delay} if network.firing_delay else {}),
        **({} if network.meaning is None else network.meaning.to_attributes()),
    }


def _network_tree(
    network: QuantizedNetwork, writer: str, version: int, said: Collection[str] = ()
) -> Group:
    entries = [Group(children={"type": _text("input"), "shape": _numbers(network.input.shape)})]
    before = INPUT_SOURCE
    for layer in network:
        if version == CHAIN_VERSION and is_flattened(layer.synapses[0]):
            entries.append(Group(children={"type": _text("flatten")}))
        entries.append(_layer_tree(layer, stored_source(layer, before, said), network.reset))
        before = layer.name
    return Group(
        attributes={
            FORMAT: FORMAT_NAME,
            VERSION: version,
            "writer": writer,
            **network_attributes(network, said),
        },
        children={_LAYERS_GROUP[version]: _numbered(entries)},
    )


def _numbered(entries: list[Group]) -> Group:
    return Group(children={str(index): entry for index, entry in enumerate(entries)})


def is_flattened(synapses: Synapses) -> bool:
    """Return whether synapses take images or rows as one vector."""
    return isinstance(synapses, Dense) and len(synapses.input_shape) > 1


def stored_source(layer: Layer, before: str, said: Collection[str]) -> str | None:
    """Return what a file says of the source of a layer's first synapses, None if nothing.

    Args:
        layer: which.
        before: name of the layer before, or of the input, which goes without saying.
        said: as for ``network_digest``.
    """
    source = layer.inputs[0].source
    return None if source == before and layer.name not in said else source


def _layer_tree(layer: Layer, source: str | None, reset: str) -> Group:
    first, *others = layer.inputs
    synapses = _synapses_tree(first.synapses, source)
    children = {
        **synapses.children,
        "shape": _numbers(layer.output_shape),
        "bias": layer.neurons.bias.astype("<i4"),
    }
    if layer.neurons.threshold is not None:
        children["neuron"] = _neuron_tree(layer.neurons, layer.neurons.threshold, reset)
    if others:
        children["skips"] = _numbered([_synapses_tree(one.synapses, one.source) for one in others])
    return Group(synapses.attributes, children)


def _synapses_tree(synapses: Synapses, source: str | None) -> Group:
    """Return what the first synapses of a layer and its others have in common."""
    children: dict[str, Group | Array] = {
        "type": _text(_type_name(synapses)),
        "weight": synapses.weight.astype(np.dtype(synapses.weight_dtype).newbyteorder("<")),
    }
    if isinstance(synapses, Convolution):
        numbers = synapses.geometry_numbers.items()
        children |= {field: _numbers(values) for field, values in numbers}
        children["groups"] = _numbers(synapses.geometry.groups)
    said = {} if source is None else {"source": source}
    return Group({"name": synapses.name, "weight_bits": synapses.weight_bits, **said}, children)


def _neuron_tree(neurons: Neurons, threshold: int, reset: str) -> Group:
    # A neuron fires when its voltage exceeds vth; ours fires at the threshold itself.
    vth = _numbers(threshold - 1)
    if reset == "subtract":
        return Group(children={"type": _text(_SUBTRACTING), "vThMant": vth})
    return Group(
        children={
            "type": _text(_CUBA),
            "iDecay": _numbers(neurons.current_decay),  # netx computes du = iDecay - 1
            "vDecay": _numbers(neurons.voltage_decay),
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
        tree.integer_attribute("firing_delay") if version == DELAY_VERSION else 0,
        OutputMeaning.from_attributes(tree.attributes),
    )


def _said_sources(tree: Group) -> frozenset[str]:
    """Return the names of the layers that say their source."""
    entries = tree.group(_LAYERS_GROUP[tree.integer_attribute(VERSION)])
    layers = (entries.group(name) for name in entries.children)
    return frozenset(
        layer.text_attribute("name") for layer in layers if "source" in layer.attributes
    )


def _read_layer(entry: Group, outputs: Mapping[str, Shape], before: str) -> Layer:
    """Read a layer; ``outputs`` has the shapes of those that were read, ``before`` is the last."""
    inputs = [_read_input(entry, outputs, before)]
    if "skips" in entry.children:
        skips = entry.group("skips")
        for index in range(len(skips.children)):
            inputs.append(_read_input(skips.group(str(index)), outputs, None))
    return Layer(inputs[0].synapses.name, _read_neurons(entry), tuple(inputs))


def _read_neurons(entry: Group) -> Neurons:
    bias = entry.array("bias")
    if "neuron" not in entry.children:
        return Neurons(bias, threshold=None)
    neuron = entry.group("neuron")
    threshold = neuron.integer("vThMant") + 1
    if neuron.text("type") != _CUBA:
        return Neurons(bias, threshold)
    return Neurons(bias, threshold, neuron.integer("iDecay"), neuron.integer("vDecay"))


def _read_input(entry: Group, outputs: Mapping[str, Shape], before: str | None) -> Input:
    """Read synapses and their source; one that is not said is ``before``, if there can be one."""
    name = entry.text("type")
    if name not in _KINDS:
        raise FileFormatError(
            f"{entry.location}/type is {shown(name)}; allowed are {', '.join(_KINDS)}, and flatten "
            f"in files of version {CHAIN_VERSION}"
        )
    kind, weight = _KINDS[name], entry.array("weight")
    if weight.ndim != len(kind.weight_axes):
        raise FileFormatError(
            f"{entry.location}/weight has shape {weight.shape}; a {name} layer needs "
            f"[{', '.join(kind.weight_axes)}]"
        )
    source = before
    if "source" in entry.attributes:
        source = entry.text_attribute("source")
    if source is None:
        raise FileFormatError(
            f"{entry.location}: the skip {entry.text_attribute('name')} needs a source; export the "
            f"network again"
        )
    if source not in outputs:
        raise FileFormatError(
            f"{entry.location}: attribute source is {shown(source)}, which is no layer before it"
        )
    arguments: dict[str, Any] = {
        "name": entry.text_attribute("name"),
        "weight": weight,
        "weight_bits": entry.integer_attribute("weight_bits"),
        "input_shape": outputs[source],
    }
    return Input(source, kind(**arguments, **read_geometry(kind, entry, entry)))


def read_geometry(kind: type[Synapses], numbers: Items, groups: Items) -> dict[str, Any]:
    """Return the geometry of synapses as an argument of their kind; nothing of kinds without one.

    Args:
        kind: whose geometry it is.
        numbers: has the numbers of each axis, by the names of the fields.
        groups: has ``groups``.

    Raises:
        FileFormatError: a number is missing or is none.
    """
    if kind.geometry_type is None:
        return {}
    axes = {name: numbers.axes(name) for name in kind.geometry_type.axis_names()}
    return {"geometry": kind.geometry_type(groups=groups.integer("groups"), **axes)}
