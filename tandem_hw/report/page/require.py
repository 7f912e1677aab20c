"""What a report or a picture needs, refused before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tandem_hw.errors import FileFormatError
from tandem_hw.report.plots import require_packages

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
    require_packages("reports", "report", "matplotlib.figure", "jinja2")


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
    require_packages("pictures of traces", "report", "matplotlib.figure")
