"""lava-dl's files: what is read means what netx makes of it, and all else is refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tandem_hw.errors import FileFormatError
from tandem_hw.export import hdf5_items
from tandem_hw.export.files import read_network
from tandem_hw.export.net_file import write_net
from tandem_hw.export.netx_reader import read_netx
from tandem_hw.network.layers import Neurons, chain
from tandem_hw.network.synapses.convolutions import Conv2d
from tandem_hw.network.synapses.dense import Dense
from tandem_hw.network.synapses.geometry import Geometry
from tandem_hw.sim.reference import trace
from tests.helpers.command_line import run, succeed
from tests.helpers.netx_files import (
    CONV_BIAS,
    CONV_WEIGHT,
    DENSE_WEIGHT,
    kind,
    neuron,
    write_netx,
)

Edit = Callable[[h5py.File], None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_netx(tmp_path / "foreign.net")


def refused(path: Path, edit: Edit) -> str:
    """Change a file and return the message with which it is refused."""
    with h5py.File(path, "r+") as file:
        edit(file)
    with pytest.raises(FileFormatError) as caught:
        read_netx(path)
    message = str(caught.value)
    assert "foreign.net" in message
    assert "\n" not in message
    return message


def put(name: str, value: Any) -> Edit:
    """Return a change of one dataset."""

    def edit(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file[name] = value

    return edit


def without(name: str) -> Edit:
    """Return a deletion."""

    def edit(file: h5py.File) -> None:
        del file[name]

    return edit


def test_every_number_of_a_file_is_where_it_belongs(path: Path) -> None:
    network = read_netx(path)
    first, last = network.layers
    (conv,), (dense,) = first.synapses, last.synapses
    assert isinstance(conv, Conv2d)
    assert (network.num_steps, network.reset, network.readout) == (6, "zero", "potential")
    assert (network.input.shape, network.input.encoding) == ((2, 5, 5), "events")
    assert (conv.name, dense.name) == ("conv1", "dense3")
    np.testing.assert_array_equal(conv.weight, CONV_WEIGHT)
    np.testing.assert_array_equal(first.neurons.bias, CONV_BIAS)
    np.testing.assert_array_equal(dense.weight, DENSE_WEIGHT)
    assert not last.neurons.bias.any()
    assert conv.geometry == Geometry((2, 1), (1, 0), (1, 1), 2)
    assert astuple(first.neurons)[1:] == (41, 3000, 123)
    assert astuple(last.neurons)[1:] == (None, 4096, 0)
    assert read_netx(path, num_steps=9).num_steps == 9


def test_a_file_without_an_input_layer_begins_with_its_dense_layer(tmp_path: Path) -> None:
    path = tmp_path / "foreign.net"
    with h5py.File(path, "w") as file:
        entry = file.create_group("layer/0")
        kind(entry, "dense")
        entry["shape"], entry["weight"] = [3], np.arange(0, 24, 2)  # netx takes rows of a vector
        neuron(entry, 5)
    network = read_netx(path, num_steps=4)
    assert network.input.shape == (4,)
    assert network.readout == "count"
    assert network.layers[0].synapses[0].weight.tolist() == [
        [0, 2, 4, 6],
        [8, 10, 12, 14],
        [16, 18, 20, 22],
    ]
    with pytest.raises(FileFormatError, match="give num_steps"):
        read_netx(path)


@pytest.mark.parametrize(
    ("shape", "stride", "padding", "dilation", "groups"),
    [
        ((4, 3, 2), 1, 0, 1, 1),
        ((4, 3, 2), 3, 1, 2, 2),
        ((4, 1, 1), 5, [2, 1], 1, 4),
        ((4, 3, 4), [7, 9], [2, 0], [2, 1], 1),
    ],
)
def test_a_last_convolution_of_one_position_is_the_dense_layer_that_it_is(
    tmp_path: Path, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> None:
    pairs = [np.broadcast_to(value, 2).tolist() for value in (stride, padding, dilation)]
    kernel = (3, 2)
    generator = np.random.default_rng(groups)
    weight = 2 * generator.integers(-9, 10, (8, 4 // groups, *kernel))
    path = tmp_path / "foreign.net"
    with h5py.File(path, "w") as file:
        entry = file.create_group("layer/0")
        kind(entry, "input")
        entry["shape"] = shape
        entry = file.create_group("layer/1")
        kind(entry, "conv")
        entry["shape"], entry["weight"], entry["groups"] = [8, 1, 1], weight, groups
        entry["stride"], entry["padding"], entry["dilation"] = stride, padding, dilation
        neuron(entry, 9, 2048, 100)
    network = read_netx(path, num_steps=5)
    (found,) = network.layers
    assert isinstance(found.synapses[0], Dense)
    bias = np.zeros(8, dtype=int)
    sizes = dict(zip(("stride", "padding", "dilation"), map(tuple, pairs), strict=True))
    geometry = Geometry(groups=groups, **sizes)
    conv = Conv2d("c", weight, 8, shape, geometry)
    assert conv.output_shape == (8, 1, 1)
    # The convolution itself, followed by a layer that makes it a network.
    after = Dense("after", np.full((1, 8), 2), 8, (8, 1, 1))
    layers = chain((conv, Neurons(bias, 9, 2048, 100)), (after, Neurons(np.zeros(1, int), 1)))
    both = type(network)(network.input, layers, 5, "zero", "count")
    inputs = generator.integers(0, 2, (3, *network.sample_shape)).astype(np.uint8)
    expected = trace(both, inputs)["c"].reshape(3, 5, 8)
    assert expected.any()
    np.testing.assert_array_equal(trace(network, inputs)[found.name], expected)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (put("layer/3/type", b"pool"), 'layer/3/type is "pool"'),
        (put("layer/3/type", b"dense_rec"), 'layer/3/type is "dense_rec"'),
        (put("layer/3/type", b"input"), 'layer/3/type is "input"'),
        (put("layer/0/type", b"conv"), 'layer/0/type is "conv"; the first layer'),
        (put("layer/3/type", 7), "layer/3/type is int64; one text"),
        (put("layer/3/type", b"x" * 99), "a short name is needed"),
        (put("layer/0/neuron/type", b"SDNN"), 'layer/0/neuron/type is "SDNN"; CUBA and LOIHI'),
        (put("layer/1/neuron/type", b"TANDEM_IF"), 'layer/1/neuron/type is "TANDEM_IF"'),
        (put("layer/1/neuron/refDelay", 2), "refDelay is 2"),
        (put("layer/1/neuron/wgtExp", -1), "wgtExp is -1"),
        (put("layer/1/neuron/gradedSpike", True), "gradedSpike is 1"),
        (put("layer/1/neuron/messageBits", 16), "messageBits is 16"),
        (put("layer/1/neuron/vDecay", 4097), "conv1: voltage_decay is 4097"),
        (put("layer/1/neuron/iDecay", -1), "conv1: current_decay is -1"),
        (put("layer/1/neuron/iDecay", 0.5), "iDecay holds 0.5, which is no integer"),
        (put("layer/1/neuron/vThMant", 1 << 17), "conv1: threshold 131073"),
        (without("layer/1/neuron"), "layer/1/neuron is missing"),
        (without("layer/1/neuron/iDecay"), "layer/1/neuron/iDecay is missing"),
        (put("layer/1/neuron", 3), "layer/1/neuron is not a group"),
        (put("layer/3/delay", np.array([0, 0, 1, 0, 0])), "layer/3/delay is not 0"),
        (put("layer/1/delay", 3), "layer/1/delay is not 0"),
        (put("layer/1/weight_exp", 2), "layer/1/weight_exp is not 0"),
        (put("layer/1/weight", CONV_WEIGHT + 1), "conv1: weights must be even"),
        (put("layer/1/weight", CONV_WEIGHT * 50), "conv1: weights from .* do not fit 8"),
        (put("layer/1/weight", CONV_WEIGHT / 4), "layer/1/weight holds .*no integer"),
        (put("layer/1/weight", CONV_WEIGHT * np.nan), "no finite integer"),
        (put("layer/1/weight", CONV_WEIGHT + 1e300), "no finite integer"),
        (put("layer/1/weight", CONV_WEIGHT[0, 0]), r"a convolution needs \[out"),
        (put("layer/1/weight", CONV_WEIGHT * 1j), "complex128; numbers are needed"),
        (put("layer/1/bias", h5py.SoftLink("/layer/1")), "layer/1/bias is a link"),
        (put("layer/1/bias", CONV_BIAS[:3]), "layer/1/bias holds 3 values"),
        (put("layer/1/bias", CONV_BIAS + 0.9), "layer/1/bias holds .*no integer"),
        (put("layer/1/bias", CONV_BIAS + 9000), "conv1: biases"),
        (put("layer/1/groups", [1, 1]), "layer/1/groups holds 2 values"),
        (put("layer/1/stride", [1, 1, 1]), r"layer/1/stride is \(3,\)"),
        (put("layer/1/shape", [4, 3, 5]), r"layer/1/shape is \(4, 3, 5\)"),
        (without("layer/2"), "needs layers named 0, 1, 2"),
        (put("layer/2/type", b"dense"), "layer/2"),
        (put("layer/3/shape", [6]), r"layer/3/weight .*\[6, in\]"),
        (put("layer/3/weight", DENSE_WEIGHT[:, :40]), "dense3: dense weights are"),
        (put("layer/0/shape", [2, 5]), r"conv1: a convolution takes an input \(C, H, W\)"),
        (put("simulation/tSample", 0), "num_steps is 0"),
        (without("simulation"), "give num_steps"),
        (without("layer"), "layer is missing"),
    ],
)
def test_what_would_not_be_exact_is_refused_by_name(path: Path, edit: Edit, message: str) -> None:
    assert re.search(message, refused(path, edit))


def test_complex_weights_are_refused(path: Path) -> None:
    def edit(file: h5py.File) -> None:
        del file["layer/3/weight"]
        file["layer/3/weight/real"] = file["layer/3/weight/imag"] = DENSE_WEIGHT

    assert "layer/3/weight is a group" in refused(path, edit)


def test_a_dense_layer_behind_an_image_needs_a_flatten(path: Path) -> None:
    def edit(file: h5py.File) -> None:
        file.move("layer/3", "layer/4")
        file.move("layer/2", "layer/3")
        file.move("layer/4", "layer/2")

    assert "layer/2 is dense and takes an image" in refused(path, edit)


def test_a_hidden_layer_without_neurons_is_refused(path: Path) -> None:
    def edit(file: h5py.File) -> None:
        entry = file.create_group("layer/4")
        kind(entry, "dense")
        entry["shape"], entry["weight"] = [2], np.full((2, 5), 2)

    assert "layer/3 has no neuron, so it never fires" in refused(path, edit)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        # All negative, and moved up to 256: Lava clips that to 255 and cuts the lowest bits.
        (-128, -128, "which netx turns into other weights"),
        (-256, -2, "which netx turns into other weights"),
        # None above 0: netx takes it for both signs, Lava for inhibition.
        (-128, 0, "which netx turns into other weights"),
        (-300, -2, "which netx turns into other weights"),
        (2, 256, "which netx turns into other weights"),
    ],
)
def test_dense_weights_that_netx_changes_are_refused(
    path: Path, low: int, high: int, message: str
) -> None:
    weight = np.full_like(DENSE_WEIGHT, low)
    weight[0, 0] = high
    assert message in refused(path, put("layer/3/weight", weight))


@pytest.mark.parametrize(("low", "high"), [(-254, 254), (-256, 2), (2, 254), (-126, -2), (0, 0)])
def test_dense_weights_that_arrive_unchanged_are_read(path: Path, low: int, high: int) -> None:
    weight = np.full_like(DENSE_WEIGHT, low)
    weight[0, 0] = high
    with h5py.File(path, "r+") as file:
        put("layer/3/weight", weight)(file)
    np.testing.assert_array_equal(read_netx(path).layers[1].synapses[0].weight, weight)


def test_links_external_data_and_strange_filters_are_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(8 * 5))
    soft = h5py.SoftLink("/layer/1/weight")

    def external(file: h5py.File) -> None:
        del file["layer/3/weight"]
        raw = [(str(tmp_path / "raw"), 0, 8 * 5)]
        file["layer/3"].create_dataset("weight", (5, 1), "<i8", external=raw)

    def virtual(file: h5py.File) -> None:
        del file["layer/3/weight"]
        layout = h5py.VirtualLayout((5, 48), "<i8")
        layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "w", (5, 48))
        file["layer/3"].create_virtual_dataset("weight", layout)

    assert "takes its values from another file" in refused(path, external)
    assert "takes its values from another file" in refused(path, virtual)
    assert "is a link to elsewhere, never followed" in refused(path, put("layer/3/weight", soft))


def test_a_small_file_cannot_ask_for_much_memory(path: Path) -> None:
    def bomb(file: h5py.File) -> None:
        del file["layer/3/weight"]
        shape = (5, hdf5_items.VALUES_MAX)
        file["layer/3"].create_dataset("weight", shape, "i1", chunks=(5, 1 << 20), compression=9)

    message = refused(path, bomb)
    assert path.stat().st_size < 100_000
    assert f"a file may hold 1 to {hdf5_items.VALUES_MAX} values" in message


def test_the_values_of_all_datasets_are_counted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = read_netx(path).layers[1].synapses[0].weight.size
    monkeypatch.setattr(hdf5_items, "VALUES_MAX", size)
    with pytest.raises(FileFormatError, match="layer/3/weight has shape"):
        read_netx(path)


def test_files_of_others_and_damaged_ones_are_refused(path: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.net"
    write_net(read_netx(path), own)
    with pytest.raises(FileFormatError, match=r"written by tandem-hw; read it with read_net"):
        read_netx(own)
    with pytest.raises(FileFormatError, match="no such file"):
        read_netx(tmp_path / "missing.net")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(FileFormatError, match="damaged or truncated"):
        read_netx(path)


def test_the_command_line_reads_lava_dl_s_files(path: Path) -> None:
    assert read_network(path).digest == read_netx(path).digest
    output = succeed("inspect", path).output
    assert "conv1" in output
    assert read_netx(path).digest in output
    with h5py.File(path, "r+") as file:
        del file["simulation"]
    result = run("inspect", path)
    assert result.exit_code == 2
    assert "read_netx(path, num_steps=...)" in result.output


def test_more_than_a_file_holds_is_refused(path: Path) -> None:
    shapes = {"chunks": (5, 48), "maxshape": (None, None)}
    assert "which the 0 bytes that the file has of it do not hold" in refused(
        path, lambda file: _replace(file, "layer/3/weight", (5, 48), **shapes)
    )


def _replace(file: h5py.File, name: str, shape: tuple[int, ...], **options: Any) -> None:
    del file[name]
    file.create_dataset(name, shape, "f4", **options)


def test_what_is_compressed_twice_is_refused(path: Path) -> None:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((5, 48))
    plan.set_deflate(9)
    plan.set_filter(h5py.h5z.FILTER_LZF, h5py.h5z.FLAG_OPTIONAL)

    def edit(file: h5py.File) -> None:
        del file["layer/3/weight"]
        space, kind = h5py.h5s.create_simple((5, 48)), h5py.h5t.py_create(np.dtype("f4"))
        h5py.h5d.create(file["layer/3"].id, b"weight", kind, space, plan)

    assert "layer/3/weight is compressed more than once" in refused(path, edit)


def test_long_texts_are_refused(path: Path) -> None:
    assert "has texts of 5000 bytes; at most 4096 are read" in refused(
        path, put("layer/3/type", np.array([b"x"], "S5000"))
    )
