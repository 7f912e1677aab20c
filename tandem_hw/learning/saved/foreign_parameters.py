"""The parameters of an ordinary network in what training programs save around them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from torch import Tensor

from tandem_hw.plain_text import plain

#: Levels of dictionaries that are looked into.
_DEPTH_MAX: Final = 3
#: So many names of parameters are listed in a message, and so many lines come below it.
_NAMES_SHOWN: Final = 3
_LINES_SHOWN: Final = 40
_MEANT: Final = "; did you mean "


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
) -> tuple[Mapping[str, Any], list[str]]:
    """Return parameters without what wrappers put before their names, and the names left over.

    ``DataParallel`` puts "module." there, ``torch.compile`` "_orig_mod.", and a module that holds
    the network its attribute's name, such as "model.", "net." or "backbone."; beside the network
    such a module may have parameters of its own, a loss's weights for example.

    Args:
        parameters: by name.
        expected: has the names that the network knows; parameters that fit them in no way are
            returned as they are.

    Raises:
        ValueError: the network's names are there several times, below different wrappers.
    """
    stripped = dict(parameters)
    while stripped and stripped.keys() != expected.keys():
        wrappers = {str(name).partition(".")[0] for name in stripped}
        if len(wrappers) != 1 or not all("." in str(name) for name in stripped):
            return _within_one_wrapper(parameters, expected)
        stripped = {str(name).partition(".")[2]: value for name, value in stripped.items()}
    return stripped, []


def _within_one_wrapper(
    parameters: Mapping[str, Any], expected: Mapping[str, Any]
) -> tuple[Mapping[str, Any], list[str]]:
    """Return what lies below the one wrapper that has all names, and the names beside it."""
    first = next(iter(expected), "")
    names = [str(name) for name in parameters]
    wrappers = [name.removesuffix(first) for name in names if name.endswith(f".{first}")]
    fitting = [one for one in wrappers if all(f"{one}{name}" in parameters for name in expected)]
    if not first or not fitting:
        return parameters, []
    if len(fitting) > 1:
        raise ValueError(
            f"holds the network's parameters {len(fitting)} times, below {', '.join(fitting)}; "
            f"one is needed"
        )
    (wrapper,) = fitting
    inner = {
        str(name).removeprefix(wrapper): value
        for name, value in parameters.items()
        if str(name).startswith(wrapper)
    }
    return inner, [name for name in names if not name.startswith(wrapper)]


def what_differs(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Say which parameters are missing, unexpected, or of another shape.

    Args:
        found: parameters by name.
        wanted: those that the network has.

    Returns:
        A summary with some names of each kind, and where that is not all of it a line for each
        name, with one that is near.
    """
    found = {plain(str(name)): value for name, value in found.items()}
    missing = [name for name in wanted if name not in found]
    unexpected = [name for name in found if name not in wanted]
    shapes = [
        f"{name} {_shape(found[name])} instead of {_shape(value)}"
        for name, value in wanted.items()
        if name in found and _shape(found[name]) != _shape(value)
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    summary = "; ".join(f"{what}: {_some(names)}" for what, names in kinds.items() if names)
    lines = [
        f"missing {name} {_shape(wanted[name])}{_near(name, wanted[name], found)}"
        for name in missing
    ]
    lines += [f"unexpected {name} {_shape(found[name])}" for name in unexpected]
    lines += [f"of another shape {text}" for text in shapes]
    if not any(_MEANT in line for line in lines) and all(
        len(names) <= _NAMES_SHOWN for names in kinds.values()
    ):
        return summary, []
    rest = len(lines) - _LINES_SHOWN
    return summary, lines[:_LINES_SHOWN] + ([f"and {rest} more"] if rest > 0 else [])


def _near(name: str, value: Any, found: Mapping[str, Any]) -> str:
    """Name the parameter of this shape that may be meant: one that ends alike or is spelled so."""
    names = [one for one, other in found.items() if _shape(other) == _shape(value)]
    ending = [one for one in names if one.endswith(f".{name}") or name.endswith(f".{one}")]
    near = ending or difflib.get_close_matches(name, names, n=1)
    return f"{_MEANT}{near[0]}?" if near else ""


def _shape(value: Any) -> list[int]:
    return list(getattr(value, "shape", ()))


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
