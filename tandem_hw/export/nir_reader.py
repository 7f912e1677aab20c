"""Networks from NIR files that ``nir_writer`` wrote, the same bit for bit.

The metadata and the weights give a network; the digest says whether it is the one that was written;
and all nodes and edges are compared with those that it would be written as. A program that changed
a node, a weight or an edge and kept our metadata does not make another network of it.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import FileFormatError, NetworkError
from tandem_hw.export.hdf5_tree import below, shown
from tandem_hw.export.net_file import check_sizes
from tandem_hw.export.nir_file import (
    Tree,
    check_same_tree,
    child,
    integer,
    integers,
    read_nir_tree,
    real,
    text,
)
from tandem_hw.export.nir_writer import (
    FORMAT_NAME,
    FORMAT_VERSION,
    KINDS,
    group_blocks,
    least_values,
    network_tree,
    synapse_node,
)
from tandem_hw.network.layers import INPUT_SOURCE, Input, Layer, Neurons
from tandem_hw.network.network_digest import network_digest
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork, Shape

#: More layers than any chip holds, and more skips than a layer needs.
_LAYERS_MAX = 1024
_SKIPS_MAX = 64
#: ``nir_writer`` puts zeros between the groups of a convolution, which compress to next to nothing.
_EXPANDED_BYTES_MAX = 1 << 27


def read_nir(path: str | os.PathLike[str]) -> QuantizedNetwork:
    """Read a network from a NIR file of ours.

    Args:
        path: a file that ``write_nir`` wrote, or that another program read and wrote again as it
            was.

    Returns:
        The network, with the digest that the file has, unless the file says of a layer that its
        source is the layer before, which goes without saying.

    Raises:
        FileFormatError: the file is missing, damaged, of another program or version, or a node was
            changed after the export.
    """
    tree = read_nir_tree(path, _EXPANDED_BYTES_MAX)
    where = f"{path}: /node"
    if not is_ours(tree):
        raise FileFormatError(
            f"{path}: a NIR file that was not written by tandem-hw; import it with "
            f"tandem_hw.export.nir_import.from_nir, which asks for what NIR does not say"
        )
    metadata = tree["metadata"]
    version = metadata.get("format_version")
    if version is None or not np.array_equal(version, FORMAT_VERSION):
        raise FileFormatError(
            f"{path}: the format version is {version}; this tandem-hw reads version "
            f"{FORMAT_VERSION}; export the network again or update tandem-hw"
        )
    try:
        network = _network(tree, where)
        check_sizes(network)
        tandem_only = bool(integer(metadata, "tandem_only", below(where, "metadata")))
        time_step = real(metadata, "time_step", below(where, "metadata"))
        if least_values(network, tandem_only=tandem_only) > _count_values(tree):
            raise FileFormatError(
                f"{where}: the nodes hold fewer numbers than the network has: the file was changed "
                f"after its export; export it again"
            )
        said = _said_sources(tree, network)
        expected = network_tree(network, time_step, tandem_only=tandem_only, said=said)
    except NetworkError as error:
        raise FileFormatError(
            f"{path}: the file does not hold a valid network: {error}; export it again"
        ) from error
    if network_digest(network, said) != metadata.get("digest"):
        raise FileFormatError(
            f"{path}: the weights or the metadata do not match the digest: the file was changed "
            f"after its export; export it again"
        )
    check_same_tree(_with_sorted_edges(tree), _with_sorted_edges(expected), where)
    return network


def is_ours(tree: Tree) -> bool:
    """Whether a graph says that tandem-hw wrote it."""
    metadata = tree.get("metadata")
    return isinstance(metadata, dict) and metadata.get("format") == FORMAT_NAME


def _said_sources(tree: Tree, network: QuantizedNetwork) -> frozenset[str]:
    """Return the names of the layers that say their source."""
    nodes = (tree["nodes"][synapse_node(index, 0)] for index in range(len(network.layers)))
    return frozenset(
        layer.name
        for layer, node in zip(network, nodes, strict=True)
        if "source" in node["metadata"]
    )


def _count_values(tree: Tree) -> int:
    return sum(
        _count_values(value) if isinstance(value, dict) else np.size(value)
        for value in tree.values()
    )


def _with_sorted_edges(tree: Tree) -> Tree:
    """Return a tree in which the order of the edges does not count, as it does not in NIR."""
    edges = tree.get("edges")
    if not isinstance(edges, list) or not all(isinstance(edge, list | tuple) for edge in edges):
        return tree  # it will differ
    return tree | {"edges": sorted([*map(str, edge)] for edge in edges)}


def _network(tree: Tree, where: str) -> QuantizedNetwork:
    nodes, metadata = child(tree, "nodes", where), child(tree, "metadata", where)
    here = below(where, "metadata")
    count = integer(metadata, "layers", here)
    if not 1 <= count <= _LAYERS_MAX:
        raise FileFormatError(f"{here}/layers is {count}; allowed are 1 to {_LAYERS_MAX}")
    there = below(where, "nodes")
    shape = _shape(child(nodes, "input", there), "shape", f"{there}/input")
    spec = InputSpec(
        shape,
        integer(metadata, "input_bits", here),
        real(metadata, "input_scale", here),
        _choice(metadata, "input_encoding", here),
    )
    layers: list[Layer] = []
    outputs, before = {INPUT_SOURCE: spec.shape}, INPUT_SOURCE
    for index in range(count):
        layers.append(_layer(nodes, index, outputs, before, there))
        before = layers[-1].name
        outputs[before] = layers[-1].output_shape
    return QuantizedNetwork(
        spec,
        tuple(layers),
        integer(metadata, "num_steps", here),
        _choice(metadata, "reset", here),
        _choice(metadata, "readout", here),
        real(metadata, "readout_scale", here),
    )


def _choice(metadata: Tree, name: str, where: str) -> Any:
    """Return a text that the network itself compares with the values it allows."""
    value = text(metadata, name, where)
    if len(value) > 40:  # it goes into messages
        raise FileFormatError(f"{below(where, name)} is {shown(value)}; it is damaged")
    return value


def _layer(nodes: Tree, index: int, outputs: dict[str, Shape], before: str, where: str) -> Layer:
    main = synapse_node(index, 0)
    here = f"{where}/{main}/metadata"
    metadata = child(child(nodes, main, where), "metadata", f"{where}/{main}")
    count = integer(metadata, "skips", here)
    if not 0 <= count <= _SKIPS_MAX:
        raise FileFormatError(f"{here}: {count} skips; allowed are 0 to {_SKIPS_MAX}")
    neurons = Neurons(
        bias=integers(metadata, "bias", here),
        threshold=integer(metadata, "threshold", here) if "threshold" in metadata else None,
        current_decay=integer(metadata, "current_decay", here),
        voltage_decay=integer(metadata, "voltage_decay", here),
    )
    first = _input(nodes, main, outputs, before, where)
    others = [
        _input(nodes, synapse_node(index, number), outputs, None, where)
        for number in range(1, count + 1)
    ]
    return Layer(first.synapses.name, neurons, (first, *others))


def _input(
    nodes: Tree, name: str, outputs: dict[str, Shape], before: str | None, where: str
) -> Input:
    """Return synapses and their source; one that is not said is ``before``, if there can be one."""
    node, here = child(nodes, name, where), f"{where}/{name}"
    metadata = child(node, "metadata", here)
    there = f"{here}/metadata"
    kind = text(metadata, "kind", there)
    if kind not in KINDS:
        raise FileFormatError(f"{there}/kind is {shown(kind)}; allowed are {', '.join(KINDS)}")
    make = KINDS[kind]
    has_source = before is None or "source" in metadata
    source = text(metadata, "source", there) if has_source else before
    if source not in outputs:
        raise FileFormatError(f"{there}/source is {shown(source)}, which is no layer before it")
    weight = integers(node, "weight", here)
    arguments: dict[str, Any] = {}
    if make.geometry_type is not None:
        groups = integer(metadata, "groups", there)
        numbers = {field: _shape(node, field, here) for field in make.geometry_type.axis_names()}
        arguments["geometry"] = make.geometry_type(groups=groups, **numbers)
        if text(node, "type", here) == kind:  # a node of NIR, which has zeros between the groups
            weight = _grouped(weight, groups, here)
    synapses = make(
        name=text(metadata, "name", there),
        weight=weight,
        weight_bits=integer(metadata, "weight_bits", there),
        input_shape=outputs[source],
        **arguments,
    )
    return Input(source, synapses)


def _grouped(weight: npt.NDArray[np.int64], groups: int, where: str) -> npt.NDArray[np.int64]:
    """Return the weights of a convolution without the zeros between its groups."""
    channels = weight.shape[:2]
    if weight.ndim < 2 or groups < 1 or any(number % groups for number in channels):
        raise FileFormatError(f"{where}: {groups} groups do not divide {channels} channels")
    per_group = weight.shape[1] // groups
    blocks = group_blocks(len(weight), per_group, groups)
    return np.concatenate([weight[rows, columns] for rows, columns in blocks])


def _shape(tree: Tree, name: str, where: str) -> Shape:
    values = integers(tree, name, where).reshape(-1)
    if values.size > 3:
        raise FileFormatError(f"{below(where, name)} holds {values.size} values; at most 3 can be")
    return tuple(values.tolist())
