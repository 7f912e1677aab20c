"""Pictures as SVG, drawn by matplotlib without a screen and without its global settings.

Text stays text. In a page the colours become those of the page, which know light and dark, and all
ids get a prefix of their own, so that many pictures can be in one page. The same input gives the
same bytes.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree

from tandem_hw.plain_text import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Colours as they are on white paper; in a page a variable of its style takes the place of each.
INK: Final = "#1a1c20"
FAINT: Final = "#8b9099"
SERIES: Final = ("#1f5fa8", "#b3541e", "#2f7d4f", "#7a4fa3", "#8a6d00", "#3b7f8c")
ALARM: Final = "#b3261e"
_VARIABLES: Final = {
    INK: "currentColor",
    FAINT: "var(--faint)",
    ALARM: "var(--alarm)",
    **{color: f"var(--s{number})" for number, color in enumerate(SERIES)},
}
#: Inches; on a telephone of 390 pixels such a picture is shown nearly as it is.
WIDTH: Final = 4.2
HEIGHT: Final = 2.6
#: Characters of a name that a picture shows; tables show all of them.
NAME_LENGTH: Final = 16
_SETTINGS: Final[dict[str, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tandem-hw",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), FAINT),
    "grid.alpha": 0.35,
}

Draw = Callable[["Figure"], None]


@contextmanager
def _own_settings() -> Iterator[None]:
    """Have matplotlib draw with our settings, whatever those of the user are."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # A font that this machine lacks only changes how much room a text is given.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def drawn(draw: Draw, width: float, height: float, kind: str) -> bytes:
    """Return a picture as the content of a file.

    Args:
        draw: draws it on a figure with constrained layout.
        width: of the figure in inches.
        height: of the figure in inches.
        kind: "svg" or "png".
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    content = io.BytesIO()
    with _own_settings():
        figure = Figure(figsize=(width, height), layout="constrained")
        if kind == "svg":
            FigureCanvasSVG(figure)
            told: dict[str, Any] = {"Date": None, "Creator": None, "Format": None, "Type": None}
            draw(figure)
            figure.savefig(content, format="svg", metadata=told)
        else:
            FigureCanvasAgg(figure)
            draw(figure)
            figure.savefig(content, format="png", dpi=150, facecolor="white")
    return content.getvalue()


def svg_of(draw: Draw, key: str, title: str, description: str, *, height: float = HEIGHT) -> str:
    """Return a picture as an element for a page.

    Args:
        draw: draws it on a figure with constrained layout.
        key: unique in the page, letters, digits and hyphens.
        title: what it shows, in a few words.
        description: what there is to see, in words.
        height: of the figure in inches.
    """
    picture = ElementTree.fromstring(drawn(draw, WIDTH, height, "svg"))
    for parent in picture.iter():
        for child in [one for one in parent if _name(one.tag) in ("metadata", "style")]:
            parent.remove(child)
    for element in picture.iter():
        element.tag = _name(element.tag)
        attributes = {_name(name): value for name, value in element.attrib.items()}
        element.attrib = {name: _in_page(name, value, key) for name, value in attributes.items()}
    titles = [ElementTree.Element(name, id=f"{key}-{name}") for name in ("title", "desc")]
    for element, text in zip(titles, (title, description), strict=True):
        element.text = plain(text)
    picture[:0] = titles
    picture.attrib = {
        "viewBox": picture.attrib["viewBox"],
        "role": "img",
        "aria-labelledby": f"{key}-title {key}-desc",
    }
    return ElementTree.tostring(picture, encoding="unicode")


def _name(name: str) -> str:
    """Return the name of an element or attribute without its name space."""
    return name.rpartition("}")[2]


def _in_page(name: str, value: str, key: str) -> str:
    """Return the value of an attribute as it is in a page."""
    if name == "id":
        return f"{key}-{value}"
    if name == "href":
        return value.replace("#", f"#{key}-", 1)
    if name in ("style", "fill", "stroke"):
        for color, variable in _VARIABLES.items():
            value = value.replace(color, variable)
    elif name in ("d", "transform", "x", "y", "points"):
        value = re.sub(r"(?<=\.\d\d)\d+", "", value)  # hundredths of a point are enough
        value = value.replace("\n", "")
    return value.replace("url(#", f"url(#{key}-")


def short(name: str) -> str:
    """Return a name as a picture shows it."""
    name = plain(name, longest=None)
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"
