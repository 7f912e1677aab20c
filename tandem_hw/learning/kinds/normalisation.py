"""The batch normalisation behind the synapses of a layer."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn

from tandem_hw.learning.architecture import LayerSpec

#: By the number of spatial axes.
_CLASSES: Final[dict[int, Any]] = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d}


def make_norm(spec: LayerSpec, axes: int) -> nn.BatchNorm1d | nn.BatchNorm2d | None:
    """Return the normalisation of a layer, or None where it has none.

    Args:
        spec: a layer with ``out`` channels or features.
        axes: number of their spatial axes.
    """
    if not spec.norm:
        return None
    options = (spec.norm_eps, spec.norm_momentum, spec.norm_affine)
    norm: nn.BatchNorm1d | nn.BatchNorm2d = _CLASSES[axes](spec.out, *options, dtype=torch.float32)
    return norm
