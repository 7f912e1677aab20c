"""What a network's outputs mean: what it was trained for, and what its classes are called.

It says how a network is judged and shown, and changes nothing of what is computed: two networks
that differ in it alone have the same digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from tandem_hw.counted import counted
from tandem_hw.errors import DataError, NetworkError

#: What a network can be trained for (``tandem_hw.training.objectives``).
ObjectiveName = Literal["classification", "regression", "reconstruction"]
#: Bytes that the names of all classes take in a file, as JSON: an attribute of HDF5 holds 64 KiB.
NAMES_BYTES_MAX: Final = 60_000
_OBJECTIVE, _CLASS_NAMES = "objective", "class_names"
#: In files of networks: the SHA-256 of the two others, which the digest of the network leaves out.
_DIGEST: Final = "meaning_digest"


@dataclass(frozen=True)
class OutputMeaning:
    """What a network's outputs mean.

    Attributes:
        objective: what it was trained for: "classification", "regression" or "reconstruction".
        class_names: what the classes of a classification are called, in the order of the outputs;
            empty where they have no names.

    Raises:
        NetworkError: there is no such objective, or the names are none: empty, twice the same, too
            long together, or not of a classification.
    """

    objective: str
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the words."""
        allowed = get_args(ObjectiveName)
        if self.objective not in allowed:
            raise NetworkError(f"objective is {self.objective!r}; allowed are {', '.join(allowed)}")
        if not isinstance(self.class_names, tuple | list):
            raise NetworkError(f"class_names are {self.class_names!r}; give a tuple of texts")
        object.__setattr__(self, "class_names", tuple(self.class_names))
        self._check_names()

    def _check_names(self) -> None:
        names = self.class_names
        if names and self.objective != "classification":
            raise NetworkError(f"a {self.objective} has no classes; leave class_names away")
        for number, name in enumerate(names):
            if not isinstance(name, str) or not name:
                raise NetworkError(f"the name of class {number} is {name!r}; give a text")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise NetworkError(f"{names.count(twice)} classes are called {twice!r}; give one each")
        try:
            size = len(_as_json(names).encode())
        except UnicodeEncodeError as error:  # half of a pair of UTF-16, which no file can hold
            odd = error.object[error.start]
            raise NetworkError(
                f"the name of a class is no text in UTF-8 ({odd!r}); rename it"
            ) from error
        if size > NAMES_BYTES_MAX:
            raise NetworkError(
                f"the names of the {counted(len(names), 'class', 'classes')} take {size} bytes; at "
                f"most {NAMES_BYTES_MAX} are kept: give shorter ones, or number the classes from "
                f"0, which needs no names"
            )

    def check_outputs(self, outputs: int) -> None:
        """Refuse names of more classes than there are outputs.

        Args:
            outputs: number of a network's outputs.

        Raises:
            NetworkError: says how many there are.
        """
        if len(self.class_names) > outputs:
            raise NetworkError(
                f"{counted(len(self.class_names), 'class has a name', 'classes have names')}, and "
                f"the network {counted(outputs, 'output')}"
            )

    def name_of(self, label: int) -> str:
        """Return what a class is called: its name, or its number."""
        return self.class_names[label] if label < len(self.class_names) else str(label)

    def classes_differ(self, other: OutputMeaning | None) -> str:
        """Say how the classes of another network are other ones; "" where both may be the same.

        They may be where one of the two has no names.

        Args:
            other: what another network's outputs mean, or None.
        """
        others = () if other is None else other.class_names
        if not self.class_names or not others or self.class_names == others:
            return ""
        return f"its classes are {_some(self.class_names)}, not {_some(others)}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; names that are none go without saying."""
        names = {_CLASS_NAMES: list(self.class_names)} if self.class_names else {}
        return {_OBJECTIVE: self.objective, **names}

    @classmethod
    def from_dict(cls, content: Any) -> OutputMeaning:
        """Return what ``to_dict`` made plain data of.

        Raises:
            NetworkError: it is something else.
        """
        known = {_OBJECTIVE, _CLASS_NAMES}
        if not isinstance(content, Mapping) or not {_OBJECTIVE} <= content.keys() <= known:
            raise NetworkError("its meaning is no objective with the names of classes")
        return cls(content[_OBJECTIVE], content.get(_CLASS_NAMES, ()))

    def to_attributes(self) -> dict[str, str]:
        """Return it as the attributes of a network's file."""
        named = {_OBJECTIVE: self.objective}
        if self.class_names:
            named[_CLASS_NAMES] = _as_json(self.class_names)
        return named | {_DIGEST: _digest(named)}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, object]) -> OutputMeaning | None:
        """Return what the attributes of a network's file say of its outputs; None if nothing.

        Args:
            attributes: all of the file's.

        Raises:
            NetworkError: they are none, or do not match their digest.
        """
        named = {
            name: attributes[name] for name in (_OBJECTIVE, _CLASS_NAMES) if name in attributes
        }
        if not named and _DIGEST not in attributes:
            return None
        texts = {name: value for name, value in named.items() if isinstance(value, str)}
        if _OBJECTIVE not in texts or texts != named or attributes.get(_DIGEST) != _digest(texts):
            raise NetworkError(f"{', '.join([*named, _DIGEST])} do not match each other")
        try:
            names = json.loads(texts.get(_CLASS_NAMES, "[]"))
        except (ValueError, RecursionError) as error:
            raise NetworkError(f"{_CLASS_NAMES} are no list of texts ({error})") from error
        return cls.from_dict({_OBJECTIVE: texts[_OBJECTIVE], _CLASS_NAMES: names})


def _as_json(names: Sequence[str]) -> str:
    return json.dumps(list(names), ensure_ascii=False, separators=(",", ":"))


def _digest(named: Mapping[str, str]) -> str:
    said = "\n".join(f"{name}={text}" for name, text in named.items())
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


def class_order(names: tuple[str, ...], wanted: tuple[str, ...], owner: str) -> list[int]:
    """Return by which number a network knows each class of a data set, by their names.

    Args:
        names: of the data set's classes, in the order of its labels.
        wanted: of the network's, in the order of its outputs.
        owner: the data set, for the message.

    Raises:
        DataError: the network does not know a class of that name.
    """
    unknown = [name for name in names if name not in wanted]
    if unknown:
        raise DataError(
            f"{owner}: has the class {unknown[0]!r}, and the network was trained for "
            f"{_some(wanted)}; give data of these classes"
        )
    return [wanted.index(name) for name in names]


def _some(names: tuple[str, ...], shown: int = 8) -> str:
    """Return some names in one line."""
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")
