"""NIR files as plain trees: what ``nir.write`` stores, read without trust.

``nir.read`` follows every link, loads every filter and allocates whatever a file asks for. Here a
file is bounded, and its links and filters are looked at, before anything of it is used; NIR gets
the tree that is left. ``nir`` itself is an optional extra and is imported late.
"""

from __future__ import annotations

import io
import os
from collections.abc import Set
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, TypeAlias

import numpy as np
from h5py import h5o

from tandem_hw.atomic_write import write_whole
from tandem_hw.errors import BackendUnavailableError, FileFormatError, how_to_install
from tandem_hw.export.hdf5_items import EXPANDED_BYTES_MAX, Entry, open_items
from tandem_hw.export.items import Items, below, shown

#: A node or a graph: numbers (NumPy arrays and Python's), texts, lists of texts, and trees.
Tree: TypeAlias = dict[str, Any]

#: The group of a file in which NIR keeps the graph.
_ROOT: Final = "node"
_DEPTH_MAX: Final = 8
#: More groups and datasets than any network of ours has.
_ITEMS_MAX: Final = 1 << 16


@dataclass(frozen=True, eq=False)
class TreeItems(Items):
    """The items of a tree.

    Attributes:
        tree: a node or a graph, as ``NIRNode.to_dict`` returns it.
        location: for messages, such as "net.nir: /node".
    """

    tree: Tree
    location: str

    @property
    def names(self) -> Set[str]:
        """Names of all items."""
        return self.tree.keys()

    def where(self, name: str) -> str:
        """Return the place of an item for a message."""
        return below(self.location, name)

    def _stored(self, name: str) -> Any:
        found = self.tree[name]
        return TreeItems(found, self.where(name)) if isinstance(found, dict) else found


def load_nir() -> ModuleType:
    """Import and return ``nir``.

    Raises:
        BackendUnavailableError: it is not installed.
    """
    try:
        import nir
    except ImportError as error:
        raise BackendUnavailableError(
            f"NIR files need the package nir: {how_to_install('nir')}"
        ) from error
    module: ModuleType = nir
    return module


class _Writable:
    """What ``nir.write`` takes: anything that has a tree."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def to_dict(self) -> Tree:
        """Return the tree."""
        return self.tree


def write_nir_tree(path: str | os.PathLike[str], tree: Tree) -> None:
    """Write a tree as ``nir.write`` writes a graph, whole or not at all.

    Args:
        path: the file, by custom ``*.nir``.
        tree: a graph as ``NIRGraph.to_dict`` returns it; nodes of types that NIR does not know are
            written all the same.

    Raises:
        BackendUnavailableError: ``nir`` is not installed.
        FileFormatError: the path cannot be written to.
    """
    in_memory = io.BytesIO()  # see ``hdf5_tree.write_tree``
    load_nir().write(in_memory, _Writable(tree))
    write_whole(path, in_memory.getvalue())


def read_nir_tree(path: str | os.PathLike[str], expanded_max: int = EXPANDED_BYTES_MAX) -> Tree:
    """Read the graph of a NIR file.

    Args:
        path: a file that ``nir.write`` wrote.
        expanded_max: bytes that the values of a small compressed file may have.

    Returns:
        The tree of its graph; numbers are NumPy arrays.

    Raises:
        FileFormatError: the file is missing, damaged, no NIR file, too large, or has links to
            elsewhere, data outside of itself, or filters that are not part of HDF5.
    """
    with open_items(path, expanded_max) as root:
        if not root.has(_ROOT) or not root.has("version"):
            raise FileFormatError(
                f'{path}: an HDF5 file, but not of NIR, which has "version" and "{_ROOT}"; a .net '
                f"file needs the suffix .net"
            )
        return _Reader().read(root.group(_ROOT), depth=0)


class _Reader:
    """Reads groups, each of them once."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.items_left = _ITEMS_MAX

    def read(self, entry: Entry, depth: int) -> Tree:
        """Return a group and what is below it."""
        address = h5o.get_info(entry.opened.id).addr
        if address in self.seen:
            raise FileFormatError(f"{entry.location} is linked more than once")
        self.seen.add(address)
        if depth > _DEPTH_MAX:
            raise FileFormatError(f"{entry.location}: groups are over {_DEPTH_MAX} deep")
        self.items_left -= len(entry.opened)
        if self.items_left < 0:
            raise FileFormatError(f"{entry.location}: the file has over {_ITEMS_MAX} items")
        tree: Tree = {}
        for name in sorted(entry.names):
            is_group = entry.is_group(name)
            tree[name] = self.read(entry.group(name), depth + 1) if is_group else entry.values(name)
        return tree


def check_same_tree(found: Tree, expected: Tree, where: str) -> None:
    """Refuse a tree whose content is not the expected one; how it is stored does not matter.

    Args:
        found: as ``read_nir_tree`` returned it.
        expected: what it must equal.
        where: the place of both for messages.

    Raises:
        FileFormatError: naming the first item that is missing, not expected or different.
    """
    for name in sorted(found.keys() | expected.keys()):
        place = below(where, name)
        if name not in found:
            raise FileFormatError(f"{place} is missing")
        if name not in expected:
            raise FileFormatError(f"{place} is not expected")
        value, wanted = found[name], expected[name]
        if isinstance(value, dict) and isinstance(wanted, dict):
            check_same_tree(value, wanted, place)
        elif isinstance(value, dict) or isinstance(wanted, dict) or not _same(value, wanted):
            raise FileFormatError(
                f"{place} differs from what the network says, {_shortly(wanted)}: the file was "
                f"changed after its export"
            )


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, str) or isinstance(wanted, str):  # an array would be compared by items
        return isinstance(value, str) and isinstance(wanted, str) and value == wanted
    one, other = np.asarray(value), np.asarray(wanted)
    textual = (one.dtype.kind in "OUS", other.dtype.kind in "OUS")
    return one.shape == other.shape and textual[0] == textual[1] and bool(np.all(one == other))


def _shortly(value: Any) -> str:
    if isinstance(value, dict):
        return "a group"
    if isinstance(value, str):
        return shown(value)
    array = np.asarray(value)
    return str(array.tolist()) if array.size <= 4 else f"an array of shape {array.shape}"
