"""Texts of variable length, read from the heaps of an HDF5 file without the library."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tandem_hw.errors import FileFormatError
from tandem_hw.export.hdf5_items import open_items
from tests.helpers import tiny_files

TEXTS = [f"text {index} " + "ä" * (index % 40) for index in range(600)]


def _write(path: Path, texts: Any, **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("texts", data=np.array(texts, object), dtype=h5py.string_dtype())
        file.create_dataset(
            "other", data=np.array(texts, object), dtype=h5py.string_dtype(), **options
        )
    return path


@pytest.mark.parametrize("options", [{}, {"chunks": (600,)}, {"chunks": (600,), "compression": 9}])
def test_texts_are_what_the_library_reads(tmp_path: Path, options: dict[str, Any]) -> None:
    path = _write(tmp_path / "texts.h5", TEXTS, **options)
    with open_items(path) as root:
        assert root.values("texts") == TEXTS
        assert root.values("other") == TEXTS


def test_shapes_and_single_texts_are_kept(tmp_path: Path) -> None:
    with open_items(_write(tmp_path / "a.h5", [["a", ""], ["b", "c"]])) as root:
        assert root.values("texts") == [["a", ""], ["b", "c"]]
    with open_items(_write(tmp_path / "b.h5", "one")) as root:
        assert root.values("texts") == "one"
        assert root.text("texts") == "one"


def test_unusual_storage_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "texts.h5", TEXTS, chunks=(100,))
    with (
        pytest.raises(FileFormatError, match="/other: its texts are stored in a way that is not"),
        open_items(path) as root,
    ):
        root.values("other")
    with h5py.File(tmp_path / "block.h5", "w", userblock_size=512) as file:
        file.create_dataset("texts", data="x")
    with (
        pytest.raises(FileFormatError, match=r"texts are stored in a way|no HDF5 file|not an HDF5"),
        open_items(tmp_path / "block.h5") as root,
    ):
        root.values("texts")


def test_long_texts_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "texts.h5", ["x" * 5000, "y"])
    with (
        pytest.raises(FileFormatError, match="a text has 5000 bytes; at most 4096 are read"),
        open_items(path) as root,
    ):
        root.values("texts")


def test_a_text_that_stands_alone_may_be_longer(tmp_path: Path) -> None:
    path = _write(tmp_path / "texts.h5", "é\u200d" * 12_000)
    with open_items(path) as root:
        assert root.values("texts") == "é\u200d" * 12_000
    path = _write(tmp_path / "texts.h5", "x" * 60_001)
    with (
        pytest.raises(FileFormatError, match="a text has 60001 bytes; at most 60000 are read"),
        open_items(path) as root,
    ):
        root.values("texts")


def test_long_texts_that_share_their_bytes_are_not_read_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "texts.h5"
    with h5py.File(path, "w") as file:
        for name in ("a", "b"):
            file.create_dataset(name, data="x" * 50_000)
        places = [file[name].id.get_offset() for name in ("a", "b")]
    content = bytearray(path.read_bytes())
    content[places[1] : places[1] + 16] = content[places[0] : places[0] + 16]
    path.write_bytes(content)
    with open_items(path) as root:
        texts = [root.values("ab"[number % 2]) for number in range(2)]
        assert texts == ["x" * 50_000] * 2
        with pytest.raises(FileFormatError, match="a text has 50000 bytes"):
            root.values("a")


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, 7, "a text is not where the file says"),  # the text's length
        (4, 1 << 40, "the heap of its texts is damaged"),  # the address of its collection
        (4, 8, "the heap of its texts is damaged"),
        (12, 60_000, "a text is not where the file says"),  # its number there
    ],
)
def test_a_damaged_reference_is_refused(
    tmp_path: Path, offset: int, value: int, message: str
) -> None:
    path = _write(tmp_path / "texts.h5", ["abc", "def"])
    with h5py.File(path) as file:
        place = file["texts"].id.get_offset() + offset
    content = bytearray(path.read_bytes())
    struct.pack_into("<Q" if offset == 4 else "<I", content, place, value)
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=message), open_items(path) as root:
        root.values("texts")


def test_collections_that_are_larger_than_the_file_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "texts.h5", ["abc", "def"])
    content = bytearray(path.read_bytes())
    struct.pack_into("<Q", content, content.index(b"GCOL") + 8, len(content) + 1)
    path.write_bytes(content)
    with (
        pytest.raises(FileFormatError, match="the heap of its texts is damaged"),
        open_items(path) as root,
    ):
        root.values("texts")


@pytest.mark.parametrize("size", tiny_files.HEAP_SIZES)
@pytest.mark.timeout(20)
def test_a_damaged_size_never_goes_round(tmp_path: Path, size: int) -> None:
    path = _write(tmp_path / "texts.h5", TEXTS)
    tiny_files.damage_heap(path, size)
    with pytest.raises(FileFormatError, match="damaged"), open_items(path) as root:
        root.values("texts")
