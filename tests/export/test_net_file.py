from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem_hw.conformance.layers import changed, conv2d_layer, dense_layer, network_of
from tandem_hw.errors import FileFormatError, NetworkError
from tandem_hw.export import net_file
from tandem_hw.export.hdf5_tree import write_tree
from tandem_hw.export.net_file import _network_tree, read_net, write_net
from tandem_hw.network.choices import Readout, Reset
from tandem_hw.network.digests.network_digest import network_digest
from tandem_hw.network.fixed_point import weight_limit
from tandem_hw.network.layers import Input, Layer
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork
from tandem_hw.network.synapses.dense import Dense
from tests.helpers.networks import networks as graphs
from tests.helpers.networks import small_file_network, small_graph_network, small_image_network

# Small networks ----------------------------------------------------------------------------------

names = st.text(
    st.characters(exclude_categories=("C", "Z", "M"), exclude_characters="/"),
    min_size=1,
    max_size=8,
)
thresholds = st.builds(lambda m, e: m << e, st.integers(1, 255), st.integers(0, 9))
scales = st.floats(1e-6, 1e6)


@st.composite
def parameters(draw: st.DrawFn, shape: tuple[int, ...]) -> dict[str, Any]:
    """Draw weights of a shape and the biases that go with them."""
    bits = draw(st.integers(2, 8))
    values = np.random.default_rng(draw(st.integers(0, 2**32)))
    limit = weight_limit(bits) // 2
    return {
        "weight": 2 * values.integers(-limit, limit, shape, endpoint=True),
        "weight_bits": bits,
        "bias": values.integers(-4096, 4095, shape[:1], endpoint=True),
    }


@st.composite
def convolutions(draw: st.DrawFn, name: str, shape: tuple[int, ...]) -> Layer:
    groups = draw(st.sampled_from([g for g in (1, 2) if shape[0] % g == 0]))
    kernel = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    pairs: dict[str, Any] = {
        field: draw(st.tuples(st.integers(least, 2), st.integers(least, 2)))
        for field, least in (("stride", 1), ("dilation", 1))
    }
    weight_shape = (groups * draw(st.integers(1, 2)), shape[0] // groups, *kernel)
    return conv2d_layer(
        name=name,
        threshold=draw(thresholds),
        input_shape=shape,
        groups=groups,
        padding=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        **draw(parameters(weight_shape)),
        **pairs,
    )


@st.composite
def networks(draw: st.DrawFn) -> QuantizedNetwork:
    shape: tuple[int, ...] = draw(
        st.one_of(
            st.tuples(st.integers(1, 6)),
            st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 4)),
        )
    )
    spec = InputSpec(
        shape,
        draw(st.integers(1, 8)),
        draw(scales),
        draw(st.sampled_from(["first_step", "constant"])),
    )
    readout: Readout = draw(st.sampled_from(["potential", "count"]))
    layer_names = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    layers: list[Layer] = []
    for name in layer_names:
        is_last = name == layer_names[-1]
        if len(shape) == 3 and not is_last and draw(st.booleans()):
            layers.append(draw(convolutions(name, shape)))
        else:
            silent = is_last and readout == "potential"
            features = (draw(st.integers(1, 4)), int(np.prod(shape)))
            layers.append(
                dense_layer(
                    name=name,
                    threshold=None if silent else draw(thresholds),
                    input_shape=shape,
                    **draw(parameters(features)),
                )
            )
        shape = layers[-1].output_shape
    return network_of(
        spec,
        tuple(layers),
        draw(st.integers(1, 4096)),
        draw(st.sampled_from(["subtract", "zero"])),
        readout,
        draw(scales),
    )


def assert_same(found: Any, expected: Any) -> None:
    """Compare every field of two networks or parts of them."""
    assert type(found) is type(expected)
    if isinstance(expected, Input):
        assert found.source == expected.source
        assert_same(found.synapses, expected.synapses)
        return
    for field in fields(expected):
        value, wanted = getattr(found, field.name), getattr(expected, field.name)
        if field.name in ("layers", "inputs"):
            assert len(value) == len(wanted)
            for layer, other in zip(value, wanted, strict=True):
                assert_same(layer, other)
        elif is_dataclass(wanted):
            assert_same(value, wanted)
        elif isinstance(wanted, np.ndarray):
            assert value.dtype == wanted.dtype
            assert value.shape == wanted.shape
            assert value.tolist() == wanted.tolist()
        else:
            assert (type(value), value) == (type(wanted), wanted)


def refusal(path: Path) -> str:
    """Return the message with which a file is refused, after a look at its form."""
    with pytest.raises(FileFormatError) as caught:
        read_net(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    return message


# Round trip --------------------------------------------------------------------------------------


def assert_round_trip(network: QuantizedNetwork) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "first.net", Path(folder) / "second.net"
        write_net(network, first)
        found = read_net(first)
        assert_same(found, network)
        assert found.digest == network.digest
        write_net(found, second)
        assert first.read_bytes() == second.read_bytes()


@settings(max_examples=60, deadline=None)
@given(networks())
def test_a_network_comes_back_as_it_was_and_gives_the_same_bytes_again(
    network: QuantizedNetwork,
) -> None:
    assert_round_trip(network)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_a_graph_comes_back_as_it_was_and_gives_the_same_bytes_again(
    network: QuantizedNetwork,
) -> None:
    assert_round_trip(network)


@settings(max_examples=60, deadline=None)
@given(graphs(delayed=True))
def test_a_network_that_waits_comes_back_as_it_was_and_gives_the_same_bytes_again(
    network: QuantizedNetwork,
) -> None:
    assert network.firing_delay > 0
    assert_round_trip(network)


CONV, OUT = small_file_network().layers
SIGNAL = dense_layer("signal", np.full((3, 12), 4), 8, np.zeros(3, int), None, (2, 6))


@pytest.mark.parametrize(
    ("network", "version"),
    [
        (small_file_network(), 2),
        (replace(small_file_network(), layers=(changed(CONV, threshold=None),)), 3),
        (network_of(InputSpec((2, 6), 4, 1.0), (SIGNAL,), 4, "zero"), 3),
        (small_graph_network(), 3),
        (small_image_network(), 3),
        (replace(small_file_network("subtract"), firing_delay=1), 4),
        (replace(small_graph_network(), reset="subtract", firing_delay=1), 4),
    ],
    ids=["chain", "image", "signal", "graph", "transposed", "waiting chain", "waiting graph"],
)
def test_only_a_chain_that_lava_dl_can_follow_stands_where_lava_dl_looks(
    tmp_path: Path, network: QuantizedNetwork, version: int
) -> None:
    write_net(network, tmp_path / "model.net")
    assert_same(read_net(tmp_path / "model.net"), network)
    with h5py.File(tmp_path / "model.net", "r") as file:
        assert file.attrs["format_version"] == version
        assert list(file) == ["layer" if version == 2 else "graph"]


def test_a_file_of_version_2_has_no_place_for_a_source(tmp_path: Path) -> None:
    network, path = small_file_network(), tmp_path / "model.net"
    write_tree(path, _network_tree(network, "tandem-hw 0.1.0", 2, ("out",)))
    with pytest.raises(FileFormatError, match="format_version"):
        read_net(path)


@pytest.mark.parametrize("said", [("out",), ("conv",), ("conv", "out")])
def test_a_file_that_says_what_goes_without_saying_is_read_too(
    tmp_path: Path, said: tuple[str, ...]
) -> None:
    network, path = small_file_network(), tmp_path / "model.net"
    write_tree(path, _network_tree(network, "tandem-hw 0.1.0", 3, said))
    assert_same(read_net(path), network)
    with h5py.File(path, "r+") as file:
        assert file.attrs["digest"].decode() == network_digest(network, said) != network.digest
        assert file["graph/2"].attrs.get("source") == (b"conv" if "out" in said else None)
        del file[f"graph/{1 + (said[0] == 'out')}"].attrs["source"]
    with pytest.raises(FileFormatError, match="does not match its checksum"):
        read_net(path)


def test_a_file_says_how_long_layers_wait_only_where_they_do(tmp_path: Path) -> None:
    network, path = small_file_network("subtract"), tmp_path / "model.net"
    write_net(network, path)
    with h5py.File(path, "r") as file:
        assert "firing_delay" not in file.attrs
        assert read_net(path).firing_delay == 0
    write_net(replace(network, firing_delay=2), path)
    with h5py.File(path, "r") as file:
        assert file.attrs["firing_delay"] == 2
    assert read_net(path).firing_delay == 2


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"firing_delay": 99}, "firing_delay is 99; allowed are 0 to "),
        ({"firing_delay": -1}, "firing_delay is -1; allowed are 0 to "),
        ({"firing_delay": 1}, "does not match its checksum"),
        ({"firing_delay": 2.0}, "firing_delay"),
        ({"firing_delay": 1.5}, "firing_delay"),
        ({"firing_delay": "phased"}, "firing_delay"),
        ({"firing_delay": None}, "firing_delay is missing"),
        ({"reset": "zero"}, 'firing_delay is 2 with reset "zero"'),
        ({"format_version": 3}, "does not match its checksum"),
    ],
    ids=str,
)
def test_a_delay_that_was_changed_is_refused(
    tmp_path: Path, attributes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "model.net"
    write_net(replace(small_file_network("subtract"), firing_delay=2), path)
    with h5py.File(path, "r+") as file:
        for name, value in attributes.items():
            del file.attrs[name]
            if isinstance(value, str):
                file.attrs.create(name, np.bytes_(value))
            elif value is not None:
                file.attrs[name] = value
    assert message in refusal(path)


def test_a_delay_of_0_is_no_file_of_version_4(tmp_path: Path) -> None:
    network, path = small_file_network("subtract"), tmp_path / "model.net"
    write_tree(path, _network_tree(network, "tandem-hw 0.1.0", 4))
    with h5py.File(path, "r+") as file:
        file.attrs["firing_delay"] = np.int64(0)
    assert "'firing_delay' is not expected" in refusal(path)


def test_a_layer_that_no_file_has_a_place_for_is_refused(tmp_path: Path) -> None:
    @dataclass(frozen=True, eq=False)
    class Pooled(Dense):
        pass

    (out,) = OUT.synapses
    pooled = Pooled(out.name, out.weight, 8, out.input_shape)
    layers = (CONV, replace(OUT, inputs=(Input("conv", pooled),)))
    network = replace(small_file_network(), layers=layers)
    with pytest.raises(
        NetworkError, match=r"layer out: a \.net file has no Pooled; it holds Conv2d"
    ):
        write_net(network, tmp_path / "model.net")
    assert not any(tmp_path.iterdir())


def test_the_name_of_a_skip_is_limited_too(tmp_path: Path) -> None:
    network = small_graph_network()
    block = network.layers[1]
    first, (source, skip), *others = block.inputs
    renamed = Input(source, replace(skip, name="n" * 1025))
    layers = (
        network.layers[0],
        replace(block, inputs=(first, renamed, *others)),
        network.layers[2],
    )
    with pytest.raises(NetworkError, match=r"the layer name nnn.*is over 1024 bytes"):
        write_net(replace(network, layers=layers), tmp_path / "model.net")


def test_another_weight_gives_other_bytes(tmp_path: Path) -> None:
    network = small_file_network()
    weight = network.layers[1].synapses[0].weight.copy()
    weight[2, 17] = -weight[2, 17] or 2
    other = replace(network, layers=(network.layers[0], changed(network.layers[1], weight=weight)))
    write_net(network, tmp_path / "one.net")
    write_net(other, tmp_path / "two.net")
    assert (tmp_path / "one.net").read_bytes() != (tmp_path / "two.net").read_bytes()


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_the_file_follows_lava_dl_s_schema(tmp_path: Path, reset: Reset) -> None:
    network = small_file_network(reset)
    write_net(network, tmp_path / "model.net")
    with h5py.File(tmp_path / "model.net", "r") as file:
        entries = file["layer"]
        kinds = [entries[str(index)]["type"][0] for index in range(len(entries))]
        assert kinds == [b"input", b"conv", b"flatten", b"dense"]
        assert entries["0/shape"][:].tolist() == [1, 5, 5]
        assert entries["1/weight"][:].tolist() == network.layers[0].synapses[0].weight.tolist()
        assert entries["1/bias"][:].tolist() == [3, -4]
        assert entries["1/stride"][:].tolist() == [2, 2]
        assert entries["1/groups"][()] == 1
        neuron = entries["1/neuron"]
        assert neuron["vThMant"][()] == 95
        assert neuron["type"][0] == (b"CUBA" if reset == "zero" else b"TANDEM_IF")
        assert "neuron" not in entries["3"]


# Damage ------------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.net"
    write_net(small_file_network(), path)
    return path


def test_every_truncation_of_a_graph_is_refused(model: Path) -> None:
    write_net(small_graph_network(), model)
    whole = model.read_bytes()
    for length in {*range(1, 200, 9), *range(200, len(whole), 197), len(whole) - 1}:
        model.write_bytes(whole[:length])
        refusal(model)


def test_a_flipped_byte_of_a_graph_is_refused_or_changes_nothing(model: Path) -> None:
    write_net(small_graph_network(), model)
    whole, choose = model.read_bytes(), random.Random(6)
    refused = 0
    for position in sorted(choose.sample(range(len(whole)), 250)):
        damaged = bytearray(whole)
        damaged[position] ^= choose.randrange(1, 256)
        refused += read_damaged(model, bytes(damaged), small_graph_network()) is not None
    assert refused > 50


def test_every_truncation_is_refused(model: Path) -> None:
    whole = model.read_bytes()
    for length in {*range(1, 200), *range(200, len(whole), 97), len(whole) - 1}:
        model.write_bytes(whole[:length])
        refusal(model)


@pytest.mark.parametrize("appended", [b"\0", b"more", b"\x89HDF\r\n\x1a\n" * 100])
def test_bytes_behind_the_end_change_nothing(model: Path, appended: bytes) -> None:
    model.write_bytes(model.read_bytes() + appended)
    assert_same(read_net(model), small_file_network())


def read_damaged(
    path: Path, content: bytes, expected: QuantizedNetwork | None = None
) -> str | None:
    """Return the refusal of a damaged file, or None where it still gives the same network."""
    path.write_bytes(content)
    try:
        found = read_net(path)
    except FileFormatError as error:
        message = str(error)
        assert message.startswith(f"{path}: ")
        assert len(message.splitlines()) == 1
        return message
    assert_same(found, expected or small_file_network())
    return None


def test_a_flipped_byte_is_refused_or_changes_nothing(model: Path) -> None:
    whole, choose = model.read_bytes(), random.Random(5)
    refused = 0
    for position in sorted(choose.sample(range(len(whole)), 700)):
        damaged = bytearray(whole)
        damaged[position] ^= choose.randrange(1, 256)
        refused += read_damaged(model, bytes(damaged)) is not None
    # The rest are bytes that HDF5 leaves unused.
    assert refused > 200


@pytest.mark.parametrize("index", [0, 1])
def test_every_flipped_byte_of_the_weights_is_refused(model: Path, index: int) -> None:
    whole = model.read_bytes()
    weights = small_file_network().layers[index].synapses[0].weight.astype("<i2").tobytes()
    start = whole.index(weights)
    for offset in range(0, len(weights), 3):
        damaged = bytearray(whole)
        damaged[start + offset] ^= 1 << (offset % 8)
        assert read_damaged(model, bytes(damaged)) is not None


@settings(max_examples=80, deadline=None)
@given(st.randoms(use_true_random=False))
def test_scrambled_files_are_refused_or_change_nothing(choose: random.Random) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.net"
        write_net(small_file_network(), path)
        whole = bytearray(path.read_bytes())
        for _ in range(choose.randrange(1, 5)):
            start, length = choose.randrange(len(whole)), choose.randrange(1, 64)
            source = choose.randrange(len(whole))
            whole[start : start + length] = whole[source : source + length]
        read_damaged(path, bytes(whole))


# What is no network ------------------------------------------------------------------------------


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "there is no such file" in refusal(tmp_path / "model.net")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"PK\x03\x04 and so on", "a zip archive"),
        (b"a text\nof two lines\n", "not an HDF5 file"),
        (b"\x89HDF\r\n\x1a\n", "damaged or truncated"),
        (b"\x89HDF\r\n\x1a\n" + bytes(4096), "damaged or truncated"),
        (bytes(512) + b"\x89HDF\r\n\x1a\n", "not an HDF5 file"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "model.net").write_bytes(content)
    assert reason in refusal(tmp_path / "model.net")


def test_a_foreign_hdf5_file_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "model.net", "w") as file:
        file["layer/0/weight"] = np.zeros(3)
    assert "was not written by tandem-hw" in refusal(tmp_path / "model.net")


# Writing -----------------------------------------------------------------------------------------


def test_a_folder_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="is a folder; give the name of a file to write"):
        write_net(small_file_network(), tmp_path)


@pytest.mark.parametrize("name", ["new.nir", "NEW.NIR"])
def test_a_net_file_does_not_get_the_name_of_a_nir_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileFormatError, match=rf"{name}: has the name of a NIR file.*write_nir"):
        write_net(small_file_network(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_a_folder_is_reported(model: Path) -> None:
    before = model.read_bytes()
    with pytest.raises(FileFormatError, match="cannot be written") as caught:
        write_net(small_file_network(), model / "deeper.net")
    assert str(caught.value).startswith(f"{model / 'deeper.net'}: ")
    assert model.read_bytes() == before


def test_an_error_while_writing_leaves_the_old_file(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = model.read_bytes()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("the disk is gone\nand so on")

    monkeypatch.setattr(h5py.Group, "create_dataset", fail)
    with pytest.raises(FileFormatError, match=r"cannot be written \(the disk is gone\)$"):
        write_net(small_file_network("zero"), model)
    assert model.read_bytes() == before
    assert [path.name for path in model.parent.iterdir()] == ["model.net"]


def test_a_name_that_hdf5_cannot_hold_is_refused(tmp_path: Path) -> None:
    network = small_file_network()
    first, last = network.layers
    layers = (changed(first, name="n" * 1025), changed(last, source="n" * 1025))
    with pytest.raises(NetworkError, match=r"the layer name nnn.*is over 1024 bytes"):
        write_net(replace(network, layers=layers), tmp_path / "model.net")
    assert not any(tmp_path.iterdir())


def _inhibiting(least: int, reset: Any = "zero") -> QuantizedNetwork:
    """Return a dense layer without positive weights, which only its bias makes fire."""
    weight = np.full((3, 4), -2)
    weight[0, 0] = least
    layer = dense_layer("dense", weight, 8, np.full(3, 500), 40, (4,))
    spec = InputSpec((4,), 1, 1.0, "events")
    return network_of(spec, (layer,), 5, reset, "count")


@pytest.mark.parametrize(
    ("least", "reset", "version"),
    [
        *((-(1 << bits), "zero", 3) for bits in range(1, 9)),
        (-130, "zero", 2),
        (-128, "subtract", 2),
    ],
)
def test_what_netx_would_run_with_other_weights_is_out_of_its_reach(
    tmp_path: Path, least: int, reset: Any, version: int
) -> None:
    network, path = _inhibiting(least, reset), tmp_path / "model.net"
    write_net(network, path)
    with h5py.File(path) as file:
        assert file.attrs["format_version"] == version
        assert ("layer" in file) == (version == 2)
    assert read_net(path).digest == network.digest


def test_older_files_of_what_netx_changes_are_still_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, path = _inhibiting(-128), tmp_path / "model.net"
    with monkeypatch.context() as patch:
        patch.setattr(net_file, "netx_changes", lambda weight: False)
        write_net(network, path)
    with h5py.File(path) as file:
        assert file.attrs["format_version"] == 2
    assert read_net(path).digest == network.digest
