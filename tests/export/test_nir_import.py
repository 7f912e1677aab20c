"""Graphs of other programs, put on our grid, against NIR's own definition in floating point."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn import functional as F

from tandem_hw.conformance.layers import dense_layer, network_of
from tandem_hw.errors import ConversionError, FileFormatError, NetworkError, TandemError
from tandem_hw.export.nir_import import from_nir
from tandem_hw.export.nir_writer import to_nir
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork
from tandem_hw.network.synapses.convolutions import Conv2d
from tandem_hw.network.synapses.dense import OneToOne
from tandem_hw.network.synapses.geometry import Geometry
from tandem_hw.sim.reference import ReferenceBackend
from tests.helpers.networks import random_inputs
from tests.helpers.nir_graphs import (
    SPEC,
    STEPS,
    conv_node,
    ends_of,
    graph_of,
    if_node,
    pool_node,
    pooled_graph,
    whole_weights,
)

nir = pytest.importorskip("nir")


def _simulate(
    graph: Any, inputs: npt.NDArray[Any], reset: str, steps: int = STEPS
) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[Any]]:
    """Return the spike counts of all IF nodes and the sum of the outputs, as NIR defines them."""
    before: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        before[target].append(source)
    order: list[str] = []
    while len(order) < len(before):
        order += [n for n in before if n not in order and set(before[n]) <= set(order)]
    voltage: dict[str, torch.Tensor] = {}
    totals: dict[str, torch.Tensor] = {}
    for _ in range(steps):
        values: dict[str, torch.Tensor] = {}
        for name in order:
            node = graph.nodes[name]
            taken = [values[source] for source in before[name]]
            x = torch.from_numpy(inputs.astype(np.float64)) if not taken else sum(taken)
            values[name] = _stepped(node, x, name, voltage, reset)
            totals[name] = totals.get(name, 0) + values[name]
    counts = {n: totals[n].numpy() for n in order if isinstance(graph.nodes[n], nir.IF)}
    return counts, totals["output"].flatten(1).numpy()


def _stepped(node: Any, x: Any, name: str, voltage: dict[str, Any], reset: str) -> Any:
    if isinstance(node, nir.IF):
        v = voltage.get(name, 0) + torch.from_numpy(node.r.astype(np.float64)) * x
        threshold = torch.from_numpy(node.v_threshold.astype(np.float64))
        # What is left after a subtraction can meet the threshold; who subtracts fires there, as we.
        fires = (v >= threshold if reset == "subtract" else v > threshold).to(torch.float64)
        voltage[name] = v - fires * (threshold if reset == "subtract" else v)
        return fires
    if isinstance(node, nir.Conv2d):
        weight, bias = (
            torch.from_numpy(one.astype(np.float64)) for one in (node.weight, node.bias)
        )
        return F.conv2d(x, weight, bias, node.stride, node.padding, node.dilation, node.groups)
    if isinstance(node, nir.SumPool2d | nir.AvgPool2d):
        args = (tuple(node.kernel_size), tuple(node.stride), tuple(node.padding))
        mean = F.avg_pool2d(x, *args)
        return mean * (float(np.prod(args[0])) if isinstance(node, nir.SumPool2d) else 1)
    if isinstance(node, nir.Affine | nir.Linear):
        product = x.flatten(1) @ torch.from_numpy(node.weight.astype(np.float64)).T
        if hasattr(node, "bias"):
            product = product + torch.from_numpy(node.bias.astype(np.float64))
        return product
    return x.flatten(1) if isinstance(node, nir.Flatten) else x


def _import(graph: Any, **other: Any) -> QuantizedNetwork:
    arguments: dict[str, Any] = {"input_spec": SPEC, "num_steps": STEPS, "reset": "zero"}
    return from_nir(graph, **arguments | other)


# The same network ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("kind", ["SumPool2d", "AvgPool2d"])
def test_pooling_and_skips_are_the_same_network(tmp_path: Path, reset: Any, kind: str) -> None:
    graph = pooled_graph(kind)
    network = _import(graph, reset=reset)
    inputs = random_inputs(network, 5)
    counts, result = _simulate(graph, inputs, reset)
    recording = ReferenceBackend().run(network, inputs)
    names = {"if1": "conv", "if2": "conv2", "if3": "conv3"}
    assert [layer.name for layer in network] == ["conv", "conv2", "conv3", "linear"]
    assert [one.source for one in network.layers[2].inputs[1:]] == ["conv2"]
    for node, layer in names.items():
        assert 0.1 < counts[node].mean() / STEPS < 0.9
        assert np.array_equal(recording.counts[layer], counts[node])
    assert len(np.unique(result)) > 5
    assert np.array_equal(recording.output * network.readout_scale, result)
    nir.write(tmp_path / "foreign.nir", graph)
    assert _import(tmp_path / "foreign.nir", reset=reset).digest == network.digest


def _small(threshold: Any, r: float = 1.0, bias: float = 0.0) -> tuple[Any, InputSpec]:
    """Return a matrix and neurons, which are counted."""
    weight = whole_weights(np.random.default_rng(3), 6, 9)
    nodes = ends_of((6,), (9,)) | {
        "linear": nir.Affine(weight, np.full(6, bias, np.float32)),
        "if": if_node((6,), threshold, r),
    }
    return graph_of(nodes, "input linear if output"), InputSpec((9,), 1, 1.0, "events")


def test_the_time_step_multiplies_what_neurons_take_in() -> None:
    graph, spec = _small(251, bias=4)
    fast, _ = _small(251 * 8, r=8e4, bias=4)  # SpikingJelly's r for a step of 1e-4 is 1e4
    plain = _import(graph, input_spec=spec)
    assert plain.digest == _import(fast, input_spec=spec, time_step=1e-4).digest
    assert plain.digest == _import(graph, input_spec=spec, time_step=1.0).digest
    assert (plain.layers[0].neurons.threshold, set(plain.layers[0].neurons.bias)) == (251, {4})
    with pytest.raises(ConversionError, match="node if has r = 80000; say by time_step"):
        _import(fast, input_spec=spec)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_thresholds_of_channels_go_into_the_weights(reset: Any) -> None:
    graph, spec = _small(251)
    graph.nodes["if"].v_threshold[3:] *= 2
    graph.nodes["linear"].weight[3:] *= 2
    network = _import(graph, input_spec=spec, reset=reset)
    assert network.digest == _import(_small(251)[0], input_spec=spec, reset=reset).digest


def test_spikes_without_weights_are_one_to_one_synapses() -> None:
    weight = whole_weights(np.random.default_rng(3), 6, 6)
    nodes = ends_of((6,), (6,)) | {
        "first": nir.Linear(weight),
        "if1": if_node((6,), 251),
        "second": nir.Linear(weight),
        "if2": if_node((6,), 253),
    }
    graph = graph_of(nodes, "input first if1 second if2 output", "if1 if2")
    spec = InputSpec((6,), 1, 1.0, "events")
    network = _import(graph, input_spec=spec)
    _, (source, skip) = network.layers[1].inputs
    assert isinstance(skip, OneToOne)
    assert (source, int(skip.weight[0])) == ("first", 1)
    nodes["if2"].v_threshold[0] = 200
    with pytest.raises(ConversionError, match="unlike thresholds"):
        _import(graph, input_spec=spec)


@pytest.mark.parametrize(("kind", "whole"), [("SumPool2d", 1), ("AvgPool2d", 4)])
def test_pooling_alone_is_a_layer_of_one_group_a_channel(kind: str, whole: int) -> None:
    nodes = ends_of((4, 4, 4), (2, 8, 8)) | {
        "conv": conv_node(whole_weights(np.random.default_rng(5), 4, 2, 3, 3), (8, 8)),
        "if1": if_node((4, 8, 8), 255),
        "pool": pool_node(kind, 3, 2, 1),
        "if2": if_node((4, 4, 4), 2.5 if kind == "SumPool2d" else 2.5 / 9),
    }
    graph = graph_of(nodes, "input conv if1 pool if2 output")
    network = _import(graph)
    (pool,) = network.layers[1].synapses
    assert isinstance(pool, Conv2d)
    assert pool.geometry == Geometry((2, 2), (1, 1), groups=4)
    inputs = random_inputs(network, 4)
    recording = ReferenceBackend().run(network, inputs)
    counts, _ = _simulate(graph, inputs, "zero")
    assert 0.1 < counts["if2"].mean() / STEPS < 0.9
    assert np.array_equal(recording.counts["pool"], counts["if2"])


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_paddings_by_name(padding: str) -> None:
    weight = whole_weights(np.random.default_rng(5), 4, 2, 3, 3)
    side = {"valid": 6, "same": 8}[padding]
    nodes = ends_of((4, side, side)) | {
        "conv": conv_node(weight, (8, 8), padding=padding),
        "if": if_node((4, side, side), 255),
    }
    network = _import(graph_of(nodes, "input conv if output"))
    assert network.layers[0].output_shape == (4, side, side)


def test_the_readout_gets_the_biases_of_the_whole_window() -> None:
    nodes = ends_of((6,), (9,)) | {
        "linear": nir.Affine(
            whole_weights(np.random.default_rng(3), 6, 9), np.full(6, 3, np.float32)
        )
    }
    graph, spec = graph_of(nodes, "input linear output"), InputSpec((9,), 1, 1.0, "events")
    for reset in ("zero", "subtract"):
        network = _import(graph, input_spec=spec, reset=reset)
        assert set(network.layers[-1].neurons.bias) == {3 * STEPS}
        assert network.readout == "potential"


@pytest.mark.filterwarnings("ignore::DeprecationWarning:nirtorch.*")
def test_a_graph_that_norse_exported_is_imported() -> None:
    norse = pytest.importorskip("norse.torch")
    generator = np.random.default_rng(3)
    model = norse.SequentialState(
        torch.nn.Linear(9, 6, bias=False),
        norse.IAFCell(norse.IAFParameters(v_th=torch.full((6,), 251.0))),
        torch.nn.Linear(6, 5, bias=False),
        norse.IAFCell(norse.IAFParameters(v_th=torch.full((5,), 253.0))),
    )
    model[0].weight.data = torch.from_numpy(whole_weights(generator, 6, 9))
    model[2].weight.data = torch.from_numpy(whole_weights(generator, 5, 6))
    graph = norse.to_nir(model, torch.zeros(1, 9))
    spec = InputSpec((9,), 1, 1.0, "events")
    network = _import(graph, input_spec=spec)
    inputs = random_inputs(network, 6)
    recording = ReferenceBackend().run(network, inputs)
    state, counts = None, torch.zeros(6, 5)
    with torch.no_grad():
        for step in range(STEPS):
            spikes, state = model(torch.from_numpy(inputs[:, step].astype(np.float32)), state)
            counts = counts + spikes
    assert 0.1 < counts.mean() / STEPS < 0.9
    assert np.array_equal(recording.output, counts.numpy())


# Refused ------------------------------------------------------------------------------------------


def _changed(**nodes: Any) -> Any:
    graph = pooled_graph("AvgPool2d")
    graph.nodes.update(nodes)
    return graph


def _with_edges(*edges: tuple[str, str], drop: tuple[str, str] | None = None) -> Any:
    graph = pooled_graph("AvgPool2d")
    graph.edges = [edge for edge in graph.edges if edge != drop] + list(edges)
    return graph


def _lif() -> Any:
    one = np.ones((4, 8, 8), np.float32)
    return nir.LIF(tau=one, r=one, v_leak=0 * one, v_threshold=one)


def _uneven() -> Any:
    neurons = if_node((4, 8, 8), 3)
    neurons.v_threshold[0, 0, 0] = 4
    return neurons


REFUSED: dict[str, tuple[Any, str]] = {
    "leak": (lambda: _changed(if1=_lif()), "node if1 is of type LIF; its leak is no integer"),
    "v_reset": (
        lambda: _changed(if1=if_node((4, 8, 8), 3, v_reset=1)),
        "node if1 resets to v_reset",
    ),
    "r": (
        lambda: _changed(if1=if_node((4, 8, 8), 3, r=-1)),
        "r or v_threshold that is not positive",
    ),
    "uneven": (lambda: _changed(if1=_uneven()), "thresholds that differ within a channel"),
    "size": (lambda: _changed(if1=if_node((4, 8, 7), 3)), "node if1 is made for 224 neurons"),
    "recurrent": (lambda: _with_edges(("if2", "conv2")), "recurrent"),
    "graph within": (
        lambda: _changed(conv2=pooled_graph("SumPool2d")),
        "node conv2 is of type NIRGraph; replace the graph",
    ),
    "scale": (lambda: _changed(conv3=nir.Scale(np.ones((4, 4, 4)))), "multiply it into"),
    "no neurons": (lambda: _changed(if2=nir.Flatten(None, 0, -1)), "no neurons between"),
    "pooled late": (
        lambda: _with_edges(("conv2", "pool2"), drop=("if3", "pool2")),
        "no neurons between|pools what no neurons have taken in",
    ),
    "sum": (lambda: _with_edges(("if1", "conv3")), "node conv3 takes in 2 nodes; only neurons add"),
    "unknown edge": (lambda: _with_edges(("if1", "nowhere")), "has no node"),
    "nothing in": (lambda: _with_edges(drop=("input", "conv")), "takes in 0 nodes|takes nothing"),
    "two inputs": (lambda: _changed(other=nir.Input(np.array([2]))), "2 nodes of type Input"),
    "overlap": (
        lambda: _changed(pool1=pool_node("AvgPool2d", 3, 2)),
        "cannot be folded into conv2",
    ),
    "tiles": (lambda: _changed(pool1=pool_node("AvgPool2d", 3)), "do not tile"),
    "infinite": (
        lambda: _changed(linear=nir.Linear(np.full((3, 16), np.inf, np.float32))),
        "node linear/weight is not made of finite numbers",
    ),
    "ours": (lambda: to_nir(_counting()), "was made by tandem-hw; read the file with read_nir"),
    "windows": (
        lambda: _changed(pool1=pool_node("AvgPool2d", 0, 1)),
        r"node pool1 has windows of \(0, 0\); both numbers must be 1 or more",
    ),
    "wide windows": (
        lambda: _changed(pool1=pool_node("AvgPool2d", 4096)),
        "node pool1: its windows become 2415919104 weights; at most 16777216 can be",
    ),
    "edge twice": (lambda: _with_edges(("if1", "pool1")), "'if1' -> 'pool1' is given twice"),
    "single node": (lambda: nir.Linear(np.ones((2, 2))), "is a single node"),
}


def _counting() -> QuantizedNetwork:
    layer = dense_layer("one", np.full((1, 3), 4), 8, [0], 5, (3,))
    return network_of(InputSpec((3,), 1, 1.0), (layer,), 3, "zero", "count")


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_run_is_refused_by_name(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(TandemError, match=message):
        _import(make())


def _chain(*names: str) -> tuple[Any, InputSpec]:
    """Return two layers whose nodes have any names: input, matrix, neurons, matrix, neurons."""
    generator = np.random.default_rng(3)
    start, first, hidden, second, last = names
    nodes = {
        start: nir.Input(np.array([9])),
        first: nir.Affine(whole_weights(generator, 6, 9), np.zeros(6, np.float32)),
        hidden: if_node((6,), 251),
        second: nir.Affine(whole_weights(generator, 4, 6), np.zeros(4, np.float32)),
        last: if_node((4,), 129),
        "output": nir.Output(np.array([4])),
    }
    return graph_of(nodes, " ".join((*names, "output"))), InputSpec((9,), 1, 1.0, "events")


@pytest.mark.parametrize(
    "names",
    [
        ("start", "w1", "input", "w2", "n2"),
        ("start", "w1", "n1", "w2", "input"),
        ("start", "input", "n1", "w2", "n2"),
        ("start", "w1", "n1", "input", "n2"),
    ],
)
def test_any_node_may_be_called_input(names: tuple[str, ...]) -> None:
    plain, spec = _chain("start", "w1", "n1", "w2", "n2")
    expected = _import(plain, input_spec=spec)
    network = _import(_chain(*names)[0], input_spec=spec)
    inputs = random_inputs(network, 5)
    wanted = ReferenceBackend().run(expected, inputs)
    found = ReferenceBackend().run(network, inputs)
    assert wanted.output.any()
    assert np.array_equal(found.output, wanted.output)
    for layer, other in zip(network, expected, strict=True):
        assert np.array_equal(found.counts[layer.name], wanted.counts[other.name])
        assert layer.name == other.name or (layer.name, "input" in names) == ("input_", True)


@pytest.mark.parametrize("path", ["n2 w3 n3", "n1 w3 n3", "start w4 n4"])
def test_neurons_beside_the_output_are_named(path: str) -> None:
    graph, spec = _chain("start", "w1", "n1", "w2", "n2")
    weights = {"n2": np.ones((2, 4)), "n1": np.ones((2, 6)), "start": np.ones((2, 9))}
    start, matrix, neurons = path.split()
    graph.nodes |= {matrix: nir.Linear(weights[start]), neurons: if_node((2,), 3)}
    graph.edges += [(start, matrix), (matrix, neurons)]
    with pytest.raises(ConversionError, match=f"node {neurons} leads to no output: leave it out"):
        _import(graph, input_spec=spec)


def test_a_layer_that_no_file_holds_is_refused() -> None:
    weight = whole_weights(np.random.default_rng(3), 4, 2, 3, 3)
    nodes = {"conv": conv_node(weight, (8, 8), padding=(1 << 24, 1)), "if": if_node((1,), 255)}
    graph = graph_of(ends_of((1,)) | nodes, "input conv if output")
    with pytest.raises(NetworkError, match=r"conv: shape \(4, 33554438, 8\) is too large"):
        _import(graph)


def test_a_bias_in_every_step_is_refused_with_subtract() -> None:
    graph, spec = _small(251, bias=4)
    with pytest.raises(ConversionError, match="node if takes a bias in every step"):
        _import(graph, input_spec=spec, reset="subtract")


def test_the_input_must_have_the_shape_that_is_said() -> None:
    with pytest.raises(ConversionError, match=re.escape("takes (2, 8, 8); input_spec says (9,)")):
        _import(pooled_graph("SumPool2d"), input_spec=InputSpec((9,), 1, 1.0))


GEOMETRY = [
    *(("stride", 0, 1), ("stride", -3, 1), ("stride", 1 << 40, 1), ("padding", -3, 0)),
    *(("padding", 1 << 40, 0), ("dilation", 0, 1), ("dilation", 1 << 40, 1)),
]


@pytest.mark.parametrize(("name", "number", "least"), GEOMETRY)
def test_geometry_out_of_range_is_refused_before_it_is_used(
    name: str, number: int, least: int
) -> None:
    numbers = np.array([1, number])
    with pytest.raises(
        ConversionError,
        match=rf"node conv2: {name} is \(1, {number}\); allowed are {least} to 16777216",
    ):
        _import(_changed(conv2=_with(pooled_graph("AvgPool2d").nodes["conv2"], name, numbers)))


@pytest.mark.parametrize("number", [-3, 1 << 40])
@pytest.mark.parametrize("name", ["kernel_size", "stride", "padding"])
def test_windows_out_of_range_are_refused_before_they_are_used(name: str, number: int) -> None:
    with pytest.raises(ConversionError, match=rf"node pool1: {name} is \(2, {number}\); allowed"):
        _import(_changed(pool1=_with(pool_node("AvgPool2d"), name, np.array([2, number]))))


@pytest.mark.parametrize("number", [0, -3, 1 << 40])
def test_groups_out_of_range_are_refused(number: int) -> None:
    conv = _with(pooled_graph("AvgPool2d").nodes["conv2"], "groups", number)
    with pytest.raises(FileFormatError, match=rf"conv2/groups is {number}; allowed are 1 to 1677"):
        _import(_changed(conv2=conv))


def _with(node: Any, name: str, value: Any) -> Any:
    """Return a node with a number that nir's own constructor might look at."""
    setattr(node, name, value)
    return node


def test_neurons_of_two_sizes_are_refused() -> None:
    graph = _changed(if1=_with(if_node((4, 8, 8), 255), "r", np.ones((4, 8, 7), np.float32)))
    with pytest.raises(ConversionError, match=r"node if1 has r of shape \(4, 8, 7\) and v_thresh"):
        _import(graph)


@pytest.mark.parametrize("name", ["node/type", "node/nodes/conv2/type"])
@pytest.mark.parametrize("value", [3, [1, 2], 0.5, ["NIRGraph", "IF"]])
def test_a_type_that_is_no_text_is_refused(name: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "foreign.nir"
    nir.write(path, pooled_graph("AvgPool2d"))
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = value
    with pytest.raises(FileFormatError, match=r"type (is (int|float)64; one text|holds 2 values)"):
        _import(path)


def test_a_file_that_is_no_nir_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.nir").write_bytes(b"nothing of the kind")
    with pytest.raises(FileFormatError, match="not an HDF5 file"):
        _import(tmp_path / "x.nir")
