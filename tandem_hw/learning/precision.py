"""What a model's parameters may be made of: the formats that the integers come from exactly.

The integers of a layer follow from its parameters in float64, so float32 and float64 give one and
the same network on every machine. A model that was rounded to float16 or bfloat16 is another one
with an eighth of the digits, and is refused. Speed comes from mixed precision, which leaves the
parameters as they are and computes the gradient alone in bfloat16.
"""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn

from tandem_hw.errors import ConversionError

_EXACT = (torch.float32, torch.float64)


def check_precision(name: str, layer: nn.Module) -> None:
    """Refuse a layer whose parameters and statistics are not all float32, or all float64.

    Args:
        name: name of the layer, for the message.
        layer: a layer, with all modules within it.

    Raises:
        ConversionError: another format, or two; the message says what to do.
    """
    found = {
        tensor.dtype
        for module in layer.modules()
        for tensor in chain(module._parameters.values(), module._buffers.values())
        if tensor is not None and (tensor.is_floating_point() or tensor.is_complex())
    }
    if len(found) == 1 and found.issubset(_EXACT):
        return
    kinds = " and ".join(sorted(str(dtype) for dtype in found))
    raise ConversionError(
        f"layer {name}: its parameters are {kinds}; the chip's integers come from parameters that "
        f"are all torch.float32 or all torch.float64. Use model.float() or model.double(), and "
        f"load the weights again if they were rounded. To train faster, leave the model as it is "
        f"and use torch.autocast or TrainingOptions(mixed_precision=True)"
    )


def check_network_precision(network: nn.Module) -> None:
    """Refuse an ordinary network that is not made of float32 or float64.

    Args:
        network: any module.

    Raises:
        ConversionError: a parameter is of another format.
    """
    for name, parameter in network.named_parameters():
        if parameter.dtype not in _EXACT:
            raise ConversionError(
                f"parameter {name} is {parameter.dtype}; convert takes a network of torch.float32 "
                f"or torch.float64: use network.float() first"
            )
