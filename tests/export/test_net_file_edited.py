"""Files that are sound HDF5 and were edited: none of them may give a network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tandem_hw.export.net_file import read_net, write_net
from tests.helpers.net_file_edits import (
    Edit,
    fixed,
    put,
    put_attribute,
    put_link,
    refused_after,
    remove,
    remove_attribute,
    set_value,
)
from tests.helpers.networks import small_file_network


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.net"
    write_net(small_file_network("zero", reach=20), path)
    assert read_net(path).digest == small_file_network("zero", reach=20).digest
    return path


DATASETS = [
    f"layer/{name}"
    for name in (
        *("0/type", "0/shape", "2/type", "3/type", "3/shape", "3/weight", "3/bias"),
        *(f"1/{field}" for field in ("type", "shape", "weight", "bias")),
        *(f"1/{field}" for field in ("stride", "padding", "dilation", "groups")),
        *(f"1/neuron/{field}" for field in ("type", "iDecay", "vDecay", "vThMant")),
        *(f"1/neuron/{field}" for field in ("refDelay", "gradedSpike")),
    )
]
ATTRIBUTES = [
    *(("/", name) for name in ("format", "format_version", "writer", "digest", "num_steps")),
    *(("/", name) for name in ("reset", "readout", "readout_scale")),
    *(("/", name) for name in ("input_bits", "input_scale", "input_encoding")),
    *((f"layer/{index}", name) for index in (1, 3) for name in ("name", "weight_bits")),
]


def test_the_lists_of_these_tests_are_complete(model: Path) -> None:
    found: list[str] = []
    attributes: list[tuple[str, str]] = []
    with h5py.File(model, "r") as file:
        attributes += [("/", name) for name in file.attrs]

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                found.append(name)
            attributes.extend((name, attribute) for attribute in item.attrs)

        file.visititems(visit)
    assert sorted(found) == sorted(DATASETS)
    assert sorted(attributes) == sorted(ATTRIBUTES)


@pytest.mark.parametrize("name", [*DATASETS, "layer", "layer/1", "layer/2", "layer/1/neuron"])
def test_a_removed_item_is_refused(model: Path, name: str) -> None:
    refused_after(model, remove(name))


@pytest.mark.parametrize(("group", "name"), ATTRIBUTES)
def test_a_removed_attribute_is_refused(model: Path, group: str, name: str) -> None:
    refused_after(model, remove_attribute(group, name))


@pytest.mark.parametrize("name", DATASETS)
def test_a_changed_dataset_is_refused(model: Path, name: str) -> None:
    def edit(file: h5py.File) -> None:
        item = file[name]
        values = item[...]
        first = (0,) * values.ndim
        values[first] = b"other" if values.dtype.kind == "S" else values[first] + 2
        item[...] = values

    refused_after(model, edit)


@pytest.mark.parametrize(("group", "name"), [item for item in ATTRIBUTES if item[1] != "writer"])
def test_a_changed_attribute_is_refused(model: Path, group: str, name: str) -> None:
    def edit(file: h5py.File) -> None:
        attributes = file[group].attrs
        value = attributes[name]
        if isinstance(value, bytes):
            attributes.create(name, fixed(value.decode()[:-1] + "x"))
        else:
            attributes.create(name, value + type(value)(1))

    refused_after(model, edit)


@pytest.mark.parametrize(
    "value",
    [
        *(fixed(""), fixed("a\nb"), fixed("\x1b[2J"), fixed("x" * 4000), fixed("x" * 60000)),
        *("of variable length", -1, 0, 2**62, 1.5, float("nan"), float("inf"), -0.0),
        *(np.int32(7), np.uint64(2**64 - 1), np.array([7, 7]), np.array([], np.int64), True, 1j),
        np.array(b"\xff\xfe", "S2"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_no_attribute_may_have_any_other_value(model: Path, value: Any) -> None:
    whole = model.read_bytes()
    for group, name in ATTRIBUTES:
        if name != "writer" or getattr(value, "dtype", np.dtype("i8")).kind != "S":
            model.write_bytes(whole)
            refused_after(model, put_attribute(group, name, value))


def test_another_writer_changes_nothing(model: Path) -> None:
    with h5py.File(model, "r+") as file:
        file.attrs.create("writer", fixed("tandem-hw 99"))
    assert read_net(model).digest == small_file_network("zero", reach=20).digest


@pytest.mark.parametrize("version", [0, 1, 99, -1, 5, 2.0])
def test_another_format_version_is_refused_by_name(model: Path, version: Any) -> None:
    message = refused_after(model, put_attribute("/", "format_version", version))
    if version != 2:
        assert f"format version is {version}; this tandem-hw reads version 2, 3 and 4" in message


def test_a_file_that_calls_itself_another_version_is_refused(model: Path) -> None:
    message = refused_after(model, put_attribute("/", "format_version", 3))
    assert "/graph is missing" in message


def test_a_chain_written_as_a_graph_is_refused(model: Path) -> None:
    def edit(file: h5py.File) -> None:
        file.move("layer", "graph")
        del file["graph/2"]  # the flatten
        file.move("graph/3", "graph/2")
        file.attrs["format_version"] = 3

    assert "format_version is 3; 2 is expected" in refused_after(model, edit)


def test_one_changed_weight_is_refused_as_altered(model: Path) -> None:
    weight = int(small_file_network("zero", reach=20).layers[1].synapses[0].weight[0, 0])
    message = refused_after(
        model, lambda file: file["layer/3/weight"].__setitem__((0, 0), weight ^ 2)
    )
    assert "does not match its checksum: the file was altered" in message


EDITS: dict[str, tuple[Edit, str]] = {
    "odd weight": (set_value("layer/1/weight", 3), "weights must be even"),
    "weight out of range": (set_value("layer/1/weight", 1000), "do not fit 8 signed bits"),
    "bias out of range": (set_value("layer/3/bias", 2**30), "do not fit a 13-bit mantissa"),
    "threshold out of range": (set_value("layer/1/neuron/vThMant", 2**31 - 1), "threshold"),
    "threshold below one": (set_value("layer/1/neuron/vThMant", -5), "threshold -4 is outside"),
    "no channels": (set_value("layer/0/shape", 0), "input shape"),
    "huge input": (set_value("layer/0/shape", 2**31 - 1), "layer conv"),
    "huge padding": (set_value("layer/1/padding", 2**30), "layer out: dense weights are"),
    "huge stride": (set_value("layer/1/stride", 2**30), "too large|out"),
    "stride of zero": (set_value("layer/1/stride", 0), "stride"),
    "negative padding": (set_value("layer/1/padding", -1), "padding"),
    "no groups": (set_value("layer/1/groups", 0), "groups"),
    "weights of another type": (
        put(
            "layer/3/weight",
            small_file_network("zero", reach=20).layers[1].synapses[0].weight.astype("<i4"),
        ),
        "layer/3/weight has dtype int32; int16 is expected",
    ),
    "weights in another byte order": (
        put(
            "layer/3/weight",
            small_file_network("zero", reach=20).layers[1].synapses[0].weight.astype(">i2"),
        ),
        "layer/3/weight has dtype >i2",
    ),
    "float weights": (put("layer/3/weight", np.zeros((3, 18))), "data type float64"),
    "weights of another rank": (
        put("layer/3/weight", np.zeros((3, 9, 2), "<i2")),
        "needs .out, in",
    ),
    "text for a number": (put("layer/1/groups", np.array([b"1"], "S10")), "groups"),
    "number for a text": (put("layer/1/type", np.array([1])), "one text is needed"),
    "two numbers for one": (put("layer/1/neuron/vThMant", np.array([95, 95])), "holds 2 values"),
    "number in a list": (put("layer/1/groups", np.array([1], "<i4")), "has shape"),
    "many lengths": (put("layer/0/shape", np.ones(10, "<i4")), "at most 3"),
    "no values": (put("layer/0/shape", np.empty(0, "<i4")), "asks for 0 bytes"),
    "null space": (lambda file: put("layer/0/shape", h5py.Empty("<i4"))(file), "no values"),
    "unknown kind": (put("layer/1/type", np.array([b"pool\n2"], "S10")), r"type is 'pool\\n2'"),
    "dense first": (put("layer/0/type", np.array([b"dense"], "S10")), '"input" is needed'),
    "group for a dataset": (
        lambda file: (remove("layer/1/bias")(file), file.create_group("layer/1/bias")),
        "is a group; a dataset is needed",
    ),
    "dataset for a group": (put("layer/1", np.zeros(3, "<i4")), "is a dataset; a group is needed"),
    "added dataset": (put("layer/1/delay", np.zeros(3, "<i4")), "layer/1/delay is not expected"),
    "added group": (lambda file: file.create_group("extra"), "extra is not expected"),
    "added name with a line break": (
        put("layer/1/a\nb", np.zeros(3, "<i4")),
        r"layer/1/a\\nb is not expected",
    ),
    "added layer": (lambda file: file.create_group("layer/4"), "layer/4/type is missing"),
    "added attribute": (put_attribute("/", "note", 1), "attribute 'note' is not expected"),
    "attribute of a dataset": (put_attribute("layer/1/bias", "unit", 1), "are not expected"),
    "compressed weights": (
        put(
            "layer/3/weight",
            small_file_network("zero", reach=20).layers[1].synapses[0].weight,
            compression="gzip",
        ),
        "chunked, compressed",
    ),
    "chunked weights": (
        put(
            "layer/3/weight",
            small_file_network("zero", reach=20).layers[1].synapses[0].weight,
            chunks=True,
        ),
        "chunked, compressed",
    ),
    "soft link": (
        lambda file: (remove("layer/2")(file), put_link("layer/2", "/layer/1")(file)),
        "link to elsewhere",
    ),
    "dangling soft link": (put_link("extra", "/nowhere"), "link to elsewhere"),
    "second hard link": (
        lambda file: file["layer/1"].__setitem__("extra", file["layer/3/bias"]),
        "linked more than once",
    ),
    "loop": (lambda file: file["layer"].__setitem__("loop", file["layer"]), "more than once"),
    "depth": (lambda file: file.create_group("/".join("abcdefghijklmnop")), "nested more than 8"),
    "named data type": (
        lambda file: file.__setitem__("layer/4", np.dtype("f8")),
        "neither a group nor a dataset",
    ),
    "enumeration": (
        put("layer/1/groups", 1, dtype=h5py.enum_dtype({"one": 1}, basetype="<i4")),
        "data type",
    ),
    "compound": (put("layer/1/groups", np.zeros((), [("a", "i4")])), "data type"),
    "text of variable length": (put("layer/1/type", ["conv"]), "data type"),
    "reference": (
        lambda file: put("layer/1/groups", file["layer"].ref, dtype=h5py.ref_dtype)(file),
        "data type",
    ),
}


@pytest.mark.parametrize("case", EDITS)
def test_an_edited_file_is_refused_for_its_reason(model: Path, case: str) -> None:
    edit, reason = EDITS[case]
    message = refused_after(model, edit)
    assert re.search(reason, message), message


def test_a_link_to_another_file_is_never_followed(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.net"
    write_net(small_file_network("zero", reach=20), other)

    def edit(file: h5py.File) -> None:
        del file["layer/3"]
        file["layer/3"] = h5py.ExternalLink(str(other), "/layer/3")

    assert "link to elsewhere, which is never followed" in refused_after(model, edit)


def test_data_outside_of_the_file_are_never_read(model: Path, tmp_path: Path) -> None:
    weight = small_file_network("zero", reach=20).layers[1].synapses[0].weight.astype("<i2")
    raw = tmp_path / "weights.raw"
    raw.write_bytes(weight.tobytes())

    def edit(file: h5py.File) -> None:
        del file["layer/3/weight"]
        file["layer/3"].create_dataset(
            "weight", weight.shape, "<i2", external=[(str(raw), 0, weight.nbytes)]
        )

    assert "outside of the file" in refused_after(model, edit)


def test_a_virtual_dataset_is_never_read(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.net"
    write_net(small_file_network("zero", reach=20), other)

    def edit(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((3, 18), "<i2")
        layout[...] = h5py.VirtualSource(str(other), "layer/3/weight", (3, 18))
        del file["layer/3/weight"]
        file["layer/3"].create_virtual_dataset("weight", layout)

    assert "virtual" in refused_after(model, edit)


@pytest.mark.parametrize("shape", [(2**40,), (2**31, 2**31, 4), (3, 2**60), (1,) * 9])
def test_a_huge_shape_is_refused_before_it_is_allocated(
    model: Path, shape: tuple[int, ...]
) -> None:
    def edit(file: h5py.File) -> None:
        del file["layer/3/weight"]
        space = h5py.h5s.create_simple(shape)
        h5py.h5d.create(file["layer/3"].id, b"weight", h5py.h5t.STD_I16LE, space)

    message = refused_after(model, edit)
    assert "which the file of" in message or "more than 8 dimensions" in message
