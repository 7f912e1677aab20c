"""Arrays of npz files, whatever their headers say."""

from __future__ import annotations

import lzma
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tandem_hw.data import large_samples, npz_file
from tandem_hw.data.npz_arrays import read_arrays
from tandem_hw.data.npz_file import NpzFile, expanded_limit
from tandem_hw.errors import DataError

ARRAYS: dict[str, Any] = {
    "bytes": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "scalar": np.array(3),
    "none": np.zeros((0, 5), np.float32),
    "text": np.array(["ab", "c"]),
    "events": np.zeros(7, [("x", "<i2"), ("t", ">i8")]),
    "large": np.random.default_rng(0).integers(0, 9, 3_000_001),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_what_numpy_reads(tmp_path: Path, save: Any) -> None:
    path = tmp_path / "arrays.npz"
    save(path, **ARRAYS)
    with NpzFile(path) as archive:
        assert archive.names == list(ARRAYS)
        for name, wanted in ARRAYS.items():
            found = archive.read(name)
            assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
            assert np.array_equal(found, wanted)
            found[...] = wanted  # it can be written to


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_large_arrays_stay_in_the_file_where_it_is_not_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Any
) -> None:
    path = tmp_path / "arrays.npz"
    save(path, **ARRAYS)
    monkeypatch.setattr(large_samples, "LARGE", ARRAYS["text"].nbytes)
    with NpzFile(path) as archive:
        for name, wanted in ARRAYS.items():
            found = archive.read(name, leave_large=True)
            assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
            assert np.array_equal(found, wanted)
            is_large = save is np.savez and wanted.nbytes >= ARRAYS["text"].nbytes
            assert isinstance(found, np.memmap) == is_large
            assert found.flags.writeable != is_large
            assert not isinstance(archive.read(name), np.memmap)


def test_an_array_that_stays_in_its_file_has_its_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "arrays.npz"
    np.savez(path, x=np.arange(100_000))
    content = bytearray(path.read_bytes())
    content[500_000] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(large_samples, "LARGE", 1)
    with (
        NpzFile(path) as archive,
        pytest.raises(zipfile.BadZipFile, match=r"Bad CRC-32 for file 'x\.npy'"),
    ):
        archive.read("x", leave_large=True)


def _header(shape: Any = (4,), dtype: str = "|u1", version: tuple[int, int] = (1, 0)) -> bytes:
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}"
    padded = text.ljust(117).encode() + b"\n"
    length = len(padded).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + length + padded


DAMAGED = {
    "text": (b"no array at all", "it is not an array that NumPy wrote"),
    "version": (_header(version=(9, 0)) + b"data", "its format has version 9"),
    "header": (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "its header has 4294967295 bytes"),
    "short": (_header((5,)) + b"data", "asks for 5 bytes, 4 are there"),
    "long": (_header((3,)) + b"data", "asks for 3 bytes, 4 are there"),
    "empty items": (_header((1 << 60,), "|V0"), "asks for 0 bytes, 0 are there"),
    "negative": (_header((-4,)) + b"data", r"it is uint8 of shape \(-4,\); plain values"),
    "objects": (_header((1,), "|O") + b"data", r"it is object of shape \(1,\); plain values"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_headers_are_refused(tmp_path: Path, case: str) -> None:
    content, message = DAMAGED[case]
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", content)
    with NpzFile(tmp_path / "a.npz") as arrays, pytest.raises(ValueError, match=message):
        arrays.read("x")


#: What NumPy takes for an array of Python 2, whose text it parses: no SyntaxError comes of it.
UNFINISHED = b"{'descr': '|u1', 'fortran_order': False, 'shape': (4L, ".ljust(117) + b"\n"


@pytest.mark.parametrize(
    "content",
    [b"\x93NUMPY\x01\x00" + len(UNFINISHED).to_bytes(2, "little") + UNFINISHED, b"", _header()],
    ids=["tokens", "empty", "short"],
)
def test_whatever_a_reader_raises_is_told_in_a_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_test.npy", content)
    with pytest.raises(DataError, match=r"a\.npz: array x_test cannot be read \(.*numpy\.savez"):
        read_arrays(path, ["x_test"])


def test_an_error_of_no_class_that_is_known_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(3))

    def fail(*_: Any, **__: Any) -> Any:
        raise lzma.LZMAError("corrupt input data")

    monkeypatch.setattr(NpzFile, "read", fail)
    with pytest.raises(DataError, match=r"array x cannot be read \(corrupt input data\); an npz"):
        read_arrays(tmp_path / "a.npz", ["x"])


def test_an_archive_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", _header((100,)) + bytes(90))
    content = bytearray(path.read_bytes())
    place = content.rindex(b"x.npy") - 22  # the unpacked length in the directory
    content[place : place + 4] = (128 + 100).to_bytes(4, "little")
    path.write_bytes(content)
    with NpzFile(path) as arrays, pytest.raises(EOFError, match="it ends too early"):
        arrays.read("x")


def test_other_compression_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", _header() + b"data")
    with (
        NpzFile(tmp_path / "a.npz") as arrays,
        pytest.raises(ValueError, match="compressed by method 14"),
    ):
        arrays.read("x")


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(ValueError, match="it holds a single array"):
        NpzFile(tmp_path / "a.npy")


def test_all_arrays_together_are_bounded_by_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros(50_000, np.uint8), y=np.zeros(50_000, np.uint8))
    assert expanded_limit(path.stat().st_size) == 1 << 27
    assert expanded_limit(1 << 30) == 1 << 37
    monkeypatch.setattr(npz_file, "_EXPANDED_FREE", 0)
    assert 50_000 < expanded_limit(path.stat().st_size) < 100_000
    with NpzFile(path) as arrays:
        assert not arrays.read("x").any()
        with pytest.raises(ValueError, match="takes 50000 bytes, over 128 times the file togeth"):
            arrays.read("y")
