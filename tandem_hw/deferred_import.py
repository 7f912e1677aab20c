"""Names that are imported when they are first called, so that a table of them costs nothing."""

from __future__ import annotations

import importlib
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
