"""Items come out of every tree by one view: as the type that is needed, or refused by place."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tandem_hw.errors import FileFormatError
from tandem_hw.export.hdf5_items import open_items
from tandem_hw.export.hdf5_tree import Group
from tandem_hw.export.items import Items
from tandem_hw.export.nir_file import TreeItems

#: What all trees can hold: integers, and one short text.
PLAIN: dict[str, Any] = {
    "seven": np.int32(7),
    "row": np.array([3, 4, 5], np.int16),
    "many": np.arange(4, dtype=np.uint8),
    "word": np.bytes_(b"Conv2d"),
    "long": np.bytes_(b"x" * 65),
    "strange": np.bytes_(b"a\nb"),
}
#: What only trees of others hold.
FOREIGN: dict[str, Any] = {
    "whole": np.array([2.0, -3.0]),
    "half": np.array([1.0, 0.5]),
    "real": np.float32(0.25),
    "nan": np.array([1.0, np.nan]),
    "huge": np.array([2.0**53]),
    "unsigned": np.array([2**63], np.uint64),
    "true": np.bool_(True),
}
KINDS = ("ours", "file", "tree")


def a_tree(kind: str, stack: ExitStack, folder: Path) -> Items:
    content = PLAIN if kind == "ours" else PLAIN | FOREIGN
    if kind == "ours":
        arrays = {name: np.asarray(value) for name, value in content.items()}
        return Group(
            children={**arrays, "below": Group({}, {"seven": arrays["seven"]}, "at/below")},
            location="at",
        )
    if kind == "tree":
        texts = {name: value.decode() for name, value in PLAIN.items() if isinstance(value, bytes)}
        return TreeItems(content | texts | {"below": {"seven": 7}}, "at")
    with h5py.File(folder / "items.h5", "w") as file:
        for name, value in content.items():
            if name != "strange":  # refused before it is an item
                file[name] = value
        file["below/seven"] = 7
    return stack.enter_context(open_items(folder / "items.h5"))


@pytest.fixture(params=KINDS)
def items(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Items]:
    with ExitStack() as stack:
        yield a_tree(request.param, stack, tmp_path)


@pytest.fixture(params=KINDS[1:])
def foreign(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Items]:
    with ExitStack() as stack:
        yield a_tree(request.param, stack, tmp_path)


def test_items_have_the_type_that_was_asked_for(items: Items) -> None:
    assert {"seven", "below"} < set(items.names)
    assert items.has("row")
    assert not items.has("rows")
    assert (items.integer("seven"), type(items.integer("seven"))) == (7, int)
    assert items.integer("seven", range(7, 8)) == 7
    assert items.axes("row") == (3, 4, 5)
    assert items.axes("seven") == (7,)
    assert items.integers("many").dtype == np.int64
    assert items.integers("many").tolist() == [0, 1, 2, 3]
    assert items.reals("row").dtype == np.float64
    assert (items.real("seven"), type(items.real("seven"))) == (7.0, float)
    assert items.text("word") == "Conv2d"
    assert items.text("long", longest=None) == "x" * 65
    assert items.choice("word", ["Dense", "Conv2d"]) == "Conv2d"
    assert items.group("below").integer("seven") == 7
    assert items.array("row").shape == (3,)


def test_foreign_numbers_become_whole_where_they_are(foreign: Items) -> None:
    assert foreign.integers("whole").tolist() == [2, -3]
    assert foreign.integer("true") == 1
    assert foreign.real("real") == 0.25
    assert foreign.reals("half").tolist() == [1.0, 0.5]


@pytest.mark.parametrize(
    ("method", "name", "more", "message"),
    [
        ("integer", "none", (), r"none is missing"),
        ("group", "none", (), r"none is missing"),
        ("group", "row", (), r"row is not a group: it is a dataset; a group is needed"),
        ("array", "below", (), r"below is a group; a dataset is needed"),
        ("text", "below", (), r"below is a group; a dataset is needed"),
        ("integers", "below", (), r"below is a group"),
        ("integer", "row", (), r"row holds 3 values; one is needed"),
        ("real", "row", (), r"row holds 3 values; one is needed"),
        ("integer", "seven", (range(1, 4),), r"seven is 7; allowed are 1 to 3"),
        ("axes", "many", (), r"many holds 4 values; at most 3 can be"),
        ("integers", "word", (), r"word is .*; numbers are needed"),
        ("reals", "word", (), r"word is .*; numbers are needed"),
        ("text", "seven", (), r"seven is int.*; one text is needed, and this is not a text"),
        ("text", "long", (), r"long is 'x+…; a short name is needed"),
        (
            "choice",
            "word",
            (["Dense", "Sum"],),
            r"word is 'Conv2d', which is .*; allowed are Dense, Sum",
        ),
    ],
)
def test_another_type_is_refused_by_its_place(
    items: Items, method: str, name: str, more: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(FileFormatError, match=message) as caught:
        getattr(items, method)(name, *more)
    assert str(caught.value).startswith(items.where(name))


@pytest.mark.parametrize(
    ("method", "name", "message"),
    [
        ("integers", "half", r"half holds 0\.5, which is no integer: no whole number can be read"),
        ("integers", "nan", r"nan holds a value that is no finite integer"),
        ("integers", "huge", r"huge holds a value that is no finite integer"),
        ("integers", "unsigned", r"unsigned holds a number of over 63 bits"),
        ("reals", "nan", r"nan is not made of finite numbers"),
    ],
)
def test_numbers_that_are_not_whole_or_finite_are_refused(
    foreign: Items, method: str, name: str, message: str
) -> None:
    with pytest.raises(FileFormatError, match=message):
        getattr(foreign, method)(name)


def test_a_name_with_a_line_break_is_not_put_into_messages() -> None:
    for tree in (a_tree(kind, ExitStack(), Path()) for kind in ("ours", "tree")):
        with pytest.raises(FileFormatError, match=re.escape(r"strange is 'a\nb'; a short name")):
            tree.text("strange")
        assert tree.text("strange", longest=None) == "a\nb"


def test_several_texts_are_not_one(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "texts.h5", "w") as file:
        file["two"], file["one"] = ["a", "b"], ["a"]
    with open_items(tmp_path / "texts.h5") as root:
        assert root.text("one") == "a"
        with pytest.raises(FileFormatError, match="two holds 2 values; one is needed"):
            root.text("two")


def test_attributes_come_out_by_the_same_view() -> None:
    group = Group({"seven": 7, "half": 0.5, "word": "zero", "nan": float("nan")}, {}, "at")
    assert group.integer_attribute("seven") == 7
    assert group.float_attribute("half") == 0.5
    assert group.text_attribute("word") == "zero"
    assert group.choice_attribute("word", ["zero", "subtract"]) == "zero"
    for refused, message in (
        (lambda: group.integer_attribute("none"), "at: attribute none is missing"),
        (lambda: group.integer_attribute("half"), r"at: attribute half holds 0\.5, which is no"),
        (lambda: group.integer_attribute("word"), "at: attribute word is .*; numbers are needed"),
        (lambda: group.float_attribute("nan"), "at: attribute nan is not made of finite numbers"),
        (lambda: group.text_attribute("seven"), "at: attribute seven is int64; one text is needed"),
        (
            lambda: group.choice_attribute("word", ["subtract"]),
            "at: attribute word is 'zero', which is unknown or damaged; allowed are subtract",
        ),
    ):
        with pytest.raises(FileFormatError, match=message):
            refused()


@pytest.mark.parametrize("ask", ["text", "integers", "reals", "axes"])
def test_many_texts_are_refused_before_they_become_an_array(ask: str) -> None:
    texts = ["x" * 4000] * 10_000  # as an array they would take 160 MB
    tree = TreeItems({"kind": texts, "pair": (3, "Conv2d")}, "at")
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match="at/kind holds 10000 values; one is needed"):
            getattr(tree, ask)("kind")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    with pytest.raises(FileFormatError, match="at/pair holds 2 values; one is needed"):
        getattr(tree, ask)("pair")
