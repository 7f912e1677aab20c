"""Networks from NIR files that ``nir_writer`` wrote, the same bit for bit.

The metadata and the weights give a network; the digest says whether it is the one that was written;
and all nodes and edges are compared with those that it would be written as. A program that changed
a node, a weight or an edge and kept our metadata does not make another network of it.
"""

from __future__ import annotations

import os
from typing import get_args

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import FileFormatError, NetworkError
from tandem_hw.export.items import shown
from tandem_hw.export.net_file import check_sizes, read_geometry
from tandem_hw.export.nir_file import Tree, TreeItems, check_same_tree, read_nir_tree
from tandem_hw.export.nir_writer import (
    DELAY_VERSION,
    FORMAT_NAME,
    FORMAT_VERSION,
    KINDS,
    group_blocks,
    least_values,
    network_tree,
    synapse_node,
)
from tandem_hw.network.choices import Encoding, Readout, Reset
from tandem_hw.network.digests.network_digest import network_digest
from tandem_hw.network.layers import INPUT_SOURCE, Input, Layer, Neurons
from tandem_hw.network.output_meaning import OutputMeaning
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork, Shape
from tandem_hw.network.synapses.geometry import LENGTH_MAX

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
    items = TreeItems(tree, where)
    metadata = items.group("metadata")
    version = metadata.tree.get("format_version")
    known = (FORMAT_VERSION, DELAY_VERSION)
    if version is None or not any(np.array_equal(version, one) for one in known):
        raise FileFormatError(
            f"{path}: the format version is {version}; this tandem-hw reads versions "
            f"{FORMAT_VERSION} and {DELAY_VERSION}; export the network again or update tandem-hw"
        )
    try:
        network = _network(items)
        check_sizes(network)
        tandem_only = bool(metadata.integer("tandem_only"))
        time_step = metadata.real("time_step")
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
    if network_digest(network, said) != metadata.text("digest"):
        raise FileFormatError(
            f"{path}: the weights or the metadata do not match the digest: the file was changed "
            f"after its export; export it again"
        )
    check_same_tree(_with_sorted_edges(tree), _with_sorted_edges(expected), where)
    return network


def is_ours(tree: Tree) -> bool:
    """Whether a graph says that tandem-hw wrote it."""
    metadata = tree.get("metadata")
    name = metadata.get("format") if isinstance(metadata, dict) else None
    return isinstance(name, str) and name == FORMAT_NAME


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


def _network(graph: TreeItems) -> QuantizedNetwork:
    nodes, metadata = graph.group("nodes"), graph.group("metadata")
    count = metadata.integer("layers", range(1, _LAYERS_MAX + 1))
    spec = InputSpec(
        nodes.group("input").axes("shape"),
        metadata.integer("input_bits"),
        metadata.real("input_scale"),
        metadata.choice("input_encoding", get_args(Encoding)),
    )
    layers: list[Layer] = []
    outputs, before = {INPUT_SOURCE: spec.shape}, INPUT_SOURCE
    for index in range(count):
        layers.append(_layer(nodes, index, outputs, before))
        before = layers[-1].name
        outputs[before] = layers[-1].output_shape
    return QuantizedNetwork(
        spec,
        tuple(layers),
        metadata.integer("num_steps"),
        metadata.choice("reset", get_args(Reset)),
        metadata.choice("readout", get_args(Readout)),
        metadata.real("readout_scale"),
        metadata.integer("firing_delay") if metadata.has("firing_delay") else 0,
        OutputMeaning.from_attributes(metadata.tree),
    )


def _layer(nodes: TreeItems, index: int, outputs: dict[str, Shape], before: str) -> Layer:
    main = nodes.group(synapse_node(index, 0))
    metadata = main.group("metadata")
    count = metadata.integer("skips", range(_SKIPS_MAX + 1))
    neurons = Neurons(
        bias=metadata.integers("bias"),
        threshold=metadata.integer("threshold") if metadata.has("threshold") else None,
        current_decay=metadata.integer("current_decay"),
        voltage_decay=metadata.integer("voltage_decay"),
    )
    first = _input(main, outputs, before)
    others = [
        _input(nodes.group(synapse_node(index, number)), outputs, None)
        for number in range(1, count + 1)
    ]
    return Layer(first.synapses.name, neurons, (first, *others))


def _input(node: TreeItems, outputs: dict[str, Shape], before: str | None) -> Input:
    """Return synapses and their source; one that is not said is ``before``, if there can be one."""
    metadata = node.group("metadata")
    kind = metadata.choice("kind", list(KINDS))
    make = KINDS[kind]
    if before is None or metadata.has("source"):
        source = metadata.text("source", longest=None)
    else:
        source = before
    if source not in outputs:
        raise FileFormatError(
            f"{metadata.where('source')} is {shown(source)}, which is no layer before it"
        )
    weight = node.integers("weight")
    arguments = read_geometry(make, node, metadata)
    for name in make.geometry_type.axis_names() if make.geometry_type else ():
        values = node.axes(name)  # 64 bits each, which shapes and tables would be made of
        if any(abs(value) > LENGTH_MAX for value in values):
            raise FileFormatError(f"{node.where(name)} is {values}; the largest is {LENGTH_MAX}")
    if arguments and node.text("type") == kind:  # of NIR, with zeros between the groups
        weight = _grouped(weight, arguments["geometry"].groups, node.location)
    synapses = make(
        name=metadata.text("name", longest=None),
        weight=weight,
        weight_bits=metadata.integer("weight_bits"),
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
