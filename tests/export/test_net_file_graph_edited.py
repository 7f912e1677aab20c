"""Files of graphs (version 3) that are sound HDF5 and were edited: none of them gives a network."""

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
    refused_after,
    remove,
    remove_attribute,
    set_value,
)
from tests.helpers.networks import small_graph_network, small_image_network


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "graph.net"
    write_net(small_graph_network(), path)
    assert read_net(path).digest == small_graph_network().digest
    return path


def items(path: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the names of all datasets, and of all attributes with their groups."""
    datasets: list[str] = []
    attributes: list[tuple[str, str]] = []
    with h5py.File(path, "r") as file:

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                datasets.append(name)
            attributes.extend((name, attribute) for attribute in item.attrs)

        file.visititems(visit)
    return datasets, attributes


def test_no_item_of_a_graph_can_be_removed_or_changed(graph: Path) -> None:
    whole = graph.read_bytes()
    datasets, attributes = items(graph)
    assert {f"graph/2/skips/{index}/weight" for index in (0, 1)} < set(datasets)
    assert {(f"graph/2/skips/{index}", "source") for index in (0, 1)} < set(attributes)
    assert not {("graph/1", "source"), ("graph/2", "source")} & set(attributes)

    def change(name: str) -> Edit:
        def edit(file: h5py.File) -> None:
            values = file[name][...]
            first = (0,) * values.ndim
            values[first] = b"dense" if values.dtype.kind == "S" else values[first] + 2
            file[name][...] = values

        return edit

    for name in datasets:
        for edit in (remove(name), *([] if name.endswith("3/type") else [change(name)])):
            graph.write_bytes(whole)
            refused_after(graph, edit)
    for group, name in attributes:
        value: Any = fixed("another") if name in ("name", "source") else 5
        for edit in (remove_attribute(group, name), put_attribute(group, name, value)):
            graph.write_bytes(whole)
            refused_after(graph, edit)


GRAPH_EDITS: dict[str, tuple[Edit, str]] = {
    "unknown source": (
        put_attribute("graph/2", "source", fixed("nobody")),
        "/graph/2: attribute source is 'nobody', which is no layer before it",
    ),
    "its own source": (
        put_attribute("graph/2", "source", fixed("block")),
        "source is 'block', which is no layer before it",
    ),
    "source behind it": (
        put_attribute("graph/2", "source", fixed("out")),
        "source is 'out', which is no layer before it",
    ),
    "skip from behind it": (
        put_attribute("graph/2/skips/0", "source", fixed("out")),
        "/graph/2/skips/0: attribute source is 'out', which is no layer before it",
    ),
    "source that is a skip": (
        put_attribute("graph/3", "source", fixed("identity")),
        "source is 'identity', which is no layer before it",
    ),
    "source with a line break": (put_attribute("graph/2", "source", fixed("a\nb")), r"'a\\nb'"),
    "long source": (put_attribute("graph/2", "source", fixed("x" * 4000)), "source is 'xxx.*…,"),
    "source of another shape": (
        put_attribute("graph/3", "source", fixed("input")),
        "layer block feeds no other layer",
    ),
    "skip from the input": (
        put_attribute("graph/2/skips/1", "source", fixed("input")),
        "the skip path other starts at the network's input",
    ),
    "skip without a source": (
        remove_attribute("graph/2/skips/1", "source"),
        "the skip other needs a source",
    ),
    "source that is a number": (put_attribute("graph/2", "source", 1), "not a text"),
    "name of a skip taken twice": (
        put_attribute("graph/2/skips/1", "name", fixed("first")),
        "names are not unique",
    ),
    "a layer called input": (
        put_attribute("graph/1", "name", fixed("input")),
        "is no layer before it",
    ),
    "skip with a threshold": (
        lambda file: file.copy("graph/2/neuron", "graph/2/skips/1/neuron"),
        "skips/1/neuron is not expected",
    ),
    "skip with a bias": (
        put("graph/2/skips/1/bias", np.ones(2, "<i4")),
        "skips/1/bias is not expected",
    ),
    "skip with a skip": (
        lambda file: file.copy("graph/2/skips", "graph/2/skips/1/skips"),
        "skips/1/skips is not expected",
    ),
    "no skips": (
        lambda file: file.create_group("graph/1/skips"),
        "graph/1/skips is not expected",
    ),
    "skips under other names": (
        lambda file: file.move("graph/2/skips/1", "graph/2/skips/one"),
        "graph/2/skips/1 is missing",
    ),
    "skips that are a dataset": (
        put("graph/2/skips", np.ones(2, "<i4")),
        "is a dataset; a group is needed",
    ),
    "identity of no form": (
        set_value("graph/2/skips/0/weight", 1001),
        "layer identity: a one-to-one weight is 1001",
    ),
    "negative identity": (set_value("graph/2/skips/0/weight", -40), "a one-to-one weight is -40"),
    "identity of another type": (
        put("graph/2/skips/0/weight", np.array([40], "<i2")),
        "weight has dtype int16; int32 is expected",
    ),
    "identity of another rank": (
        put("graph/2/skips/0/weight", np.array([[40]], "<i4")),
        r"weight has shape \(1, 1\); a one_to_one layer needs \[1\]",
    ),
    "bits of an identity": (
        put_attribute("graph/2/skips/0", "weight_bits", 7),
        "weight_bits is 7; one-to-one synapses have 8",
    ),
    "projection out of range": (set_value("graph/2/skips/1/weight", 1000), "do not fit 8"),
    "stride of two numbers": (put("graph/1/stride", np.ones(2, "<i4")), "must be one of >= 1"),
    "stride of zero": (set_value("graph/1/stride", 0), "must be one of >= 1"),
    "huge dilation": (set_value("graph/2/dilation", 2**30), "larger than the padded input"),
    "huge padding": (set_value("graph/1/padding", 2**30), "layer out: dense weights are"),
    "two groups for one": (put("graph/2/groups", np.array([2, 2], "<i4")), "holds 2 values"),
    "flatten": (put("graph/2/type", np.array([b"flatten"], "S10")), "type is 'flatten'; allowed"),
    "unknown kind": (put("graph/2/type", np.array([b"pool"], "S10")), "type is 'pool'; allowed"),
    "image for a signal": (
        put("graph/2/type", np.array([b"conv"], "S10")),
        r"weight has shape \(2, 1, 3\); a conv layer needs \[out, in / groups, kernel_h",
    ),
    "called version 2": (put_attribute("/", "format_version", 2), "/layer is missing"),
    "written as version 2": (
        lambda file: (
            put_attribute("/", "format_version", 2)(file),
            file.move("graph", "layer"),
        ),
        "format_version is 2; 3 is expected",
    ),
    "layers of both versions": (
        lambda file: file.copy("graph", "layer"),
        "/layer is not expected",
    ),
}


@pytest.mark.parametrize("case", GRAPH_EDITS)
def test_an_edited_graph_is_refused_for_its_reason(graph: Path, case: str) -> None:
    edit, reason = GRAPH_EDITS[case]
    message = refused_after(graph, edit)
    assert re.search(reason, message), message


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (set_value("graph/2/output_padding", 2), "output_padding .* must be less than the stride"),
        (set_value("graph/2/output_padding", -1), "output_padding .* must be two of >= 0"),
        (remove("graph/2/output_padding"), "output_padding is missing"),
        (put("graph/2/output_padding", np.zeros(1, "<i4")), "must be two of >= 0"),
        (set_value("graph/2/padding", 2**30), "larger than the padded input"),
        (set_value("graph/2/stride", 2**30), "too large"),
        (put("graph/1/output_padding", np.zeros(2, "<i4")), "1/output_padding is not expected"),
        (set_value("graph/2/output_padding", [0, 1]), "does not match its checksum"),
        (put("graph/2/type", np.array([b"conv"], "S10")), "does not match its checksum"),
    ],
)
def test_an_edited_transposed_convolution_is_refused_for_its_reason(
    tmp_path: Path, edit: Edit, reason: str
) -> None:
    path = tmp_path / "image.net"
    write_net(small_image_network(), path)
    message = refused_after(path, edit)
    assert re.search(reason, message), message
