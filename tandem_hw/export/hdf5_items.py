"""Single items of an HDF5 file that others wrote, read without trust.

``hdf5_tree`` reads what tandem-hw itself writes and refuses all else. A file of another program may
hold floats, compressed data and groups that nobody asks for; here only what is asked for is looked
at, and it is bounded before it is allocated: by what the file can hold, and by stated limits.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt
from h5py import h5d, h5l, h5z

from tandem_hw.errors import FileFormatError
from tandem_hw.export.hdf5_heap import TextHeap
from tandem_hw.export.hdf5_tree import check_file, encoded, reported_as_damage
from tandem_hw.export.items import Items, below, shown
from tandem_hw.network.output_meaning import NAMES_BYTES_MAX

#: Values that all datasets read from one file may hold together.
VALUES_MAX: Final = 1 << 26
#: Bytes that they may hold together where they are compressed, at least.
EXPANDED_BYTES_MAX: Final = 1 << 25
#: What a value counts for, at least: it is computed with as float or integer of some width.
_VALUE_BYTES: Final = 4
#: How far deflate can compress (zlib: "Maximum Compression Factor"); lzf stays far below it.
DEFLATE_RATIO: Final = 1032
_MAX_RANK: Final = 8
#: Longest text where names of any kind are meant.
_LONG_TEXT_MAX: Final = 4096
#: Longest text of variable length that stands alone: the names of all classes, as JSON.
_SINGLE_TEXT_MAX: Final = NAMES_BYTES_MAX
#: Filters that are part of HDF5 or h5py itself; another one would load a library to be read.
_FILTERS: Final = frozenset(
    (h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32, h5z.FILTER_LZF)
)
_COMPRESSING: Final = frozenset((h5z.FILTER_DEFLATE, h5z.FILTER_LZF))


@dataclass
class Budget:
    """What may still be read from a file.

    Attributes:
        file_size: bytes of the file.
        bytes_left: bytes of values, each counted as at least four.
        values_left: values.
        heap: the texts of variable length.
    """

    file_size: int
    bytes_left: int
    values_left: int
    heap: TextHeap


@contextmanager
def open_items(
    path: str | os.PathLike[str], expanded_max: int = EXPANDED_BYTES_MAX
) -> Iterator[Entry]:
    """Open a file that others wrote, and give its root.

    Args:
        path: an HDF5 file.
        expanded_max: bytes that the values of a small compressed file may have.

    Raises:
        FileFormatError: the file is missing, no HDF5 file, or damaged, here or while it is read.
    """
    size = check_file(path)
    with reported_as_damage(path), h5py.File(path, "r") as file:
        bytes_left = max(expanded_max, _VALUE_BYTES * size)
        budget = Budget(
            size, bytes_left, VALUES_MAX, TextHeap(file, _LONG_TEXT_MAX, _SINGLE_TEXT_MAX)
        )
        yield Entry(file, f"{path}: /", budget)


@dataclass(frozen=True)
class Entry(Items):
    """A group of a file.

    Attributes:
        opened: the open group.
        location: for messages, such as "tiny.net: /layer/3".
        budget: shared by all entries of a file.
    """

    opened: h5py.Group
    location: str
    budget: Budget

    @property
    def names(self) -> set[str]:
        """Names of all items."""
        return {str(name) for name in self.opened}

    @property
    def attribute_names(self) -> set[str]:
        """Names of the group's own attributes."""
        return {str(name) for name in self.opened.attrs}

    def where(self, name: str) -> str:
        """Return the place of an item for a message."""
        return below(self.location, name)

    def _stored(self, name: str) -> Entry | npt.NDArray[np.generic] | str | list[Any]:
        item = self._link(name)
        if isinstance(item, h5py.Group):
            return Entry(item, self.where(name), self.budget)
        return self.values(name)

    def is_group(self, name: str) -> bool:
        """Whether an item is a group; raises FileFormatError where it is a link to elsewhere."""
        return isinstance(self._link(name), h5py.Group)

    def values(self, name: str) -> npt.NDArray[np.generic] | str | list[Any]:
        """Return a dataset of numbers, of one text, or of texts, as it is stored.

        Raises:
            FileFormatError: it is missing, too large or of another kind, or a text is not short.
        """
        dataset = self._dataset(name)
        if h5py.check_string_dtype(dataset.dtype) is None:
            if dataset.dtype.kind not in "iufb" or dataset.dtype.subdtype is not None:
                raise FileFormatError(f"{self.where(name)} is {dataset.dtype}; numbers are needed")
            return np.asarray(dataset[()])
        texts = [text.decode(errors="backslashreplace") for text in self._texts(dataset, name)]
        for text in texts:
            # One alone may be anybody's words, such as the names of classes; names are looked at.
            if dataset.size > 1 and not text.isprintable():
                raise FileFormatError(f"{self.where(name)} holds {shown(text)}; it is damaged")
        shaped: str | list[Any] = np.array(texts, dtype=object).reshape(dataset.shape).tolist()
        return shaped

    def _texts(self, dataset: h5py.Dataset, name: str) -> list[bytes]:
        """Return all texts of a dataset, none longer than ``_LONG_TEXT_MAX``."""
        if h5py.check_string_dtype(dataset.dtype).length is None:
            return self.budget.heap.texts(dataset, self.where(name))
        if dataset.dtype.itemsize > _LONG_TEXT_MAX:
            raise FileFormatError(
                f"{self.where(name)} has texts of {dataset.dtype.itemsize} bytes; at most "
                f"{_LONG_TEXT_MAX} are read"
            )
        return [bytes(text) for text in np.asarray(dataset[()]).reshape(-1)]

    def _link(self, name: str) -> h5py.Group | h5py.Dataset:
        if not self.has(name):
            raise FileFormatError(f"{self.where(name)} is missing")
        if self.opened.id.links.get_info(encoded(name)).type != h5l.TYPE_HARD:
            raise FileFormatError(f"{self.where(name)} is a link to elsewhere, never followed")
        return self.opened[name]

    def _dataset(self, name: str) -> h5py.Dataset:
        """Return a dataset whose values lie in the file itself and are few enough."""
        item = self._link(name)
        if not isinstance(item, h5py.Dataset):
            raise FileFormatError(f"{self.where(name)} is a group; a dataset is needed")
        plan = item.id.get_create_plist()
        if plan.get_layout() == h5d.VIRTUAL or plan.get_external_count():
            raise FileFormatError(f"{self.where(name)} takes its values from another file")
        filters = [plan.get_filter(index)[0] for index in range(plan.get_nfilters())]
        unknown = set(filters) - _FILTERS
        if unknown:
            raise FileFormatError(
                f"{self.where(name)} is compressed by filter {min(unknown)}; only gzip, shuffle, "
                f"fletcher32 and lzf are read"
            )
        if len(_COMPRESSING & set(filters)) > 1 or len(set(filters)) < len(filters):
            raise FileFormatError(f"{self.where(name)} is compressed more than once")
        self._take(item, name, bool(_COMPRESSING & set(filters)))
        return item

    def _take(self, dataset: h5py.Dataset, name: str, compressed: bool) -> None:
        """Take the values of a dataset off the budget; refuse more than the file can hold."""
        shape, budget = dataset.shape, self.budget
        if shape is None or len(shape) > _MAX_RANK:
            raise FileFormatError(f"{self.where(name)} has no values or over {_MAX_RANK} axes")
        size = math.prod(map(int, shape))
        if not 0 < size <= budget.values_left:
            raise FileFormatError(
                f"{self.where(name)} has shape {shape}; a file may hold 1 to {VALUES_MAX} values"
            )
        itemsize = dataset.id.get_type().get_size()
        chunk = math.prod(map(int, dataset.chunks or ()))  # a chunk is read as a whole
        needed = max(size, chunk) * itemsize
        stored = min(dataset.id.get_storage_size(), budget.file_size)
        if needed > stored * (DEFLATE_RATIO if compressed else 1):
            raise FileFormatError(
                f"{self.where(name)} has shape {shape} and asks for {needed} bytes, which the "
                f"{stored} bytes that the file has of it do not hold"
            )
        budget.values_left -= size
        budget.bytes_left -= max(needed, max(size, chunk) * _VALUE_BYTES)
        if budget.bytes_left < 0:
            raise FileFormatError(
                f"{self.where(name)} has shape {shape}; with it the compressed file of "
                f"{budget.file_size} bytes becomes too large; write it without compression"
            )
