from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pytest

from tandem_hw.errors import FileFormatError
from tandem_hw.npz_in_parts import npz_in_parts
from tests.helpers.full_disk import files_no_larger_than

ROWS = 7
RANDOM = np.random.default_rng(0)
ARRAYS: dict[str, npt.NDArray[Any]] = {
    "counts/conv 1": RANDOM.integers(0, 300, (ROWS, 2, 3, 3), dtype=np.int32),
    "small": RANDOM.integers(-5, 9, (ROWS, 4), dtype=np.int32),
    "wide": np.array([-1, 1 << 40, 3, 1 << 62, -(1 << 63), 0, 7]),
    "unsigned": np.array([0, (1 << 64) - 1, 3, 4, 5, 6, 7], np.uint64),
    "empty": np.zeros((ROWS, 0), np.int32),
    "real": RANDOM.random((ROWS, 3)).astype(np.float32),
    "format_version": np.array(1),
    "backend": np.array("reference"),
}


def parts(*sizes: int) -> list[dict[str, npt.NDArray[Any]]]:
    ends = np.cumsum(sizes)
    return [
        {name: array[end - size : end] if array.ndim else array for name, array in ARRAYS.items()}
        for size, end in zip(sizes, ends, strict=True)
    ]


def write(path: Path, *sizes: int) -> None:
    with npz_in_parts(path) as file:
        for part in parts(*sizes):
            file.add(part)


@pytest.mark.parametrize("sizes", [(7,), (3, 4), (1, 1, 1, 1, 1, 1, 1), (2, 3, 2)])
def test_the_file_is_that_of_the_whole_arrays(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    write(tmp_path / "parts.npz", *sizes)
    whole: dict[str, Any] = ARRAYS
    np.savez_compressed(tmp_path / "whole.npz", **whole)
    with np.load(tmp_path / "parts.npz", allow_pickle=False) as archive:
        assert archive.files == list(ARRAYS)
        for name, array in ARRAYS.items():
            assert archive[name].dtype == array.dtype
            assert np.array_equal(archive[name], array)
    found, expected = ((tmp_path / name).read_bytes() for name in ("parts.npz", "whole.npz"))
    assert found == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts.npz", "whole.npz"]


def test_what_lies_beside_the_file_is_in_the_smallest_integers(tmp_path: Path) -> None:
    counts = np.full((1000, 5), 200, np.int32)
    with npz_in_parts(tmp_path / "new" / "run.npz") as file:
        file.add({"counts": counts})
        file.add({"counts": counts[:10] + 100})
        (kept,) = tmp_path.rglob("0")
        assert kept.stat().st_size == 1000 * 5 + 10 * 5 * 2
        assert not (tmp_path / "new").exists()
    with np.load(tmp_path / "new" / "run.npz") as archive:
        assert archive["counts"].dtype == np.int32
        assert archive["counts"].sum() == counts.sum() + 10 * 5 * 300


def write_and_fail(path: Path, error: type[BaseException]) -> None:
    with npz_in_parts(path) as file:
        file.add(parts(7)[0])
        assert len(list(path.parent.rglob("*"))) > 2
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_ends_a_run_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "run.npz"
    path.write_text("old")
    with pytest.raises(error):
        write_and_fail(path, error)
    assert [found.name for found in tmp_path.iterdir()] == ["run.npz"]
    assert path.read_text() == "old"


def test_an_error_while_the_file_is_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.npz"
    path.write_text("old")

    def fail(member: IO[bytes], *_: Any, **__: Any) -> None:
        member.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", fail)
    with pytest.raises(FileFormatError, match=r"run.npz: cannot be written \(No space left"):
        write(path, 3, 4)
    assert [found.name for found in tmp_path.iterdir()] == ["run.npz"]
    assert path.read_text() == "old"


def test_a_full_disk_is_told_in_one_line_while_parts_come(tmp_path: Path) -> None:
    with (
        files_no_larger_than(32),
        pytest.raises(FileFormatError, match=r"run.npz: cannot be written \(File too large\)$"),
    ):
        write(tmp_path / "run.npz", 3, 4)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_once_while_the_file_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", second.append)
    with (
        files_no_larger_than(1500),  # enough for the parts, of which none has over 800 bytes
        pytest.raises(FileFormatError, match=r"run.npz: cannot be written \(File too large\)$"),
    ):
        write(tmp_path / "run.npz", 3, 4)
    gc.collect()
    assert second == []  # of the archive, as it is taken down
    assert list(tmp_path.iterdir()) == []
