"""An npz file of arrays that come in parts, none of which is ever whole in memory."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from tandem_hw.atomic_write import atomic_file, existing_folder, reported
from tandem_hw.temporaries import temporary_folder


@dataclass
class _Rows:
    """The rows of one array so far: in a file, each part in the smallest integers that hold it."""

    path: Path
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    parts: list[tuple[np.dtype[Any], int]] = field(default_factory=list)

    def append(self, rows: npt.NDArray[Any]) -> None:
        smallest = _smallest(rows)
        with self.path.open("ab") as file:
            # ``tofile`` would not say why it fails.
            file.write(np.ascontiguousarray(rows, smallest).data)
        self.parts.append((smallest, len(rows)))

    def write(self, member: IO[bytes]) -> None:
        """Write the array as ``numpy.save`` does."""
        header = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (sum(rows for _, rows in self.parts), *self.shape),
        }
        np.lib.format.write_array_header_1_0(member, header)
        with self.path.open("rb") as file:
            for dtype, rows in self.parts:
                values = np.fromfile(file, dtype, rows * math.prod(self.shape))
                member.write(values.astype(self.dtype, copy=False).data)


class NpzInParts:
    """Arrays that grow along their first axis, and such that have no axes.

    Attributes:
        target: the file that they are for.
    """

    def __init__(self, target: Path, folder: Path) -> None:
        self.target = target
        self._folder = folder
        self._arrays: dict[str, _Rows | npt.NDArray[Any]] = {}

    def add(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take in the next part: rows behind those that are there, and arrays without axes anew.

        Args:
            arrays: by name, the same names, shapes of a row and data types in every part.

        Raises:
            FileFormatError: the disk is full.
        """
        with reported(self.target):
            for name, array in arrays.items():
                if not array.ndim:
                    self._arrays[name] = array
                    continue
                path = self._folder / str(len(self._arrays))
                rows = self._arrays.setdefault(name, _Rows(path, array.dtype, array.shape[1:]))
                assert isinstance(rows, _Rows)
                assert (rows.dtype, rows.shape) == (array.dtype, array.shape[1:])
                rows.append(array)

    def write(self, file: IO[bytes]) -> None:
        """Write all as ``numpy.savez_compressed`` does, in the order in which the names came."""
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
            for name, array in self._arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    if isinstance(array, _Rows):
                        array.write(member)
                    else:
                        np.lib.format.write_array(member, array, allow_pickle=False)


@contextmanager
def npz_in_parts(target: Path) -> Iterator[NpzInParts]:
    """Give something to add arrays to, and write them to a file at the end, whole or not at all.

    Args:
        target: the file. What is added lies beside it till then, in a folder that goes whatever
            comes.

    Yields:
        What takes the parts.

    Raises:
        FileFormatError: the file cannot be written, or the disk is full.
    """
    with ExitStack() as stack:
        with reported(target):
            beside = existing_folder(target) / target.name
            folder = stack.enter_context(temporary_folder(beside))
        parts = NpzInParts(target, folder)
        yield parts
        with atomic_file(target) as file:
            parts.write(file)


def _smallest(rows: npt.NDArray[Any]) -> np.dtype[Any]:
    """Return the smallest integers that hold an array, or its own type where it has others."""
    if rows.dtype.kind not in "iu" or not rows.size:
        return rows.dtype
    least, largest = (np.min_scalar_type(int(end)) for end in (rows.min(), rows.max()))
    smallest = np.promote_types(least, largest)
    # A negative number and one beyond 32 bits together would make floating-point numbers.
    return smallest if smallest.kind in "iu" else rows.dtype
