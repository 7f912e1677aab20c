"""Items of a tree, each taken out as the type that it must have.

Our own HDF5 files, those of others and NIR graphs are trees of another making each. Whoever asks
for an item says what it needs; an item that is something else is refused with its place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence, Set
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import FileFormatError
from tandem_hw.ranges import whole_number

Array: TypeAlias = npt.NDArray[np.generic]
Own = TypeVar("Own", bound="Items")
Name = TypeVar("Name", bound=str)

#: Axes of a shape, and of what has a number for each of them.
_AXES_MAX: Final = 3
#: From here on a float is no longer sure to be the whole number that was meant.
_FLOAT_WHOLE_MAX: Final = 1 << 53
#: Longer than anything is called that a reader knows by name.
_NAME_LENGTH_MAX: Final = 64
#: Characters of a value that a message shows.
_SHOWN_LENGTH: Final = 60


class Items(ABC):
    """Named items: groups of further ones, numbers and texts.

    All methods raise FileFormatError, which names the item, where it is missing or of another kind.
    """

    @property
    @abstractmethod
    def names(self) -> Set[str]:
        """Names of all items."""

    @abstractmethod
    def where(self, name: str) -> str:
        """Return the place of an item for a message, whether it is there or not."""

    @abstractmethod
    def _stored(self, name: str) -> object:
        """Return an item that is there: Items, a text, or what NumPy makes an array of."""

    def has(self, name: str) -> bool:
        """Whether there is an item of this name, whatever it is."""
        return name in self.names

    def group(self: Own, name: str) -> Own:
        """Return a group of items."""
        found = self._item(name)
        if not isinstance(found, type(self)):
            raise FileFormatError(
                f"{self.where(name)} is not a group: it is a dataset; a group is needed"
            )
        return found

    def array(self, name: str) -> Array:
        """Return an item that is no group, as an array of whatever type."""
        return self._array(name, self._item(name))

    def reals(self, name: str) -> npt.NDArray[np.float64]:
        """Return an array of finite numbers."""
        found = self._numbers(name)
        if not np.all(np.isfinite(found)):
            raise FileFormatError(f"{self.where(name)} is not made of finite numbers")
        return found.astype(np.float64)

    def real(self, name: str) -> float:
        """Return one finite number."""
        return float(self._single(name, self.reals(name)).item())

    def integers(self, name: str) -> npt.NDArray[np.int64]:
        """Return an array of whole numbers, stored as integers, floats or truth values."""
        found = self._numbers(name)
        if found.dtype.kind in "iub":
            if found.dtype == np.uint64 and found.size and found.max() > np.iinfo(np.int64).max:
                raise FileFormatError(f"{self.where(name)} holds a number of over 63 bits")
            return found.astype(np.int64)
        if not np.all(np.abs(found) < _FLOAT_WHOLE_MAX):
            raise FileFormatError(f"{self.where(name)} holds a value that is no finite integer")
        whole = found.astype(np.int64)
        if np.any(whole != found):
            first = float(found[whole != found].reshape(-1)[0])
            raise FileFormatError(
                f"{self.where(name)} holds {first}, which is no integer: no whole number can be "
                f"read there; quantize the network before it is exported"
            )
        return whole

    def integer(self, name: str, allowed: range | None = None) -> int:
        """Return one whole number, of a range if there is one."""
        value = int(self._single(name, self.integers(name)).item())
        if allowed is not None:
            whole_number(self.where(name), value, allowed, FileFormatError)
        return value

    def axes(self, name: str) -> tuple[int, ...]:
        """Return whole numbers, one for each axis of something: a shape, or a stride."""
        values = self.integers(name).reshape(-1)
        if values.size > _AXES_MAX:
            raise FileFormatError(
                f"{self.where(name)} holds {values.size} values; at most {_AXES_MAX} can be"
            )
        return tuple(values.tolist())

    def text(self, name: str, longest: int | None = _NAME_LENGTH_MAX) -> str:
        """Return one text, by default a name that can go into messages; any text for None."""
        found = self._item(name)
        if not isinstance(found, str):
            array = self._array(name, found)
            if array.dtype.kind not in "SU":
                raise FileFormatError(
                    f"{self.where(name)} is {array.dtype}; one text is needed, and this is not a "
                    f"text"
                )
            value = self._single(name, array).reshape(-1)[0]
            is_bytes = isinstance(value, bytes)
            found = value.decode("ascii", "backslashreplace") if is_bytes else str(value)
        if longest is not None and (len(found) > longest or not found.isprintable()):
            raise FileFormatError(f"{self.where(name)} is {shown(found)}; a short name is needed")
        return found

    def choice(self, name: str, allowed: Sequence[Name]) -> Name:
        """Return the one of some texts that is stored."""
        found = self.text(name, longest=None)
        for one in allowed:
            if one == found:
                return one
        raise FileFormatError(
            f"{self.where(name)} is {shown(found)}, which is unknown or damaged; allowed are "
            f"{', '.join(allowed)}"
        )

    def _item(self, name: str) -> object:
        if not self.has(name):
            raise FileFormatError(f"{self.where(name)} is missing")
        return self._stored(name)

    def _array(self, name: str, found: object) -> Array:
        if isinstance(found, Items):
            raise FileFormatError(f"{self.where(name)} is a group; a dataset is needed")
        # NumPy would give each of many texts the room of the longest.
        several = found if isinstance(found, list | tuple) and len(found) > 1 else ()
        if any(isinstance(one, str | bytes) for one in several):
            raise FileFormatError(
                f"{self.where(name)} holds {len(several)} values; one is needed, since there are "
                f"texts among them"
            )
        return np.asarray(found)

    def _numbers(self, name: str) -> Array:
        found = self.array(name)
        if found.dtype.kind not in "iufb":
            raise FileFormatError(f"{self.where(name)} is {found.dtype}; numbers are needed")
        return found

    def _single(self, name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if values.size != 1:
            raise FileFormatError(f"{self.where(name)} holds {values.size} values; one is needed")
        return values


def shown(value: object) -> str:
    """Return a value of a file for a message: quoted, and not at any length."""
    text = repr(value)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…"


def below(where: str, name: str) -> str:
    """Return the place of an item within the place of its group, for messages."""
    return f"{where.rstrip('/')}/{ascii(name)[1:-1]}"
