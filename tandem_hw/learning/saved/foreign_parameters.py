"""The parameters of an ordinary network in what training programs save around them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from torch import Tensor

#: Levels of dictionaries that are looked into.
_DEPTH_MAX: Final = 3


def find_parameters(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the dictionary of parameters in a file's content.

    It is the content itself, or the one dictionary of tensors somewhere in it, as in
    ``{"epoch": 3, "state_dict": {...}, "optimizer": {...}}``.

    Args:
        content: as it was read.

    Raises:
        ValueError: there is none, or more than one; the message names them.
    """
    if any(isinstance(value, Tensor) for value in content.values()):
        return content
    found = dict(_dictionaries(content, "", set()))
    if len(found) != 1:
        names = ", ".join(found) or "none"
        raise ValueError(f"holds {len(found)} dictionaries of parameters ({names}); one is needed")
    return next(iter(found.values()))


def _dictionaries(
    content: Mapping[str, Any], path: str, seen: set[int], depth: int = 1
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Walk the dictionaries of named tensors, with their places, each of them once."""
    for name, value in content.items():
        if not isinstance(value, dict) or id(value) in seen:
            continue
        seen.add(id(value))
        if not all(isinstance(key, str) for key in value):
            continue
        if value and all(isinstance(item, Tensor) for item in value.values()):
            yield f"{path}{name}", value
        elif depth < _DEPTH_MAX:
            yield from _dictionaries(value, f"{path}{name}.", seen, depth + 1)


def without_wrapper(
    parameters: Mapping[str, Any], expected: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return parameters without what wrappers put before their names.

    ``DataParallel`` puts "module." there, ``torch.compile`` "_orig_mod.", and a module that holds
    the network its attribute's name, such as "model.".

    Args:
        parameters: by name.
        expected: has the names that the network knows; parameters that fit them in no way are
            returned as they are.
    """
    stripped = dict(parameters)
    while stripped and stripped.keys() != expected.keys():
        wrappers = {str(name).partition(".")[0] for name in stripped}
        if len(wrappers) != 1 or not all("." in str(name) for name in stripped):
            return parameters
        stripped = {str(name).partition(".")[2]: value for name, value in stripped.items()}
    return stripped
