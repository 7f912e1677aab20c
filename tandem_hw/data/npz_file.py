"""An npz file that somebody else wrote: each array's header is read before anything is allocated.

``numpy.load`` gives an array all the memory that a file asks for, and a compressed file can ask for
a thousand times its own size. An array that is not compressed may stay in the file, however large.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.data.large_samples import are_large

_MAGIC: Final = b"\x93NUMPY"
#: Bytes of the field that says how long a header is, by the format's major version.
_LENGTH_BYTES: Final = {1: 2, 2: 4, 3: 4}
#: Longest header in bytes; NumPy itself reads no longer ones from files that it does not trust.
_HEADER_MAX: Final = 10_000
_PIECE_BYTES: Final = 1 << 20
#: Bytes in front of an array in an archive, beside two fields that their lengths end these bytes.
_MEMBER_BYTES: Final = 30
#: Bytes that arrays may have for each byte of their file, and in all where that is less. Event
#: data in bins are mostly zeros, and compress to some fortieth.
_EXPANSION_MAX: Final = 128
_EXPANDED_FREE: Final = 1 << 27


def expanded_limit(file_size: int) -> int:
    """Return how many bytes what is made of a file's arrays may have.

    Args:
        file_size: bytes of the file.
    """
    return max(_EXPANDED_FREE, _EXPANSION_MAX * file_size)


class NpzFile:
    """The arrays of an npz file.

    Attributes:
        names: names of the arrays.
    """

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            ValueError: it holds a single array.
            zipfile.BadZipFile: it is no npz file, or its directory is damaged.
        """
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) == _MAGIC:
                raise ValueError("it holds a single array; write one with numpy.savez")
        self._bytes_left = expanded_limit(path.stat().st_size)
        self._path = path
        self._archive = zipfile.ZipFile(path)
        self._members = {
            info.filename.removesuffix(".npy"): info for info in self._archive.infolist()
        }
        self.names = list(self._members)

    def __enter__(self) -> NpzFile:
        """Return the file itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._archive.close()

    def read(self, name: str, *, leave_large: bool = False) -> npt.NDArray[Any]:
        """Return an array of plain values.

        Args:
            name: one of ``names``.
            leave_large: leave an array of a GiB and more in the file if it is not compressed there,
                and return a ``numpy.memmap`` of it, which cannot be written to.

        Raises:
            ValueError: it is damaged, holds objects, or is far larger than the file.
            Exception: of any class: the archive is damaged.
        """
        info = self._members[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"it is compressed by method {info.compress_type}")
        with self._archive.open(info) as member:
            shape, fortran, dtype = read_header(member)
            needed = math.prod(shape) * dtype.itemsize
            if needed != info.file_size - member.tell() or not dtype.itemsize:
                raise ValueError(
                    f"shape {shape} of {dtype} asks for {needed} bytes, "
                    f"{info.file_size - member.tell()} are there"
                )
            if needed > self._bytes_left:
                raise ValueError(
                    f"shape {shape} of {dtype} takes {needed} bytes, over {_EXPANSION_MAX} times "
                    f"the file together with the others; write it with numpy.savez, uncompressed"
                )
            # What is smaller is read: a file that is cut short while it is used ends the process.
            may_stay = leave_large and info.compress_type == zipfile.ZIP_STORED
            if may_stay and are_large(needed):
                stored = self._stored(info)[member.tell() :].view(dtype)
                return stored.reshape(shape, order="F" if fortran else "C")
            self._bytes_left -= needed
            array = np.empty(math.prod(shape), dtype)
            _fill(array, member)
        return array.reshape(shape, order="F" if fortran else "C")

    def _stored(self, info: zipfile.ZipInfo) -> np.memmap[Any, np.dtype[np.uint8]]:
        """Return the bytes of a member that is not compressed, once they have their checksum."""
        with self._path.open("rb") as file:
            file.seek(info.header_offset)
            lengths = file.read(_MEMBER_BYTES)[-4:]
            start = file.tell() + sum(
                int.from_bytes(two, "little") for two in (lengths[:2], lengths[2:])
            )
            stored = np.memmap(file, np.uint8, "r", start, (info.file_size,))
        checksum = 0
        for place in range(0, len(stored), _PIECE_BYTES):
            checksum = zlib.crc32(stored[place : place + _PIECE_BYTES].data, checksum)
        if checksum != info.CRC:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {info.filename!r}")
        return stored


def read_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return the shape of an array, whether its order is Fortran's, and its data type.

    Args:
        member: what ``numpy.save`` wrote, from its first byte; it is left behind the header.

    Raises:
        ValueError: it is something else, or does not hold plain values.
    """
    magic = member.read(len(_MAGIC) + 2)
    if not magic.startswith(_MAGIC) or len(magic) != len(_MAGIC) + 2:
        raise ValueError("it is not an array that NumPy wrote")
    version = magic[len(_MAGIC)]
    if version not in _LENGTH_BYTES:
        raise ValueError(f"its format has version {version}")
    size = member.read(_LENGTH_BYTES[version])
    length = int.from_bytes(size, "little")
    if length > _HEADER_MAX:
        raise ValueError(f"its header has {length} bytes")
    header = io.BytesIO(size + member.read(length))
    # Version 3 differs from 2 in the encoding of names alone.
    read: Any = np.lib.format.read_array_header_2_0
    if version == 1:
        read = np.lib.format.read_array_header_1_0
    shape, fortran, dtype = read(header)
    if dtype.hasobject or min(shape, default=0) < 0:
        raise ValueError(f"it is {dtype} of shape {shape}; plain values are needed")
    return tuple(map(int, shape)), bool(fortran), dtype


def _fill(array: npt.NDArray[Any], member: IO[bytes]) -> None:
    """Read an array's bytes; at their end the archive compares its checksum."""
    rest = array.view(np.uint8).data
    while rest:
        piece = member.read(min(len(rest), _PIECE_BYTES))
        if not piece:
            raise EOFError("it ends too early")
        rest[: len(piece)] = piece
        rest = rest[len(piece) :]
