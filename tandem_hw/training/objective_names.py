"""The names of the objectives (``tandem_hw.training.objectives``), checked without PyTorch."""

from __future__ import annotations

from typing import get_args

from tandem_hw.errors import DataError
from tandem_hw.network.output_meaning import ObjectiveName
from tandem_hw.ranges import SHARE

__all__ = ["ObjectiveName", "check_objective"]


def check_objective(name: str, label_smoothing: float) -> None:
    """Refuse an objective that there is not.

    Args:
        name: "classification", "regression" or "reconstruction".
        label_smoothing: of a classification, 0 to below 1; 0 of the others.

    Raises:
        DataError: the name is unknown, the share is out of range, or something else than labels
            shall be smoothed.
    """
    allowed = get_args(ObjectiveName)
    if name not in allowed:
        raise DataError(f'objective is "{name}"; allowed are {", ".join(allowed)}')
    SHARE.check("label_smoothing", label_smoothing, DataError)
    if name != "classification" and label_smoothing:
        raise DataError(f"label_smoothing is for labels; a {name} has none, set it to 0")
