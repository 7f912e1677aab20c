"""The numbers by which outputs are judged, for the terminal and for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

_LABELS: Final = {"mse": "MSE", "mae": "MAE", "r2": "R^2", "psnr": "PSNR"}
_UNITS: Final = {"psnr": " dB"}


def shown(name: str, value: float) -> str:
    """Return a metric with its name and unit for the terminal."""
    if name == "accuracy":
        return f"accuracy {value:.2%}"
    return f"{_LABELS.get(name, name)} {value:.4g}{_UNITS.get(name, '')}"


def shown_together(metrics: Mapping[str, float]) -> str:
    """Return several metrics in one line."""
    return ", ".join(shown(name, value) for name, value in metrics.items())


def for_json(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return metrics as JSON can hold them: None in place of what is not finite.

    R^2 of equal targets is not a number, PSNR without an error infinite.
    """
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}
