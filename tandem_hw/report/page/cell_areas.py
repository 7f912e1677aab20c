"""Many rectangles of one look as a single area, which takes a tenth of the room in a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def fill_cells(axes: Axes, cells: Sequence[tuple[float, float, float, float]], **look: Any) -> None:
    """Fill rectangles.

    Args:
        axes: where.
        cells: left, top, right and bottom of each, in the axes' coordinates.
        look: colours and the like, as matplotlib's patches take them.
    """
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if not cells:
        return
    corners = [
        [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        for left, top, right, bottom in cells
    ]
    around = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    path = Path(np.concatenate(corners), around * len(cells))
    axes.add_patch(PathPatch(path, **look))
