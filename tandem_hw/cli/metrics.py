"""The numbers by which outputs are judged, for the terminal and for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tandem_hw.training.watching.words import shown as shown


def shown_together(metrics: Mapping[str, float]) -> str:
    """Return several metrics in one line."""
    return ", ".join(shown(name, value) for name, value in metrics.items())


def for_json(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return metrics as JSON can hold them: None in place of what is not finite.

    R^2 of equal targets is not a number, PSNR without an error infinite.
    """
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}
