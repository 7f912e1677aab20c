"""NIR graphs of quantized networks: exact where NIR can say it, and refused where it cannot.

NIR's integrate-and-fire neuron is v' = R I, fires where v > v_threshold, and is put to v_reset then
(``nir/ir/neuron.py`` of nir 1.0.8). A layer with reset "zero" is that neuron:

    R = 1 / time_step,    v_threshold = theta - 1/2,    v_reset = 0

with the weights and biases in weight units. One step adds the synaptic input. Potentials are
integers, so that v > theta - 1/2, v >= theta - 1/2 and v >= theta are one condition, whichever of
them a reader has. Everything stays below 2^24, so that float32 is exact in any order of summing.

A readout by potential has no node of neurons: the graph puts out its synaptic input, and the sum of
the outputs over all steps is the potential. (Norse and sinabs leave NIR's integrator ``I`` out.)

What the nodes do not say is in their metadata, from which ``nir_reader`` restores the network.
``docs/nir.md`` says what other programs make of the graphs.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import FileFormatError, NetworkError
from tandem_hw.export.net_file import network_attributes
from tandem_hw.export.nir_file import Tree, load_nir, write_nir_tree
from tandem_hw.network.convolutions import Convolution
from tandem_hw.network.layers import INPUT_SOURCE, Layer, OneToOne
from tandem_hw.network.quantized import (
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Dense,
    QuantizedNetwork,
    check_inputs,
    require_quantized,
)
from tandem_hw.ranges import POSITIVE

FORMAT_NAME: Final = "tandem-hw network"
FORMAT_VERSION: Final = 1
#: Length of a step in NIR's seconds, by default: what SpikingJelly takes for granted.
TIME_STEP: Final = 1e-4
#: Layers by the name that a node's metadata have, with the fields of their geometry.
KINDS: Final[dict[str, tuple[type[Layer], tuple[str, ...]]]] = {
    "Dense": (Dense, ()),
    "OneToOne": (OneToOne, ()),
    "Conv1d": (Conv1d, ("stride", "padding", "dilation")),
    "Conv2d": (Conv2d, ("stride", "padding", "dilation")),
    "ConvTranspose2d": (ConvTranspose2d, ("stride", "padding", "dilation", "output_padding")),
}
#: What the type of a node begins with that no NIR reader knows. All of them stop at it.
PRIVATE: Final = "Tandem"


def to_nir(network: QuantizedNetwork, *, time_step: float = TIME_STEP) -> Any:
    """Return a NIR graph that gives the spikes of a network's last layer, step by step.

    With readout "potential" it gives what the potential gains in every step.

    Args:
        network: what to say in NIR: a chain of Dense, Conv1d and Conv2d layers with reset "zero".
        time_step: length of a step in NIR's units of time.

    Returns:
        A ``nir.NIRGraph``. It is to be fed what ``step_inputs`` returns, in every step one entry.

    Raises:
        NetworkError: NIR cannot say it, or its readers would run another network.
        BackendUnavailableError: ``nir`` is not installed.
    """
    _refuse_inexact(network)
    return load_nir().dict2NIRNode(network_tree(network, time_step))


def write_nir(
    network: QuantizedNetwork,
    path: str | os.PathLike[str],
    *,
    tandem_only: bool = False,
    time_step: float = TIME_STEP,
) -> None:
    """Write a network as a NIR file, from which ``read_nir`` restores it bit for bit.

    Args:
        network: what to write.
        path: the file, by custom ``*.nir``; written whole or not at all.
        tandem_only: write what NIR cannot say as well. The file then has nodes of types that NIR
            does not know, so that no other program reads it.
        time_step: length of a step in NIR's units of time.

    Raises:
        NetworkError: NIR cannot say it, and ``tandem_only`` was not asked for.
        FileFormatError: the path cannot be written to, or its name says that it is a .net file.
        BackendUnavailableError: ``nir`` is not installed.
    """
    require_quantized(network)
    if Path(path).suffix.lower() == ".net":
        raise FileFormatError(
            f"{path}: has the name of a .net file, and this writes NIR; give it the suffix .nir, "
            f"or use tandem_hw.write_net"
        )
    if not tandem_only:
        _refuse_inexact(network)
    write_nir_tree(path, network_tree(network, time_step, tandem_only=tandem_only))


def step_inputs(
    network: QuantizedNetwork, inputs: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """Return what a program that runs the graph of a network has to feed in every step.

    Args:
        network: whose encoding counts.
        inputs: uint8 [samples, *network.sample_shape].

    Returns:
        float32 [num_steps, samples, *input shape], whole numbers.

    Raises:
        DataError: the inputs do not fit the network.
    """
    check_inputs(network, inputs)
    values = inputs.astype(np.float32)
    if network.input.encoding == "events":
        return np.ascontiguousarray(np.swapaxes(values, 0, 1))
    steps = np.zeros((network.num_steps, *values.shape), np.float32)
    steps[: 1 if network.input.encoding == "first_step" else None] = values
    return steps


# What NIR cannot say ------------------------------------------------------------------------------


def why_inexact(network: QuantizedNetwork) -> str | None:
    """Return what keeps a network out of NIR and how to mend it, or None if nothing does."""
    if network.reset == "subtract":
        return (
            "NIR has no reset by subtraction: its readers would reset to zero; train with reset "
            '"zero"'
        )
    for layer, bounds in zip(network.layers, network.bounds, strict=True):
        reason = _why_layer_inexact(layer, network.num_steps)
        if reason is None and not bounds.proven:
            reason = (
                "is not proven to stay within 24 bits, and other programs neither wrap nor clip; "
                "train with fewer weight bits or fewer inputs"
            )
        if reason is not None:
            return f"layer {layer.name} {reason}"
    return None


def _why_layer_inexact(layer: Layer, num_steps: int) -> str | None:
    if layer.skips:
        return (
            "has a skip path: nirtorch.load, which Norse and sinabs use, runs such a layer before "
            "all of its inputs are there; leave the skip path out"
        )
    if not isinstance(layer, Dense | Conv1d | Conv2d):
        return f"is a {type(layer).__name__}, which NIR does not have; use another kind of layer"
    if layer.leaks:
        return "leaks, which other programs do not do in integers; train without a leak"
    if isinstance(layer, Conv2d) and len(set(layer.weight.shape[2:])) > 1:
        height, width = layer.weight.shape[2:]
        return (
            f"has a kernel of {height} x {width}; nir takes the height for the width, so use a "
            f"square one"
        )
    if layer.threshold is None and np.any(layer.bias % num_steps):
        return (
            f"is a readout whose bias counts once; NIR adds a share in each of {num_steps} steps, "
            f'which must be whole: train with readout "count", or without that bias'
        )
    return None


def _refuse_inexact(network: QuantizedNetwork) -> None:
    reason = why_inexact(network)
    if reason is not None:
        raise NetworkError(
            f"{reason}, or write a file that only tandem-hw reads, with --tandem-only "
            f"(tandem_only=True)"
        )


# From a network to a tree -------------------------------------------------------------------------


def network_tree(network: QuantizedNetwork, time_step: float, *, tandem_only: bool = False) -> Tree:
    """Return the graph of a network as ``NIRGraph.to_dict`` does.

    Args:
        network: any network; whether NIR's readers would run it is not looked at.
        time_step: length of a step in NIR's units of time, positive.
        tandem_only: give all synapses and neurons types that NIR does not know.

    Raises:
        NetworkError: the time step is not a positive number.
    """
    if time_step not in POSITIVE:
        raise NetworkError(f"time_step is {time_step}; a positive number is needed")
    nodes: Tree = {"input": {"type": "Input", "shape": np.array(network.input.shape)}}
    edges: list[tuple[str, str]] = []
    names = {INPUT_SOURCE: "input"} | {
        layer.name: neuron_node(index) for index, layer in enumerate(network)
    }
    before = "input"
    for index, layer in enumerate(network):
        neurons = "output" if layer.threshold is None else neuron_node(index)
        for number, synapses in enumerate((layer, *layer.skips)):
            node = synapse_node(index, number)
            chain = [names[synapses.source] if synapses.source else before]
            if isinstance(synapses, Dense) and len(synapses.input_shape) > 1:
                chain.append(f"flatten_{index}_{number}")
                nodes[chain[-1]] = _flatten(synapses)
            if isinstance(synapses, Conv1d) and not tandem_only:
                chain.append(f"identity_{index}_{number}")
                nodes[chain[-1]] = _identity(synapses)
            nodes[node] = _synapses(synapses, network.num_steps, tandem_only)
            nodes[node]["metadata"] |= {} if number else _layer_metadata(layer)
            edges += pairwise([*chain, node, neurons])
        if layer.threshold is not None:
            nodes[neurons] = _neurons(layer, layer.threshold, time_step, tandem_only)
            before = neurons
    if before == neurons:  # they fire
        edges.append((before, "output"))
    nodes["output"] = {"type": "Output", "shape": np.array(network.layers[-1].output_shape)}
    return {
        "type": "NIRGraph",
        "nodes": nodes,
        "edges": edges,
        "metadata": _graph_metadata(network, time_step, tandem_only),
    }


def least_values(network: QuantizedNetwork, *, tandem_only: bool) -> int:
    """Return how many numbers ``network_tree`` gives at least: a few in a file can say many.

    Args:
        network: any network.
        tandem_only: as for ``network_tree``.
    """
    total = 0
    for layer in network:
        for synapses in (layer, *layer.skips):
            size = synapses.weight.size
            if isinstance(synapses, Convolution) and not tandem_only:
                size *= synapses.groups  # zeros between the groups
                if isinstance(synapses, Conv1d):
                    size += synapses.input_shape[0] ** 2  # the identity before it
            total += size
        if layer.threshold is not None and not tandem_only:
            total += 3 * layer.neurons
    return total


def synapse_node(index: int, number: int) -> str:
    """Return the name of a node: layer and synapses, the main ones first.

    Readers make attributes, keys and generated code of the names of nodes, so a layer's own name,
    which can be any text, stays in the metadata.
    """
    return f"synapses_{index}_{number}"


def neuron_node(index: int) -> str:
    """Return the name of the node of a layer's neurons."""
    return f"neurons_{index}"


def _graph_metadata(network: QuantizedNetwork, time_step: float, tandem_only: bool) -> Tree:
    return {
        "format": FORMAT_NAME,
        "format_version": FORMAT_VERSION,
        "tandem_only": int(tandem_only),
        "layers": len(network.layers),
        "time_step": float(time_step),
        **network_attributes(network),
    }


def _flatten(layer: Layer) -> Tree:
    return {
        "type": "Flatten",
        "input_type": np.array(layer.input_shape),
        "start_dim": 0,
        "end_dim": -1,
    }


def _identity(layer: Conv1d) -> Tree:
    """Return a node that hands everything on, for programs that do not know Conv1d.

    ``nirtorch.load`` (Norse, sinabs) leaves out a node that its program does not know, and runs the
    rest. Where there are two of them it fails, as it should.
    """
    channels, length = layer.input_shape
    return {
        "type": "Conv1d",
        "weight": np.eye(channels, dtype=np.float32)[:, :, None],
        "bias": np.zeros(channels, np.float32),
        "input_shape": length,
        "stride": 1,
        "padding": 0,
        "dilation": 1,
        "groups": 1,
    }


def _synapses(layer: Layer, num_steps: int, tandem_only: bool) -> Tree:
    """Return the node of synapses, with the bias of a step."""
    kind = type(layer).__name__
    metadata = {
        "kind": kind,
        "name": layer.name,
        "weight_bits": layer.weight_bits,
        **({"source": layer.source} if layer.source else {}),
        **({"groups": layer.groups} if isinstance(layer, Convolution) else {}),
    }
    if tandem_only:
        node: Tree = {"type": f"{PRIVATE}{kind}", "weight": layer.weight.astype(np.float32)}
        node |= {name: np.array(getattr(layer, name)) for name in KINDS[kind][1]}
        return {**node, "metadata": metadata}
    # A readout adds up what comes in: the shares of all steps are its bias.
    share = layer.bias if layer.threshold is not None else layer.bias // num_steps
    node = {"type": "Affine", "weight": layer.weight.astype(np.float32)}
    if isinstance(layer, Convolution):
        node = {"type": kind, "weight": _ungrouped(layer), "groups": 1, **_geometry(layer)}
    return {**node, "bias": share.astype(np.float32), "metadata": metadata}


def _layer_metadata(layer: Layer) -> Tree:
    """Return what a layer has and a skip has not."""
    return {
        "bias": layer.bias,
        "current_decay": layer.current_decay,
        "voltage_decay": layer.voltage_decay,
        "skips": len(layer.skips),
        **({} if layer.threshold is None else {"threshold": layer.threshold}),
    }


def _geometry(layer: Convolution) -> Tree:
    """Return what a convolution of NIR has, numbers where there is one axis."""
    axes: Tree = {name: getattr(layer, name) for name in ("stride", "padding", "dilation")}
    axes["input_shape"] = layer.input_shape[1:]
    return {name: value[0] if layer.rank == 1 else np.array(value) for name, value in axes.items()}


def _ungrouped(layer: Convolution) -> npt.NDArray[np.float32]:
    """Return weights [out, in, ...] with zeros between the groups; nir checks no other shapes."""
    out, per_group = layer.weight.shape[:2]
    weight = np.zeros((out, per_group * layer.groups, *layer.weight.shape[2:]), np.float32)
    for rows, columns in group_blocks(out, per_group, layer.groups):
        weight[rows, columns] = layer.weight[rows]
    return weight


def group_blocks(out: int, per_group: int, groups: int) -> list[tuple[slice, slice]]:
    """Return the output and the input channels of every group of a convolution."""
    size = out // groups
    return [
        (
            slice(group * size, (group + 1) * size),
            slice(group * per_group, (group + 1) * per_group),
        )
        for group in range(groups)
    ]


def _neurons(layer: Layer, threshold: int, time_step: float, tandem_only: bool) -> Tree:
    """Return the node of neurons that fire."""
    if tandem_only:
        return {"type": f"{PRIVATE}Neurons"}
    return {
        "type": "IF",
        "r": np.full(layer.output_shape, 1 / time_step, np.float32),
        "v_threshold": np.full(layer.output_shape, threshold - 0.5, np.float32),
        "v_reset": np.zeros(layer.output_shape, np.float32),
    }
