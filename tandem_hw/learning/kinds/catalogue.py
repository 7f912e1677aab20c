"""Every kind of tandem layer, by the words that a ``LayerSpec`` and a checkpoint have for them."""

from __future__ import annotations

from typing import Final

from tandem_hw.errors import ConversionError
from tandem_hw.learning.architecture import LayerSpec
from tandem_hw.learning.kinds.convolutions import TandemAvgPool, TandemConv, TandemConvTranspose2d
from tandem_hw.learning.kinds.dense import TandemLinear, TandemOneToOne
from tandem_hw.learning.kinds.dropout import TandemDropout
from tandem_hw.learning.kinds.kind import LayerKind
from tandem_hw.learning.kinds.max_pooling import TandemMaxPool

KINDS: Final[dict[str, type[LayerKind]]] = {
    "conv": TandemConv,
    "conv_transpose": TandemConvTranspose2d,
    "linear": TandemLinear,
    "avgpool": TandemAvgPool,
    "maxpool": TandemMaxPool,
    "sum": TandemOneToOne,
    "dropout": TandemDropout,
}


def kind_of(spec: LayerSpec) -> type[LayerKind]:
    """Return what a layer is.

    Args:
        spec: any layer.

    Raises:
        ConversionError: its kind is not known.
    """
    if not isinstance(spec.kind, str) or spec.kind not in KINDS:
        raise ConversionError(f'layer kind "{spec.kind}" is not known; this file is damaged')
    return KINDS[spec.kind]
