"""What is imported later, and only if it is there: names in tables, and optional packages."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any


def imported_when_called(module: str, name: str) -> Callable[..., Any]:
    """Return a stand-in for a class or function that imports it when it is called.

    Args:
        module: where it is defined, in full.
        name: its name there.

    Returns:
        What passes its arguments on and returns what comes back.
    """

    def call(*arguments: Any, **named: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*arguments, **named)

    call.__name__ = name
    return call


def is_installed(package: str) -> bool:
    """Whether an optional package can be imported, without importing it.

    A folder of that name on the way of imports, such as the current one, is no package: Python
    would take it for an empty one.

    Args:
        package: its name, without dots.
    """
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):  # somebody has put something else in its place
        return False
    return found is not None and found.origin is not None
