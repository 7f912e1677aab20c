"""A tree of integers and short texts in an HDF5 file, the same bytes each time, read without trust.

What is written is the plainest HDF5 there is: groups, hard links, contiguous datasets of integers
or ASCII, scalar attributes. Whatever else a file may hold (links to other files, compressed,
virtual or external data, objects, floats) is refused before it is followed or allocated.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import h5py
import numpy as np
from h5py import h5a, h5d, h5l, h5o, h5s

from tandem_hw.atomic_write import write_whole
from tandem_hw.errors import FileFormatError
from tandem_hw.export.items import Array, Items, Name, below, shown
from tandem_hw.pointer_file import refuse_pointer

Scalar: TypeAlias = int | float | str

#: Attributes of the root that every file has: the name of its format, and the format's version.
FORMAT, VERSION = "format", "format_version"

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: HDF5 1.8's structures: every h5py reads them, and they carry check sums and no dates.
_LIBVER = ("v108", "v108")
_MAX_DEPTH = 8
_MAX_RANK = 8
#: HDF5 keeps such an attribute inside the object's header, in a message of 64 KiB at most. The
#: longest that is written is the names of all classes.
_MAX_ATTRIBUTE_BYTES = (1 << 16) - 1
#: What h5py raises for a damaged file depends on the error class inside the HDF5 library, and on
#: the NumPy type that a damaged description leads to.
_LIBRARY_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, eq=False)
class Attributes(Items):
    """The attributes of a group.

    Attributes:
        values: by name.
        location: of their group, for messages.
    """

    values: Mapping[str, Scalar]
    location: str

    @property
    def names(self) -> Set[str]:
        """Names of all attributes."""
        return self.values.keys()

    def where(self, name: str) -> str:
        """Return the place of an attribute for a message."""
        return f"{self.location}: attribute {name}"

    def _stored(self, name: str) -> Scalar:
        return self.values[name]


@dataclass(frozen=True, eq=False)
class Group(Items):
    """A group of the tree.

    Attributes:
        attributes: int (64 bit), float (64 bit) or text per name.
        children: groups, and arrays of integers or ASCII bytes.
        location: for messages, such as "model.net: /layer/3".
    """

    attributes: Mapping[str, Scalar] = field(default_factory=dict)
    children: Mapping[str, Group | Array] = field(default_factory=dict)
    location: str = ""

    @property
    def names(self) -> Set[str]:
        """Names of all children."""
        return self.children.keys()

    def where(self, name: str) -> str:
        """Return the place of a child for a message."""
        return below(self.location, name)

    def _stored(self, name: str) -> Group | Array:
        return self.children[name]

    @property
    def _attributes(self) -> Attributes:
        return Attributes(self.attributes, self.location)

    def integer_attribute(self, name: str) -> int:
        """Return an attribute that is a whole number, or raise FileFormatError."""
        return self._attributes.integer(name)

    def float_attribute(self, name: str) -> float:
        """Return an attribute that is a finite number, or raise FileFormatError."""
        return self._attributes.real(name)

    def text_attribute(self, name: str) -> str:
        """Return an attribute that is any text, or raise FileFormatError."""
        return self._attributes.text(name, longest=None)

    def choice_attribute(self, name: str, allowed: Sequence[Name]) -> Name:
        """Return an attribute that is one of some texts, or raise FileFormatError."""
        return self._attributes.choice(name, allowed)


def check_same(found: Group, expected: Group) -> None:
    """Refuse a tree that is not exactly the expected one.

    Args:
        found: as read; its locations go into the messages.
        expected: what it must equal, data types included.

    Raises:
        FileFormatError: naming the first item that is missing, not expected or different.
    """
    for name in sorted(found.attributes.keys() | expected.attributes.keys()):
        if name not in expected.attributes:
            raise FileFormatError(f"{found.location}: attribute {name!r} is not expected")
        if name not in found.attributes:
            raise FileFormatError(f"{found.location}: attribute {name} is missing")
        value, wanted = found.attributes[name], expected.attributes[name]
        if (type(value), value) != (type(wanted), wanted):
            raise FileFormatError(
                f"{found.location}: attribute {name} is {shown(value)}; {wanted!r} is expected"
            )
    for name in sorted(found.children.keys() | expected.children.keys()):
        if name not in expected.children:
            raise FileFormatError(f"{found.where(name)} is not expected")
        child = expected.children[name]
        if isinstance(child, Group):
            check_same(found.group(name), child)
        else:
            _check_same_array(found.where(name), found.array(name), child)


def _check_same_array(where: str, found: Array, expected: Array) -> None:
    for what in ("dtype", "shape"):
        value, wanted = getattr(found, what), getattr(expected, what)
        if value != wanted:
            raise FileFormatError(f"{where} has {what} {value}; {wanted} is expected")
    if not np.array_equal(found, expected):
        raise FileFormatError(f"{where} is {found.tolist()!r}; {expected.tolist()!r} is expected")


def write_tree(path: str | os.PathLike[str], tree: Group) -> None:
    """Write a tree: equal trees give equal bytes.

    Args:
        path: where to write; the file is written whole or not at all.
        tree: its root has the attributes ``FORMAT`` and ``VERSION``.

    Raises:
        FileFormatError: the path cannot be written to.
    """
    in_memory = io.BytesIO()  # what HDF5 cannot write to a full disk, it tries again at exit
    try:
        with h5py.File(in_memory, "w", libver=_LIBVER) as file:
            _write_group(file, tree)
    except (OSError, RuntimeError, ValueError) as error:
        raise FileFormatError(f"{path}: cannot be written ({_first_line(error)})") from error
    write_whole(path, in_memory.getvalue())


def _write_group(target: h5py.Group, group: Group) -> None:
    for name, value in sorted(group.attributes.items()):
        if isinstance(value, str):
            encoded = value.encode()
            kind = h5py.string_dtype("utf-8", len(encoded))  # of fixed length, so of fixed bytes
            target.attrs.create(name, np.array(encoded, dtype=kind), dtype=kind)
        else:
            target.attrs.create(name, value, dtype="<i8" if isinstance(value, int) else "<f8")
    for name, child in sorted(group.children.items()):
        if isinstance(child, Group):
            _write_group(target.create_group(name), child)
        else:
            target.create_dataset(name, data=child, track_times=False)


def read_tree(path: str | os.PathLike[str], format_name: str, versions: tuple[int, ...]) -> Group:
    """Read a tree of a known format.

    Args:
        path: what to read.
        format_name: the value of ``FORMAT`` that is needed.
        versions: the values of ``VERSION`` that can be read.

    Returns:
        The root, everything in it read into memory.

    Raises:
        FileFormatError: the file is missing, foreign, of another version, damaged, or holds
            something that this module never writes.
    """
    size = check_file(path)
    with reported_as_damage(path), h5py.File(path, "r") as file:
        if FORMAT not in file.attrs or _read_attribute(file, FORMAT, f"{path}: /") != format_name:
            raise FileFormatError(
                f"{path}: an HDF5 file that was not written by tandem-hw (it has no attribute "
                f'{FORMAT} = "{format_name}"); write one with "tandem-hw export"'
            )
        found = _read_attribute(file, VERSION, f"{path}: /") if VERSION in file.attrs else None
        if found not in versions:
            *others, last = map(str, versions)
            raise FileFormatError(
                f"{path}: the format version is {shown(found)}; this tandem-hw reads version "
                f"{', '.join(others)} and {last}; export the network again or update tandem-hw"
            )
        return _TreeReader(size).read(file, f"{path}: /", depth=0)


def check_file(path: str | os.PathLike[str]) -> int:
    """Return the size of a file that begins like HDF5, or raise FileFormatError."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise FileFormatError(f"{path}: is a folder, not a file")
        if not stat.S_ISREG(status.st_mode):
            raise FileFormatError(f"{path}: is not an ordinary file")
        with Path(path).open("rb") as file:
            head = file.read(len(_SIGNATURE))
    except FileNotFoundError as error:
        raise FileFormatError(f"{path}: there is no such file") from error
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path}: cannot be read ({_first_line(error)})") from error
    if not head:
        raise FileFormatError(f"{path}: the file is empty; export the network again")
    if head.startswith(b"PK"):
        raise FileFormatError(
            f"{path}: a zip archive (a PyTorch checkpoint or npz file?), not an exported network; "
            f'turn a checkpoint into one with "tandem-hw export"'
        )
    if head != _SIGNATURE:
        refuse_pointer(path, FileFormatError)
        raise FileFormatError(f"{path}: not an HDF5 file, so not an exported network")
    return status.st_size


@contextmanager
def reported_as_damage(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn whatever the HDF5 library raises in this context into FileFormatError."""
    try:
        yield
    except _LIBRARY_ERRORS as error:
        raise FileFormatError(
            f"{path}: the HDF5 file is damaged or truncated ({_first_line(error)}); export the "
            f"network again"
        ) from error


class _TreeReader:
    """Reads a tree and keeps account, so that no file can make it read more than the file holds."""

    def __init__(self, file_size: int) -> None:
        self.file_size = file_size
        self.bytes_left = file_size
        self.seen: set[int] = set()

    def read(self, source: h5py.Group, where: str, depth: int) -> Group:
        """Read a group and what is below it."""
        self._enter(source, where)
        if depth > _MAX_DEPTH:
            raise FileFormatError(f"{where}: groups are nested more than {_MAX_DEPTH} deep")
        attributes = {str(name): _read_attribute(source, name, where) for name in source.attrs}
        children: dict[str, Group | Array] = {}
        for name in source:
            place = below(where, str(name))
            if source.id.links.get_info(encoded(name)).type != h5l.TYPE_HARD:
                raise FileFormatError(f"{place}: is a link to elsewhere, which is never followed")
            child = source[name]
            if isinstance(child, h5py.Group):
                children[str(name)] = self.read(child, place, depth + 1)
            elif isinstance(child, h5py.Dataset):
                children[str(name)] = self._read_array(child, place)
            else:
                raise FileFormatError(f"{place}: is neither a group nor a dataset")
        return Group(attributes, children, where)

    def _enter(self, item: h5py.Group | h5py.Dataset, where: str) -> None:
        address = h5o.get_info(item.id).addr
        if address in self.seen:
            raise FileFormatError(f"{where}: is linked more than once")
        self.seen.add(address)

    def _read_array(self, source: h5py.Dataset, where: str) -> Array:
        self._enter(source, where)
        if len(source.attrs):
            raise FileFormatError(f"{where}: attributes of a dataset are not expected")
        dtype = _plain_dtype(source.dtype, "iuS", where)
        plan = source.id.get_create_plist()
        plain = plan.get_layout() == h5d.CONTIGUOUS and not plan.get_nfilters()
        if not plain or plan.get_external_count():
            raise FileFormatError(
                f"{where}: is stored chunked, compressed, virtual or outside of the file; only "
                f"plain contiguous datasets are read"
            )
        shape, stored = source.shape, source.id.get_storage_size()
        if shape is None or len(shape) > _MAX_RANK:
            raise FileFormatError(f"{where}: has no values, or more than {_MAX_RANK} dimensions")
        # Python integers: a product of absurd lengths must not wrap around.
        needed = dtype.itemsize
        for length in shape:
            needed *= int(length)
        end = (source.id.get_offset() or self.file_size) + stored
        if not 0 < needed == stored <= self.bytes_left or end > self.file_size:
            raise FileFormatError(
                f"{where}: shape {shape} of {dtype} asks for {needed} bytes, which the file of "
                f"{self.file_size} bytes does not hold"
            )
        self.bytes_left -= needed
        array = np.empty(shape, dtype)
        source.id.read(h5s.ALL, h5s.ALL, array)
        return array


def _read_attribute(source: h5py.Group, name: str, where: str) -> Scalar:
    attribute = h5a.open(source.id, encoded(name))
    where = f"{where}: attribute {name!r}"
    dtype = _plain_dtype(attribute.dtype, "ifS", where)
    if attribute.shape != () or dtype.itemsize > _MAX_ATTRIBUTE_BYTES:
        raise FileFormatError(
            f"{where} is not a single value of at most {_MAX_ATTRIBUTE_BYTES} bytes"
        )
    value = np.empty((), dtype)
    attribute.read(value)
    if dtype.kind == "S":
        try:
            return bytes(value[()]).decode()
        except UnicodeDecodeError as error:
            raise FileFormatError(f"{where} is not UTF-8 text") from error
    if dtype.itemsize != 8:
        raise FileFormatError(f"{where} is {dtype}; 64 bits are needed")
    plain: int | float = value.item()
    return plain


def _plain_dtype(dtype: np.dtype[np.generic], kinds: str, where: str) -> np.dtype[np.generic]:
    """Refuse all but plain numbers and text of fixed length: no objects, enums, compounds."""
    enum = h5py.check_enum_dtype(dtype) is not None
    if dtype.kind not in kinds or dtype.subdtype is not None or enum:
        allowed = " or ".join(_KIND_NAMES[kind] for kind in kinds if kind in _KIND_NAMES)
        raise FileFormatError(f"{where} has data type {dtype}; {allowed} is needed")
    return dtype


_KIND_NAMES = {"i": "an integer", "f": "a float", "S": "a text of fixed length"}


def encoded(name: str | bytes) -> bytes:
    """Undo h5py's decoding of a name, which may be no UTF-8 in a foreign file: bytes already."""
    return name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")


def _first_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
