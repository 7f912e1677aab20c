"""NIR graphs of quantized networks: exact where NIR can say it, and refused where it cannot.

NIR's integrate-and-fire neuron is v' = R I, fires where v > v_threshold, and is put to v_reset then
(``nir/ir/neuron.py`` of nir 1.0.8). A layer with reset "zero" is that neuron:

    R = 1 / time_step,    v_threshold = theta - 1/2,    v_reset = 0

with the weights and biases in weight units. One step adds the synaptic input. Potentials are
integers, so that v > theta - 1/2, v >= theta - 1/2 and v >= theta are one condition, whichever of
them a reader has. Everything stays below 2^24, so that float32 is exact in any order of summing.

A readout by potential has no node of neurons: the graph puts out its synaptic input, and the sum of
the outputs over all steps is the potential. (Norse and sinabs leave NIR's integrator ``I`` out.)

Reset "subtract" NIR cannot say. Where it is asked for, it is written by a convention of one key in
the metadata of neurons and output, ``SOFT_RESET``: on a spike, v_threshold is subtracted, and a
sample starts from the potentials that the key holds, which is where the bias that counts once goes:

    v_threshold = theta,    start = bias + 1/2

so that here, too, readers with > and readers with >= find the same spikes.

What the nodes do not say is in their metadata, from which ``nir_reader`` restores the network.
``docs/nir.md`` says what other programs make of the graphs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.errors import FileFormatError, NetworkError
from tandem_hw.export.net_file import is_flattened, network_attributes, stored_source
from tandem_hw.export.nir_file import Tree, load_nir, write_nir_tree
from tandem_hw.network.layers import INPUT_SOURCE, Layer
from tandem_hw.network.quantized import QuantizedNetwork, check_inputs, require_quantized
from tandem_hw.network.synapses.catalogue import SYNAPSE_KINDS
from tandem_hw.network.synapses.convolutions import Conv1d, Conv2d, Convolution
from tandem_hw.network.synapses.dense import Dense
from tandem_hw.network.synapses.kind import Synapses, row_of
from tandem_hw.ranges import POSITIVE

FORMAT_NAME: Final = "tandem-hw network"
FORMAT_VERSION: Final = 1
#: Of networks whose layers wait before they fire; older readers know nothing of it.
DELAY_VERSION: Final = 2
#: Length of a step in NIR's seconds, by default: what SpikingJelly takes for granted.
TIME_STEP: Final = 1e-4
#: Kinds of synapses by the name that a node's metadata have.
KINDS: Final = {kind.__name__: kind for kind in SYNAPSE_KINDS}
#: What the type of a node begins with that no NIR reader knows. All of them stop at it.
PRIVATE: Final = "Tandem"
#: The one key of the convention for reset "subtract": its value is where a sample starts from.
SOFT_RESET: Final = "soft_reset"
_PRIVATE_TYPES: Final = {kind: f"{PRIVATE}{name}" for name, kind in KINDS.items()}


def to_nir(
    network: QuantizedNetwork, *, soft_reset: bool = False, time_step: float = TIME_STEP
) -> Any:
    """Return a NIR graph that gives the spikes of a network's last layer, step by step.

    With readout "potential" it gives what the potential gains in every step.

    Args:
        network: what to say in NIR: a chain of Dense, Conv1d and Conv2d layers with reset "zero".
        soft_reset: say reset "subtract" as well, by the convention of docs/nir.md.
        time_step: length of a step in NIR's units of time.

    Returns:
        A ``nir.NIRGraph``. It is to be fed what ``step_inputs`` returns, in every step one entry.

    Raises:
        NetworkError: NIR cannot say it, or its readers would run another network.
        BackendUnavailableError: ``nir`` is not installed.
    """
    _refuse_inexact(network, soft_reset)
    return load_nir().dict2NIRNode(network_tree(network, time_step))


def write_nir(
    network: QuantizedNetwork,
    path: str | os.PathLike[str],
    *,
    tandem_only: bool = False,
    soft_reset: bool = False,
    time_step: float = TIME_STEP,
) -> None:
    """Write a network as a NIR file, from which ``read_nir`` restores it bit for bit.

    Args:
        network: what to write.
        path: the file, by custom ``*.nir``; written whole or not at all.
        tandem_only: write what NIR cannot say as well. The file then has nodes of types that NIR
            does not know, so that no other program reads it.
        soft_reset: write reset "subtract" by the convention of docs/nir.md. A program that does not
            know it reads the file, and resets to zero.
        time_step: length of a step in NIR's units of time.

    Raises:
        NetworkError: NIR cannot say it, and ``tandem_only`` was not asked for, or both ways were.
        FileFormatError: the path cannot be written to, or its name says that it is a .net file.
        BackendUnavailableError: ``nir`` is not installed.
    """
    require_quantized(network)
    if Path(path).suffix.lower() == ".net":
        raise FileFormatError(
            f"{path}: has the name of a .net file, and this writes NIR; give it the suffix .nir, "
            f"or use tandem_hw.write_net"
        )
    if tandem_only and soft_reset:
        raise NetworkError(
            f"{path}: tandem_only and soft_reset exclude each other: what other programs are to "
            f"read cannot be for tandem-hw alone; give one of them"
        )
    if not tandem_only:
        _refuse_inexact(network, soft_reset)
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
    frames = np.swapaxes(network.input.frames(inputs, network.num_steps), 0, 1)
    steps = np.zeros((network.num_steps, *frames.shape[1:]), np.float32)
    steps[: len(frames)] = frames
    return steps


# What NIR cannot say ------------------------------------------------------------------------------


def why_inexact(network: QuantizedNetwork, *, soft_reset: bool = False) -> str | None:
    """Return what keeps a network out of NIR and how to mend it, or None if nothing does.

    Args:
        network: any.
        soft_reset: whether reset "subtract" may be said by the convention.
    """
    if network.firing_delay:
        return (
            f"layers wait {counted(network.firing_delay, 'step')} before they fire, which no "
            f"neuron of NIR "
            f'does; train with firing_delay 0 and reset "zero"'
        )
    if network.reset == "subtract" and not soft_reset:
        return (
            "NIR has no reset by subtraction: its readers would reset to zero; train with reset "
            '"zero", or write it for readers that know the convention of docs/nir.md, with '
            "--soft-reset (soft_reset=True)"
        )
    for layer, bounds in zip(network.layers, network.bounds, strict=True):
        reason = _why_layer_inexact(layer, network)
        if reason is None and not bounds.proven:
            reason = (
                "is not proven to stay within 24 bits, and other programs neither wrap nor clip; "
                "train with fewer weight bits or fewer inputs"
            )
        if reason is not None:
            return f"layer {layer.name} {reason}"
    return None


def _why_layer_inexact(layer: Layer, network: QuantizedNetwork) -> str | None:
    num_steps = network.num_steps
    if len(layer.inputs) > 1:
        return (
            "has a skip path: nirtorch.load, which Norse and sinabs use, runs such a layer before "
            "all of its inputs are there; leave the skip path out"
        )
    (synapses,) = layer.synapses
    if type(synapses) not in _NODES:
        return f"is a {type(synapses).__name__}, which NIR does not have; use another kind of layer"
    if layer.neurons.leaks:
        return "leaks, which other programs do not do in integers; train without a leak"
    if isinstance(synapses, Conv2d) and len(set(synapses.kernel)) > 1:
        height, width = synapses.kernel
        return (
            f"has a kernel of {height} x {width}; nir takes the height for the width, so use a "
            f"square one"
        )
    once = network.reset == "zero" and not layer.fires
    if once and np.any(layer.neurons.bias % num_steps):
        return (
            f"is a readout whose bias counts once; NIR adds a share in each of "
            f"{counted(num_steps, 'step')}, "
            f'which must be whole: train with readout "count", or without that bias'
        )
    return None


def _refuse_inexact(network: QuantizedNetwork, soft_reset: bool) -> None:
    reason = why_inexact(network, soft_reset=soft_reset)
    if reason is not None:
        raise NetworkError(
            f"{reason}, or write a file that only tandem-hw reads, with --tandem-only "
            f"(tandem_only=True)"
        )


# From a network to a tree -------------------------------------------------------------------------


def network_tree(
    network: QuantizedNetwork,
    time_step: float,
    *,
    tandem_only: bool = False,
    said: Collection[str] = (),
) -> Tree:
    """Return the graph of a network as ``NIRGraph.to_dict`` does.

    Args:
        network: any network; whether NIR's readers would run it is not looked at. Reset "subtract"
            is said by the convention.
        time_step: length of a step in NIR's units of time, positive.
        tandem_only: give all synapses and neurons types that NIR does not know.
        said: as for ``network_digest``.

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
    before, neurons = INPUT_SOURCE, "input"
    for index, layer in enumerate(network):
        neurons = neuron_node(index) if layer.fires else "output"
        for number, (source, synapses) in enumerate(layer.inputs):
            node, chain = synapse_node(index, number), [names[source]]
            chain += _add_reshaping(nodes, synapses, f"{index}_{number}", tandem_only)
            nodes[node] = _private(synapses) if tandem_only else _node(synapses)
            stored = source if number else stored_source(layer, before, said)
            nodes[node]["metadata"] = _synapses_metadata(synapses, stored)
            edges += pairwise([*chain, node, neurons])
        main = nodes[synapse_node(index, 0)]
        main["metadata"] |= _layer_metadata(layer)
        if not tandem_only:
            main["bias"] = _bias_of_a_step(layer, network)
        if layer.neurons.threshold is not None:
            nodes[neurons] = _neurons(layer, network, time_step, tandem_only)
        before = layer.name
    if neurons != "output":  # they fire
        edges.append((neurons, "output"))
    last = network.layers[-1]
    nodes["output"] = {"type": "Output", "shape": np.array(last.output_shape)}
    if not tandem_only and network.reset == "subtract" and not last.fires:
        nodes["output"]["metadata"] = {SOFT_RESET: _start(last, 0.0)}
    return {
        "type": "NIRGraph",
        "nodes": nodes,
        "edges": edges,
        "metadata": {
            "format": FORMAT_NAME,
            "format_version": version_of(network),
            "tandem_only": int(tandem_only),
            "layers": len(network.layers),
            "time_step": float(time_step),
            **network_attributes(network, said),
        },
    }


def version_of(network: QuantizedNetwork) -> int:
    """Return the first version of the format that has a place for a network."""
    return DELAY_VERSION if network.firing_delay else FORMAT_VERSION


def _add_reshaping(nodes: Tree, synapses: Synapses, place: str, tandem_only: bool) -> list[str]:
    """Add the nodes that signals pass before their synapses, and return their names."""
    added = {}
    if is_flattened(synapses):
        added[f"flatten_{place}"] = _flatten(synapses)
    if isinstance(synapses, Conv1d) and not tandem_only:
        added[f"identity_{place}"] = _identity(synapses)
    nodes |= added
    return list(added)


def least_values(network: QuantizedNetwork, *, tandem_only: bool) -> int:
    """Return how many numbers ``network_tree`` gives at least: a few in a file can say many.

    Args:
        network: any network.
        tandem_only: as for ``network_tree``.
    """
    total = 0
    for layer in network:
        for synapses in layer.synapses:
            size = synapses.weight.size
            if isinstance(synapses, Convolution) and not tandem_only:
                size *= synapses.geometry.groups  # zeros between the groups
                if isinstance(synapses, Conv1d):
                    size += synapses.input_shape[0] ** 2  # the identity before it
            total += size
        if layer.fires and not tandem_only:
            total += 3 * layer.num_neurons
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


def _flatten(synapses: Synapses) -> Tree:
    return {
        "type": "Flatten",
        "input_type": np.array(synapses.input_shape),
        "start_dim": 0,
        "end_dim": -1,
    }


def _identity(synapses: Conv1d) -> Tree:
    """Return a node that hands everything on, for programs that do not know Conv1d.

    ``nirtorch.load`` (Norse, sinabs) leaves out a node that its program does not know, and runs the
    rest. Where there are two of them it fails, as it should.
    """
    channels, length = synapses.input_shape
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


def _synapses_metadata(synapses: Synapses, source: str | None) -> Tree:
    """Return what the nodes of all synapses say; no source is the layer before."""
    metadata: Tree = {
        "kind": type(synapses).__name__,
        "name": synapses.name,
        "weight_bits": synapses.weight_bits,
    }
    if source is not None:
        metadata["source"] = source
    if isinstance(synapses, Convolution):
        metadata["groups"] = synapses.geometry.groups
    return metadata


def _layer_metadata(layer: Layer) -> Tree:
    """Return what a layer has, said with its first synapses."""
    threshold = layer.neurons.threshold
    return {
        "bias": layer.neurons.bias,
        "current_decay": layer.neurons.current_decay,
        "voltage_decay": layer.neurons.voltage_decay,
        "skips": len(layer.inputs) - 1,
        **({} if threshold is None else {"threshold": threshold}),
    }


def _bias_of_a_step(layer: Layer, network: QuantizedNetwork) -> npt.NDArray[np.float32]:
    """Return what NIR adds in every step: a readout adds up the shares, which are its bias."""
    bias = layer.neurons.bias
    if network.reset == "subtract":  # it counts once, so it is where the potential starts
        return np.zeros(bias.shape, np.float32)
    return (bias if layer.fires else bias // network.num_steps).astype(np.float32)


def _start(layer: Layer, above: float) -> npt.NDArray[np.float32]:
    """Return the potentials that a sample starts from, so much above the biases."""
    bias = layer.neurons.bias.reshape(-1, *[1] * (len(layer.output_shape) - 1))
    return np.broadcast_to(bias + above, layer.output_shape).astype(np.float32)


def _private(synapses: Synapses) -> Tree:
    """Return a node of synapses of a type that NIR does not know."""
    kind = row_of(_PRIVATE_TYPES, synapses, "a NIR file of ours")
    node: Tree = {
        "type": kind,
        "weight": synapses.weight.astype(np.float32),
    }
    return node | {name: np.array(values) for name, values in synapses.geometry_numbers.items()}


def _node(synapses: Synapses) -> Tree:
    """Return a node of NIR for synapses, with a bias of 0."""
    node = row_of(_NODES, synapses, "NIR")(synapses)
    return {**node, "bias": np.zeros(len(synapses.weight), np.float32)}


def _affine(synapses: Dense) -> Tree:
    return {"type": "Affine", "weight": synapses.weight.astype(np.float32)}


def _convolution(synapses: Convolution) -> Tree:
    """Return a node of a convolution, with numbers where there is one axis."""
    numbers = synapses.geometry_numbers | {"input_shape": synapses.input_shape[1:]}
    return {
        "type": type(synapses).__name__,
        "weight": _ungrouped(synapses),
        "groups": 1,
        **{name: n[0] if synapses.rank == 1 else np.array(n) for name, n in numbers.items()},
    }


#: How NIR says each kind that it has.
_NODES: dict[type[Synapses], Callable[[Any], Tree]] = {
    Dense: _affine,
    Conv1d: _convolution,
    Conv2d: _convolution,
}


def _ungrouped(synapses: Convolution) -> npt.NDArray[np.float32]:
    """Return weights [out, in, ...] with zeros between the groups; nir checks no other shapes."""
    (out, per_group), groups = synapses.weight.shape[:2], synapses.geometry.groups
    weight = np.zeros((out, per_group * groups, *synapses.kernel), np.float32)
    for rows, columns in group_blocks(out, per_group, groups):
        weight[rows, columns] = synapses.weight[rows]
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


def _neurons(layer: Layer, network: QuantizedNetwork, time_step: float, tandem_only: bool) -> Tree:
    """Return the node of neurons that fire."""
    threshold = layer.neurons.threshold
    assert threshold is not None  # they fire
    if tandem_only:
        return {"type": f"{PRIVATE}Neurons"}
    node: Tree = {
        "type": "IF",
        "r": np.full(layer.output_shape, 1 / time_step, np.float32),
        "v_threshold": np.full(layer.output_shape, threshold - 0.5, np.float32),
        "v_reset": np.zeros(layer.output_shape, np.float32),
    }
    if network.reset == "subtract":
        node["v_threshold"] = np.full(layer.output_shape, threshold, np.float32)
        node["metadata"] = {SOFT_RESET: _start(layer, 0.5)}
    return node
