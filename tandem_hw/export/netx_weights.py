"""What lava-dl's netx makes of the weights of a dense layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt


def netx_changes(weight: npt.NDArray[np.integer[Any]]) -> bool:
    """Whether weights arrive as others, which happens where all are negative or 0.

    netx moves a matrix up to fill 8 bits and says how many of them it needs
    (``optimize_weight_bits``); Lava clips what it is given, by the signs that it finds, and drops
    the lowest bits (``clip_weights``, ``truncate_weights`` of ``lava/utils/weightutils.py``).

    Args:
        weight: integer weights of a dense layer, as a file has them.
    """
    weight = weight.astype(np.int64)
    low, high = int(weight.min()), int(weight.max())
    if low == high == 0:
        return False  # nothing to change
    signed = low < 0 <= high
    limits = [128 / -low] if signed and high == 0 else [256 / -low] if high < 0 else [255 / high]
    if signed and high > 0:
        limits = [127 / high, 128 / -low]
    up = math.floor(math.log2(min(limits))) + signed
    zeros = next(n for n in range(8, -1, -1) if not np.any(weight % (1 << n)))
    mixed = low < 0 < high  # as Lava sees it
    cut = max(0, up + zeros - signed + mixed)
    moved = np.abs(weight) << max(0, up)
    if not mixed and low < 0:
        kept = np.minimum(moved, 255)
    else:
        kept = np.where(weight < 0, np.minimum(moved, 256), np.minimum(moved, 255))
    # Rounding down and rounding toward zero agree on what is kept: nothing may be cut at all.
    return bool(up < 0 or np.any(kept != moved) or np.any(moved & ((1 << cut) - 1)))
