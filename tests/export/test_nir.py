"""NIR files of ours: bit for bit back, refused where changed, run by others where exact."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, assume, given, settings

from tandem_hw.cli import main
from tandem_hw.conformance.layers import changed, connected, conv2d_layer, dense_layer, network_of
from tandem_hw.counted import counted
from tandem_hw.errors import BackendUnavailableError, FileFormatError, NetworkError
from tandem_hw.export.files import read_network, write_network
from tandem_hw.export.nir_reader import read_nir
from tandem_hw.export.nir_writer import step_inputs, to_nir, why_inexact, write_nir
from tandem_hw.network.fixed_point import DECAY_UNITY
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork
from tandem_hw.network.synapses.convolutions import Conv1d, Conv2d
from tandem_hw.network.synapses.dense import Dense
from tandem_hw.sim.reference import ReferenceBackend, trace
from tests.helpers.networks import (
    networks,
    random_inputs,
    small_graph_network,
    small_image_network,
    small_network,
)

nir = pytest.importorskip("nir")

_QUICK = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _exact(network: QuantizedNetwork) -> QuantizedNetwork:
    """Return a network near a drawn one that NIR can say; others are not taken as examples."""
    kinds = {type(layer.synapses[0]) for layer in network}
    assume(kinds <= {Dense, Conv1d, Conv2d})
    plain = [
        changed(
            layer,
            skips=(),
            source="",
            current_decay=DECAY_UNITY,
            voltage_decay=0,
            bias=layer.neurons.bias if layer.fires else 0 * layer.neurons.bias,
        )
        for layer in network
    ]
    shapes = [network.input.shape, *(layer.output_shape for layer in plain)]
    assume(
        all(
            layer.synapses[0].input_shape == shape
            for layer, shape in zip(plain, shapes, strict=False)
        )
    )
    result = replace(network, layers=connected(plain), reset="zero")
    assume(why_inexact(result) is None)
    return result


def _exact_network(num_steps: int = 6) -> QuantizedNetwork:
    """Return an active network with a grouped convolution, which counts."""
    network = small_network("zero", num_steps)
    conv, hidden, _ = network.layers
    assert isinstance(conv.synapses[0], Conv2d)
    conv = changed(conv, weight=conv.synapses[0].weight[:, :1], groups=2, threshold=3571)
    hidden = changed(hidden, threshold=1477)
    return replace(network, layers=(conv, hidden), readout="count")


# There and back -----------------------------------------------------------------------------------


@given(networks())
@_QUICK
def test_a_network_comes_back_bit_for_bit(tmp_path: Path, network: QuantizedNetwork) -> None:
    path = tmp_path / "net.nir"
    write_nir(network, path, tandem_only=why_inexact(network) is not None)
    assert read_nir(path).digest == network.digest


@given(networks(delayed=True))
@_QUICK
def test_a_network_that_waits_comes_back_in_a_file_of_its_own_version(
    tmp_path: Path, network: QuantizedNetwork
) -> None:
    path = tmp_path / "net.nir"
    waiting = counted(network.firing_delay, "step")
    message = f"layers wait {waiting} before they fire, which no neuron of NIR"
    with pytest.raises(NetworkError, match=message):
        write_nir(network, path)
    write_nir(network, path, tandem_only=True)
    assert read_nir(path).digest == network.digest
    with h5py.File(path) as file:
        assert file["node/metadata/format_version"][()] == 2
        assert file["node/metadata/firing_delay"][()] == network.firing_delay


@given(networks())
@_QUICK
def test_an_exact_network_comes_back_when_nir_read_and_wrote_it(
    tmp_path: Path, network: QuantizedNetwork
) -> None:
    network = _exact(network)
    path = tmp_path / "net.nir"
    write_nir(network, path)
    nir.write(path, nir.read(path), compression="lzf")
    assert read_nir(path).digest == network.digest


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.nir", "two.nir"):
        write_nir(_exact_network(), tmp_path / name)
    assert (tmp_path / "one.nir").read_bytes() == (tmp_path / "two.nir").read_bytes()


@pytest.mark.parametrize("suffix", [".nir", ".NIR", ".net"])
def test_the_suffix_tells_the_kind_of_file(tmp_path: Path, suffix: str) -> None:
    network = _exact_network()
    path = tmp_path / f"model{suffix}"
    write_network(network, path)
    assert read_network(path).digest == network.digest
    with h5py.File(path) as file:
        assert ("node" in file) == (suffix.lower() == ".nir")


# What NIR cannot say ------------------------------------------------------------------------------


def _leaky() -> QuantizedNetwork:
    network = _exact_network()
    return replace(network, layers=(changed(network.layers[0], voltage_decay=9), network.layers[1]))


def _biased_readout() -> QuantizedNetwork:
    return small_network("zero", 4)


def _flat_kernel() -> QuantizedNetwork:
    spec = InputSpec((1, 4, 4), 1, 1.0, "events")
    conv = conv2d_layer("flat", np.full((1, 1, 1, 3), 6), 8, [0], 5, spec.shape)
    return network_of(spec, (conv,), 3, "zero", "count")


def _overflowing() -> QuantizedNetwork:
    spec = InputSpec((40,), 8, 1.0, "constant")
    dense = dense_layer("wide", np.full((1, 40), 254), 8, [0], 5, spec.shape)
    return network_of(spec, (dense,), 3, "zero", "count")


INEXACT: dict[str, tuple[Callable[[], QuantizedNetwork], str]] = {
    "subtract": (lambda: small_network("subtract"), "no reset by subtraction"),
    "leak": (_leaky, "layer conv leaks"),
    "skip": (small_graph_network, "layer block has a skip path"),
    "transposed": (small_image_network, "layer image is a ConvTranspose2d"),
    "kernel": (_flat_kernel, "layer flat has a kernel of 1 x 3"),
    "bias": (_biased_readout, "layer readout is a readout whose bias counts once"),
    "overflow": (_overflowing, "layer wide is not proven to stay within 24 bits"),
}


@pytest.mark.parametrize("case", INEXACT)
def test_what_nir_cannot_say_is_refused_and_written_for_tandem_hw_alone(
    tmp_path: Path, case: str
) -> None:
    make, message = INEXACT[case]
    network, path = make(), tmp_path / "net.nir"
    with pytest.raises(NetworkError, match=message):
        to_nir(network)
    with pytest.raises(NetworkError, match="--tandem-only"):
        write_nir(network, path)
    assert not path.exists()
    write_nir(network, path, tandem_only=True)
    assert read_nir(path).digest == network.digest
    for type_check in (True, False):
        with pytest.raises((AssertionError, KeyError)):
            nir.read(path, type_check=type_check)


# Reset by subtraction, by the convention of one key -----------------------------------------------


def _subtracting() -> QuantizedNetwork:
    """Return an active network whose biases count once, in the hidden layers and the readout."""
    network = small_network("subtract", 5)
    conv, hidden, readout = network.layers
    conv = changed(conv, bias=np.arange(len(conv.neurons.bias)) * 37 - 20)
    hidden = changed(hidden, bias=np.arange(len(hidden.neurons.bias)) * 53 - 90)
    readout = changed(readout, bias=np.array([7, -11, 401]))
    return replace(network, layers=(conv, hidden, readout))


def _run_by_the_convention(
    graph: Any, steps: np.ndarray[Any, Any], above: Callable[[Any, Any], Any]
) -> np.ndarray[Any, Any]:
    """Run a chain of Flatten, Conv2d, Affine and IF as docs/nir.md says, and return its outputs.

    Only NIR's own fields are read, and the one key. ``above`` is ``>`` or ``>=``.
    """
    torch = pytest.importorskip("torch")
    after = dict(graph.edges)
    name, order = "input", []
    while (name := after[name]) != "output":
        order.append(graph.nodes[name])
    samples = steps.shape[1]
    start = graph.nodes["output"].metadata.get("soft_reset", 0.0)
    total = np.broadcast_to(start, (samples, *graph.nodes["output"].output_type["output"])).copy()
    states = {
        id(node): np.repeat(node.metadata["soft_reset"][None], samples, axis=0)
        for node in order
        if isinstance(node, nir.IF)
    }
    for values in steps:
        for node in order:
            if isinstance(node, nir.Flatten):
                values = values.reshape(samples, -1)
            elif isinstance(node, nir.Affine):
                values = values @ node.weight.T + node.bias
            elif isinstance(node, nir.Conv2d):
                geometry = (tuple(node.stride), tuple(node.padding), tuple(node.dilation))
                arrays = (torch.from_numpy(one) for one in (values, node.weight, node.bias))
                values = torch.nn.functional.conv2d(*arrays, *geometry).numpy()
            else:
                potential = states[id(node)]
                potential += values
                values = above(potential, node.v_threshold).astype(np.float32)
                potential -= values * node.v_threshold
        total += values
    return total


@pytest.mark.parametrize("above", [np.greater, np.greater_equal])
@pytest.mark.parametrize("encoding", ["first_step", "constant"])
def test_a_reader_that_knows_the_key_gets_the_same(
    tmp_path: Path, above: Callable[[Any, Any], Any], encoding: Any
) -> None:
    network = _subtracting()
    network = replace(network, input=replace(network.input, encoding=encoding))
    if encoding == "constant":  # more comes in
        conv, hidden, readout = network.layers
        layers = (changed(conv, threshold=3568), changed(hidden, threshold=2048), readout)
        network = replace(network, layers=layers)
    path = tmp_path / "net.nir"
    write_nir(network, path, soft_reset=True)
    assert read_nir(path).digest == network.digest
    inputs = random_inputs(network, 8)
    recording = ReferenceBackend().run(network, inputs)
    rates = [recording.counts[layer.name].mean() / 5 for layer in network.layers[:2]]
    assert all(0.05 < rate < 0.95 for rate in rates)
    found = _run_by_the_convention(nir.read(path), step_inputs(network, inputs), above)
    assert np.array_equal(found, recording.output)
    # The biases matter, and so does the subtraction.
    plain = replace(
        network, layers=tuple(changed(one, bias=0 * one.neurons.bias) for one in network)
    )
    assert not np.array_equal(ReferenceBackend().run(plain, inputs).output, recording.output)


@given(networks())
@settings(_QUICK, max_examples=5)
def test_any_subtracting_network_comes_back_when_nir_read_and_wrote_it(
    tmp_path: Path, network: QuantizedNetwork
) -> None:
    network = replace(_exact(network), reset="subtract")
    assume(why_inexact(network, soft_reset=True) is None)
    path = tmp_path / "net.nir"
    write_nir(network, path, soft_reset=True)
    nir.write(path, nir.read(path))
    assert read_nir(path).digest == network.digest


def test_a_changed_start_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.nir"
    write_nir(_subtracting(), path, soft_reset=True)
    with h5py.File(path, "r+") as file:
        start = file["node/nodes/neurons_0/metadata/soft_reset"]
        start[...] = start[()] + 1
    with pytest.raises(FileFormatError, match="neurons_0/metadata/soft_reset differs"):
        read_nir(path)


def test_the_convention_is_asked_for_and_only_where_others_read(tmp_path: Path) -> None:
    network, path = _subtracting(), tmp_path / "net.nir"
    with pytest.raises(NetworkError, match=r"--soft-reset \(soft_reset=True\)"):
        write_nir(network, path)
    with pytest.raises(NetworkError, match="tandem_only and soft_reset exclude each other"):
        write_nir(network, path, tandem_only=True, soft_reset=True)
    with pytest.raises(NetworkError, match="layer block has a skip path"):
        to_nir(replace(small_graph_network(), reset="subtract"), soft_reset=True)
    assert not path.exists()
    net = tmp_path / "a.net"
    write_network(network, net)
    for arguments, message in (
        (("--out", str(tmp_path / "b.net"), "--soft-reset"), "--soft-reset is for .nir files"),
        (("--out", str(path), "--soft-reset", "--tandem-only"), "give one of them"),
    ):
        result = CliRunner().invoke(main, ["export", str(net), *arguments])
        assert (result.exit_code, message in result.output) == (2, True), result.output
    result = CliRunner().invoke(main, ["export", str(net), "--out", str(path), "--soft-reset"])
    assert result.exit_code == 0, result.output
    assert read_nir(path).digest == network.digest


def test_a_time_step_is_a_positive_number() -> None:
    for time_step in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(NetworkError, match="positive"):
            to_nir(_exact_network(), time_step=time_step)


# Changed and damaged files ------------------------------------------------------------------------


def _set(name: str, value: Any) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file[name] = value

    return edit


def _change(name: str, index: Any, value: Any) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        file[name][index] = value

    return edit


def _link(name: str, target: Any) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        del file[name]
        file[name] = target

    return edit


def _external(file: h5py.File) -> None:
    del file["node/nodes/neurons_0/r"]
    file.create_dataset(
        "node/nodes/neurons_0/r", (4, 3, 3), "f4", external=[("/etc/hostname", 0, 144)]
    )


def _twice(file: h5py.File) -> None:
    file["node/nodes/neurons_0/metadata"] = file["node/metadata"]


def _deep(file: h5py.File) -> None:
    file.create_group("node/" + "/".join("abcdefghijkl"))


def _huge(file: h5py.File) -> None:
    del file["node/nodes/neurons_0/r"]
    file.create_dataset("node/nodes/neurons_0/r", (1 << 40,), "f4", chunks=(1 << 16,))


NODES, METADATA = "node/nodes", "node/metadata"
EDITS: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "weight": (_change(f"{NODES}/synapses_0_0/weight", (0, 0, 0, 0), 2), "match the digest"),
    "fraction": (_change(f"{NODES}/synapses_0_0/weight", (0, 0, 0, 0), 0.5), "no whole number"),
    "not a number": (_change(f"{NODES}/synapses_0_0/weight", (0, 0, 0, 0), np.nan), "finite"),
    "between groups": (_change(f"{NODES}/synapses_0_0/weight", (0, 1, 0, 0), 2), "weight differs"),
    "bias": (_change(f"{NODES}/synapses_0_0/bias", 0, 7), "bias differs"),
    "threshold": (_change(f"{NODES}/neurons_0/v_threshold", (0, 0, 0), 7), "v_threshold differs"),
    "v_reset": (_change(f"{NODES}/neurons_1/v_reset", 0, 1), "v_reset differs"),
    "r": (_change(f"{NODES}/neurons_1/r", 0, 1), "r differs"),
    "stride": (_change(f"{NODES}/synapses_0_0/stride", 0, 1), "valid network"),
    "type": (_set(f"{NODES}/neurons_0/type", "LIF"), "type differs"),
    "edge": (_change("node/edges", (0, 0), b"output"), "edges differs"),
    "stride too large": (_set(f"{NODES}/synapses_0_0/stride", [1 << 40, 1]), "largest is 16777216"),
    "padding too small": (
        _set(f"{NODES}/synapses_0_0/padding", [-(1 << 40), 0]),
        "largest is 1677",
    ),
    "stride of 0": (_set(f"{NODES}/synapses_0_0/stride", [0, 1]), "must be two of >= 1"),
    "padding of -3": (_set(f"{NODES}/synapses_0_0/padding", [-3, 0]), "must be two of >= 0"),
    "type of numbers": (_set(f"{NODES}/synapses_0_0/type", [1, 2]), "type is int64; one text is"),
    "graph's type": (_set("node/type", [1, 2]), "node/type differs"),
    "digest of numbers": (_set(f"{METADATA}/digest", [1, 2]), "digest is int64; one text is need"),
    "format of numbers": (_set(f"{METADATA}/format", [1, 2]), "not written by tandem-hw"),
    "extra node": (_set(f"{NODES}/flatten_1_0", 3), "flatten_1_0"),
    "steps": (_set(f"{METADATA}/num_steps", 5), "match the digest"),
    "reset": (_set(f"{METADATA}/reset", "subtract"), "match the digest|valid network"),
    "long text": (_set(f"{METADATA}/reset", "x" * 99), "reset is .* damaged"),
    "version": (_set(f"{METADATA}/format_version", 3), "format version is 3"),
    "later version": (_set(f"{METADATA}/format_version", 2), "format_version differs"),
    "delay": (_set(f"{METADATA}/firing_delay", 2), "firing_delay is 2 with reset|valid network"),
    "format": (_set(f"{METADATA}/format", "other"), "from_nir"),
    "layers": (_set(f"{METADATA}/layers", 10**9), "allowed are 1 to"),
    "layers again": (_set(f"{METADATA}/layers", 3), "synapses_2_0 is missing"),
    "kind": (_set(f"{NODES}/synapses_0_0/metadata/kind", "Conv9d"), "allowed are Conv2d"),
    "groups": (_set(f"{NODES}/synapses_0_0/metadata/groups", 0), "0 groups do not divide"),
    "source": (_set(f"{NODES}/synapses_0_0/metadata/source", "else"), "no layer before it"),
    "skips": (_set(f"{NODES}/synapses_0_0/metadata/skips", 99), "allowed are 0 to"),
    "time step": (_set(f"{METADATA}/time_step", -1.0), "time_step is -1"),
    "digest": (_set(f"{METADATA}/digest", "0" * 64), "match the digest"),
    "soft link": (_link(f"{METADATA}/digest", h5py.SoftLink("/version")), "link to elsewhere"),
    "external link": (
        _link(f"{NODES}/neurons_0", h5py.ExternalLink("other.nir", "/node")),
        "link to elsewhere",
    ),
    "external data": (_external, "another file"),
    "linked twice": (_twice, "linked more than once"),
    "deep": (_deep, "deep"),
    "huge": (_huge, "values"),
}


@pytest.mark.parametrize("case", EDITS)
def test_a_changed_file_is_refused(tmp_path: Path, case: str) -> None:
    path = tmp_path / "net.nir"
    write_nir(_exact_network(), path)
    edit, message = EDITS[case]
    with h5py.File(path, "r+") as file:
        edit(file)
    with pytest.raises(FileFormatError, match=message) as caught:
        read_nir(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "net.nir"
    write_nir(_exact_network(), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(FileFormatError, match="damaged"):
        read_nir(path)


def test_files_that_are_no_nir_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.nir"
    with pytest.raises(FileFormatError, match="no such file"):
        read_nir(path)
    write_network(_exact_network(), tmp_path / "net.net")
    os.replace(tmp_path / "net.net", path)
    with pytest.raises(FileFormatError, match=r"suffix \.net"):
        read_nir(path)
    with pytest.raises(FileFormatError, match="cannot be written"):
        write_nir(_exact_network(), path / "net.nir")  # a file is no folder


def test_without_nir_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nir", None)
    with pytest.raises(BackendUnavailableError, match=r"pip install '\.\[nir\]'"):
        write_nir(_exact_network(), tmp_path / "net.nir")


def test_commands_take_a_nir_file(tmp_path: Path) -> None:
    path = tmp_path / "net.nir"
    write_nir(_exact_network(), path)
    result = CliRunner().invoke(main, ["inspect", str(path)])
    assert result.exit_code == 0, result.output
    assert _exact_network().digest in result.output.replace("\n", "")


# Other programs -----------------------------------------------------------------------------------


def _run_in_norse(graph: Any, steps: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the outputs of Norse, [num_steps, samples, *shape]; it takes one sample at a time."""
    torch = pytest.importorskip("torch")
    norse = pytest.importorskip("norse.torch")
    with torch.no_grad():
        model = norse.from_nir(graph, ignore_warnings=True)
        outputs = np.empty((len(steps), steps.shape[1]), dtype=object)
        for sample in range(steps.shape[1]):
            state = None
            for step, values in enumerate(torch.from_numpy(steps[:, sample].copy())):
                spikes, state = model(values, state)
                outputs[step, sample] = spikes.numpy()
    return np.array(outputs.tolist())


needs_norse = pytest.mark.filterwarnings("ignore::DeprecationWarning:nirtorch.*")


@needs_norse
def test_norse_counts_the_same_spikes_in_every_step(tmp_path: Path) -> None:
    network = _exact_network()
    write_nir(network, tmp_path / "net.nir")
    inputs = random_inputs(network, 6)
    recording = ReferenceBackend().run(network, inputs)
    for layer in network:  # neither silent nor firing in every step
        assert 0.2 < recording.counts[layer.name].mean() / network.num_steps < 0.8
    outputs = _run_in_norse(nir.read(tmp_path / "net.nir"), step_inputs(network, inputs))
    assert np.array_equal(outputs.sum(axis=0), recording.counts["hidden"])
    assert np.array_equal(outputs.swapaxes(0, 1), trace(network, inputs)["hidden"])


@needs_norse
@pytest.mark.parametrize("encoding", ["first_step", "constant", "events"])
def test_the_outputs_of_norse_add_up_to_the_readout(encoding: Any) -> None:
    network = small_network("zero", 4)
    *layers, last = network.layers
    last = changed(last, bias=np.array([4, -8, 400]))
    spec = replace(network.input, encoding=encoding)
    network = replace(network, input=spec, layers=(*layers, last))
    inputs = random_inputs(network, 4)
    recording = ReferenceBackend().run(network, inputs)
    assert recording.counts["hidden"].any()
    outputs = _run_in_norse(to_nir(network), step_inputs(network, inputs))
    assert np.array_equal(outputs.sum(axis=0), recording.output)


@needs_norse
@given(networks())
@_QUICK
def test_norse_runs_any_exact_network_or_fails(network: QuantizedNetwork) -> None:
    network = _exact(network)
    inputs = random_inputs(network, 1)
    graph, steps = to_nir(network), step_inputs(network, inputs)
    if any(isinstance(layer.synapses[0], Conv1d) for layer in network):  # which it does not know
        with pytest.raises(KeyError):
            _run_in_norse(graph, steps)
        return
    outputs = _run_in_norse(graph, steps).sum(axis=0).reshape(1, -1)
    assert np.array_equal(outputs, ReferenceBackend().run(network, inputs).output)


def test_nir_writes_our_graph_to_a_stream() -> None:
    stream = io.BytesIO()
    nir.write(stream, to_nir(_exact_network()))
    assert stream.getvalue().startswith(b"\x89HDF")
