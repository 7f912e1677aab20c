"""Texts of variable length in an HDF5 file, read without the HDF5 library.

HDF5 keeps such texts in heaps: collections of numbered objects, one after the other. The library
goes from object to object by the sizes that a collection states, and a damaged size can make it go
round for ever, deaf to Ctrl-C, or ask for gigabytes. So these texts are read here, by the format's
specification (HDF5 File Format Specification 3.0, "Disk Format: Level 1E - Global Heap"), and the
library is never asked for them.
"""

from __future__ import annotations

import itertools
import os
import struct
import zlib
from pathlib import Path
from typing import Final, NamedTuple

import h5py
from h5py import h5d, h5z

from tandem_hw.errors import FileFormatError

_SIGNATURE: Final = b"GCOL\x01"
#: Signature, version, three unused bytes, and the size of the collection.
_COLLECTION: Final = struct.Struct("<4sB3xQ")
#: Number of an object, how often it is used, four unused bytes, and its size.
_OBJECT: Final = struct.Struct("<HH4xQ")
#: What a dataset holds for each text: its length, the address of its collection, its number there.
_REFERENCE: Final = struct.Struct("<IQI")
#: Bytes of an offset and of a length in the file; all programs write files with these.
_SIZES: Final = (8, 8)


class _Place(NamedTuple):
    """Where a text is in the file."""

    start: int
    length: int


class TextHeap:
    """The texts of variable length of one file.

    Args:
        file: the open file.
        length_max: bytes of the longest text that is read.
        single_max: bytes of the longest one that is read where it is all of a dataset, if that is
            more; such texts may take as much as the file in all.
    """

    def __init__(self, file: h5py.File, length_max: int, single_max: int = 0) -> None:
        self.path = os.fsdecode(file.filename)
        self.size = Path(self.path).stat().st_size
        self.length_max, self.single_max = length_max, single_max
        self._plain = file.id.get_create_plist().get_sizes() == _SIZES and not file.userblock_size
        self._collections: dict[int, dict[int, _Place]] = {}
        self._texts: dict[_Place, bytes] = {}
        self._bytes_left = self._long_left = self.size

    def texts(self, dataset: h5py.Dataset, where: str) -> list[bytes]:
        """Return all texts of a dataset in C order, each up to its first zero byte.

        Args:
            dataset: of texts of variable length, any shape.
            where: the place of the dataset, for messages.

        Raises:
            FileFormatError: it is stored in an unusual way, a text is too long, or the heap is
                damaged.
        """
        references = self._references(dataset, where)
        longest = self.length_max if dataset.size > 1 else max(self.single_max, self.length_max)
        with Path(self.path).open("rb") as file:
            return [
                self._text(file.fileno(), length, address, number, where, longest)
                for length, address, number in _REFERENCE.iter_unpack(references)
            ]

    def _references(self, dataset: h5py.Dataset, where: str) -> bytes:
        """Return what the dataset itself holds."""
        needed = dataset.size * _REFERENCE.size
        plan = dataset.id.get_create_plist()
        filters = [plan.get_filter(index)[0] for index in range(plan.get_nfilters())]
        found = b""
        if self._plain and plan.get_layout() == h5d.CONTIGUOUS and not filters:
            start = dataset.id.get_offset()
            if start is not None and start + needed <= self.size:
                with Path(self.path).open("rb") as file:
                    file.seek(start)
                    found = file.read(needed)
        # One chunk that holds everything, as small arrays of texts are compressed.
        elif (
            self._plain
            and dataset.chunks == dataset.shape
            and filters in ([], [h5z.FILTER_DEFLATE])
            and dataset.id.get_num_chunks() == 1
        ):
            mask, found = dataset.id.read_direct_chunk((0,) * len(dataset.shape))
            if filters and not mask:
                found = zlib.decompressobj().decompress(found, needed + 1)
        if len(found) != needed:
            raise FileFormatError(
                f"{where}: its texts are stored in a way that is not read, or they are damaged; "
                f"write the file again with nir.write"
            )
        return found

    def _text(
        self, file: int, length: int, address: int, number: int, where: str, longest: int
    ) -> bytes:
        if length == 0:
            return b""
        place = self._objects(file, address, where).get(number)
        if place is None or place.length != length:
            raise FileFormatError(f"{where}: a text is not where the file says; it is damaged")
        if length > self.length_max:
            self._long_left -= length
        if length > longest or self._long_left < 0:
            raise FileFormatError(f"{where}: a text has {length} bytes; at most {longest} are read")
        if place not in self._texts:
            self._texts[place] = os.pread(file, length, place.start).partition(b"\0")[0]
        return self._texts[place]

    def _objects(self, file: int, address: int, where: str) -> dict[int, _Place]:
        """Return the objects of a collection by their numbers."""
        if address not in self._collections:
            head = os.pread(file, _COLLECTION.size, address) if address < self.size else b""
            size = _COLLECTION.unpack(head)[2] if len(head) == _COLLECTION.size else 0
            # Collections do not overlap, so all of them together are no larger than the file.
            if not head.startswith(_SIGNATURE) or not 0 < size <= self._bytes_left:
                raise FileFormatError(f"{where}: the heap of its texts is damaged")
            self._bytes_left -= size
            found = _walk(os.pread(file, size, address), address)
            if found is None:
                raise FileFormatError(f"{where}: the heap of its texts is damaged")
            self._collections[address] = found
        return self._collections[address]


def _walk(collection: bytes, address: int) -> dict[int, _Place] | None:
    """Return the objects of a collection, or None where their sizes lead out of it."""
    objects: dict[int, _Place] = {}
    position = _COLLECTION.size
    for _ in itertools.repeat(None, len(collection) // _OBJECT.size):
        if position + _OBJECT.size > len(collection):
            break
        number, _, size = _OBJECT.unpack_from(collection, position)
        if number == 0:  # free space up to the collection's end
            break
        start = position + _OBJECT.size
        if start + size > len(collection):
            return None
        objects[number] = _Place(address + start, size)
        position = start + -(-size // 8) * 8
    return objects
