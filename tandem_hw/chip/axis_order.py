"""In which order Lava keeps the axes of a layer's neurons, and arrays turned from ours into it.

| ours | Lava's |
|---|---|
| (N,) | (N,) |
| (C, L) | (L, 1, C), an image of height 1 |
| (C, H, W) | (W, H, C) |

Source: ``input_shape`` of ``lava/proc/conv/process.py``. No Lava is needed here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.network.quantized import Shape


def lava_shape(shape: Shape) -> Shape:
    """Return Lava's shape of neurons or inputs of a shape of ours."""
    if len(shape) == 2:
        channels, length = shape
        return (length, 1, channels)
    return shape[::-1]


def to_lava(array: npt.NDArray[Any], shape: Shape) -> npt.NDArray[Any]:
    """Turn an array [..., *shape] into [..., *lava_shape(shape)].

    Args:
        array: any dtype; what comes before ``shape`` stays as it is.
        shape: shape of a layer's neurons or of an input.
    """
    lead = array.ndim - len(shape)
    return _reversed(array, lead).reshape(*array.shape[:lead], *lava_shape(shape))


def from_lava(array: npt.NDArray[Any], shape: Shape) -> npt.NDArray[Any]:
    """Turn an array [..., *lava_shape(shape)] into [..., *shape], contiguous in C order.

    Args:
        array: any dtype; what comes before Lava's shape stays as it is.
        shape: shape of a layer's neurons or of an input.
    """
    lead = array.ndim - len(lava_shape(shape))
    return np.ascontiguousarray(_reversed(array, lead).reshape(*array.shape[:lead], *shape))


def _reversed(array: npt.NDArray[Any], lead: int) -> npt.NDArray[Any]:
    """Turn round all axes but the first ``lead``."""
    return array.transpose(*range(lead), *range(array.ndim - 1, lead - 1, -1))
