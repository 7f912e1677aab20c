"""Every field of what ``torch.save`` wrote, and all that is put in the place of each.

Containers are copied along the way to the field that changes, tuples included; all else is shared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

#: Keys from the outermost container to a field.
Place = tuple[Any, ...]
Change = Callable[[dict[Any, Any] | list[Any], Any], None]

#: What takes the place of a value that is no tensor, whatever its type.
VALUES: Final[dict[str, Any]] = {
    "text": "x",
    "none": None,
    "true": True,
    "fraction": 7.5,
    "negative": -1,
    "zero": 0,
    "thousand": 1000,
    "two to the 24": 1 << 24,
    "two to the 40": 1 << 40,
    "minus two to the 62": -(1 << 62),
    "1200 bits": 1 << 1200,
    "infinite": math.inf,
    "no number": math.nan,
    "1e38": 1e38,
    "empty list": [],
    "empty names": {},
    "list": [0],
    "pair": (3, 1 << 40),
    "names": {"a": 1},
    "bytes": b"\xff",
    "single tensor": torch.tensor(1.0),
    "tensor": torch.tensor([math.nan, 1.0]),
}
#: What takes the place of a tensor.
TENSORS: Final[dict[str, Callable[[Tensor], Any]]] = {
    "empty": lambda tensor: tensor.flatten()[:0],
    "shorter": lambda tensor: tensor.flatten()[:-1],
    "an axis more": lambda tensor: tensor.unsqueeze(0),
    "integers": lambda tensor: tensor.to(torch.int32),
    "complex": lambda tensor: tensor.to(torch.complex64),
    "truth values": lambda tensor: tensor.bool(),
    "float64": lambda tensor: tensor.double(),
    "infinite": lambda tensor: _filled(tensor, math.inf),
    "no number": lambda tensor: _filled(tensor, math.nan),
    "negative": lambda tensor: _filled(tensor, -1),
    "1e38": lambda tensor: _filled(tensor, 1e38),
    "zeros": lambda tensor: _filled(tensor, 0),
    "text": lambda _: "x",
    "none": lambda _: None,
    "list": lambda _: [1.0],
    "number": lambda _: 3,
}
#: Names that mean something to whoever takes a dictionary for the attributes of an object.
NAMES: Final = ("step", "get_lr", "__class__", "x", 3, None)


def _filled(tensor: Tensor, value: float) -> Tensor:
    if tensor.is_floating_point():
        return torch.full_like(tensor, value)
    return torch.full_like(tensor, 7 if math.isinf(value) or value > 1e9 else int(value == -1))


def places(content: Any, inside: Place = ()) -> Iterator[Place]:
    """Yield every place in nested dictionaries, lists and tuples, each before those within it."""
    keys = list(content) if isinstance(content, dict) else range(len(content))
    for key in keys:
        yield (*inside, key)
        if isinstance(content[key], dict | list | tuple):
            yield from places(content[key], (*inside, key))


def value_at(content: Any, place: Place) -> Any:
    """Return what is at a place."""
    for key in place:
        content = content[key]
    return content


def changed(content: Any, place: Place, change: Change) -> Any:
    """Return a copy of containers of which the one that holds a place was changed.

    Args:
        content: nested containers, which stay as they are.
        place: in them.
        change: is given a copy of the innermost container, a tuple as a list, and the last key.
    """
    copy: Any = dict(content) if isinstance(content, dict) else list(content)
    key, *rest = place
    if rest:
        copy[key] = changed(content[key], tuple(rest), change)
    else:
        change(copy, key)
    return tuple(copy) if isinstance(content, tuple) else copy


@dataclass(frozen=True)
class Edit:
    """A file of which one field is another one.

    Attributes:
        name: says which field and what is there now.
        content: to be given to ``torch.save``.
    """

    name: str
    content: Any


def edits(content: Any) -> Iterator[Edit]:
    """Yield a file for every field and everything that may be in its place."""
    for place in places(content):
        where = "/".join(map(str, place))
        value = value_at(content, place)
        instead = {name: make(value) for name, make in TENSORS.items()} if isinstance(
            value, Tensor
        ) else VALUES  # fmt: skip
        for name, other in instead.items():
            yield Edit(f"{where} = {name}", changed(content, place, _putting(other)))
        yield Edit(f"{where} missing", changed(content, place, _take_out))
        if isinstance(value_at(content, place[:-1]), dict):
            for other in NAMES:
                yield Edit(f"{where} also {other}", changed(content, place, _naming(other)))


def _putting(value: Any) -> Change:
    def put(holder: Any, key: Any) -> None:
        holder[key] = value

    return put


def _take_out(holder: Any, key: Any) -> None:
    del holder[key]


def _naming(name: Any) -> Change:
    def put(holder: Any, key: Any) -> None:
        holder[name] = holder[key]

    return put
