"""What a report or a picture needs, refused before any work."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Final

from tandem_hw.errors import BackendUnavailableError, FileFormatError, how_to_install
from tandem_hw.report.plots import give_home

_PICTURES: Final = (".svg", ".png")


def require_report(path: Path) -> None:
    """Refuse a report that could not be written at the end; call it before any work.

    Args:
        path: where it shall be written.

    Raises:
        FileFormatError: the name does not end in .html.
        BackendUnavailableError: a package is missing.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise FileFormatError(f"{path}: reports are HTML; give a name that ends in .html")
    _require("reports", "matplotlib.figure", "jinja2")


def require_picture(path: Path) -> None:
    """Refuse a picture of a trace that could not be written at the end; call it before any work.

    Args:
        path: where it shall be written.

    Raises:
        FileFormatError: the name ends neither in .svg nor in .png.
        BackendUnavailableError: matplotlib is missing.
    """
    if path.suffix.lower() not in _PICTURES:
        raise FileFormatError(
            f"{path}: traces are drawn as SVG or PNG; give a name that ends in .svg or .png"
        )
    _require("pictures of traces", "matplotlib.figure")


def _require(what: str, *modules: str) -> None:
    give_home()
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise BackendUnavailableError(
                f"{what} need {module.partition('.')[0]}, which cannot be imported ({error}): "
                f"{how_to_install('report')}"
            ) from error
