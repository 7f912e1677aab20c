"""Networks that come with tandem-hw, as ordinary PyTorch; ``convert`` makes them spike.

Strides take the place of pooling, as in the paper, since a maximum has no exact spiking
counterpart.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Final

import torch
from torch import nn

from tandem_hw.errors import ConversionError
from tandem_hw.zoo.catalogue import MODELS
from tandem_hw.zoo.convolutional_networks import chained_convolutions, image_shape

#: Parameters of the largest network that is made: samples of a small file can have any shape.
_PARAMETERS_MAX: Final = 1 << 28


def mlp(input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return a perceptron with two hidden layers of 256 neurons.

    Args:
        input_shape: shape of one sample, any.
        classes: number of outputs.
    """
    features = math.prod(input_shape)
    return nn.Sequential(
        nn.Flatten(), *_hidden(features, 256), *_hidden(256, 256), nn.Linear(256, classes)
    )


def lenet(input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return conv16s2 - conv32s2 - fc128, for small images such as MNIST's.

    Args:
        input_shape: (channels, height, width).
        classes: number of outputs.
    """
    return _convolutional("lenet", input_shape, classes, [(16, 2, 3), (32, 2, 3)], 128)


def mnistnet(input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return conv16c5s2 - conv32c5s2 - conv64c3s2 - fc128, 164 000 weights on MNIST's images.

    Args:
        input_shape: (channels, height, width).
        classes: number of outputs.
    """
    layers = [(16, 2, 5), (32, 2, 5), (64, 2, 3)]
    return _convolutional("mnistnet", input_shape, classes, layers, 128)


def widemnistnet(input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return conv24c5s2 - conv48c5s2 - conv96c3s2 - fc128, 269 000 weights on MNIST's images.

    Args:
        input_shape: (channels, height, width).
        classes: number of outputs.
    """
    layers = [(24, 2, 5), (48, 2, 5), (96, 2, 3)]
    return _convolutional("widemnistnet", input_shape, classes, layers, 128)


def cifarnet(input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return the paper's CifarNet: 128c3 - 256c3s2 - 512c3s2 - 1024c3 - 512c3 - fc1024.

    Args:
        input_shape: (channels, height, width).
        classes: number of outputs.
    """
    layers = [(128, 1, 3), (256, 2, 3), (512, 2, 3), (1024, 1, 3), (512, 1, 3)]
    return _convolutional("cifarnet", input_shape, classes, layers, 1024)


def eventnet(input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return conv16s2 - conv32s2 - conv64s2 - conv64s2 - conv128s2 - fc128, for event cameras.

    On 128x128 pixels it has 397 000 weights.

    Args:
        input_shape: (channels, height, width).
        classes: number of outputs.
    """
    layers = [(channels, 2, 3) for channels in (16, 32, 64, 64, 128)]
    return _convolutional("eventnet", input_shape, classes, layers, 128)


def build(name: str, input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return a network by name.

    Args:
        name: a key of ``MODELS``.
        input_shape: shape of one sample.
        classes: number of outputs.

    Raises:
        ConversionError: the name is not known, or the shape does not suit the network or makes it
            too large.
    """
    if name not in MODELS:
        raise ConversionError(f'model "{name}" is not known; there are {", ".join(MODELS)}')
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch comments on layers without weights
        parameters = sum(one.numel() for one in MODELS[name](input_shape, classes).parameters())
    if parameters > _PARAMETERS_MAX:
        raise ConversionError(
            f"model {name} would have {parameters} parameters on samples {tuple(input_shape)}; at "
            f"most {_PARAMETERS_MAX} are allowed: give smaller samples or another --model"
        )
    return MODELS[name](input_shape, classes)


def _hidden(features: int, width: int) -> list[nn.Module]:
    return [nn.Linear(features, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]


def _convolutional(
    name: str,
    input_shape: tuple[int, ...],
    classes: int,
    layers: Sequence[tuple[int, int, int]],
    width: int,
) -> nn.Sequential:
    """Chain convolutions of (channels, stride, kernel) and one hidden fully connected layer."""
    modules, features = chained_convolutions(image_shape(name, input_shape), layers)
    hidden = _hidden(features, width)
    return nn.Sequential(*modules, nn.Flatten(), *hidden, nn.Linear(width, classes))
