"""The networks that are measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import nn

from tandem_hw.conversion.convert import convert
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.network.quantized import Reset
from tandem_hw.zoo.convolutional_networks import chained_convolutions, image_shape
from tandem_hw.zoo.models import build

MNIST_SHAPE, CIFAR_SHAPE, CLASSES = (1, 28, 28), (3, 32, 32), 10
#: Length of the window of lenet on MNIST.
MNIST_STEPS: Final = 7
_EIGHT: Final = ((16, 1), (16, 2), (32, 1), (32, 1), (32, 2), (64, 1), (64, 1), (64, 2))
_THIRTEEN: Final = (
    *((16, 1), (16, 2), (32, 1), (32, 2), (64, 1), (64, 1), (64, 2)),
    *([(128, 1)] * 6),
)
#: Channels and strides of chains of 3x3 convolutions, by their names in the tables.
CHAINS: Final = {"eight convolutions": _EIGHT, "thirteen convolutions": _THIRTEEN}


def mnist_lenet() -> nn.Sequential:
    """Return the zoo's lenet for MNIST."""
    return build("lenet", MNIST_SHAPE, CLASSES)


def active_lenet(reset: Reset) -> TandemNetwork:
    """Return an untrained lenet whose batch normalisation has seen some noise: it fires."""
    torch.manual_seed(0)
    model = convert(mnist_lenet(), input_shape=MNIST_SHAPE, num_steps=MNIST_STEPS, reset=reset)
    for _ in range(20):
        model(torch.randint(0, 16, (64, *MNIST_SHAPE), dtype=torch.uint8))
    return model.eval()


def chain(layers: Sequence[tuple[int, int]], shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return 3x3 convolutions of so many channels and strides, with batch normalisation."""
    chained = [(out, stride, 3) for out, stride in layers]
    modules, features = chained_convolutions(image_shape("a chain", shape), chained)
    return nn.Sequential(*modules, nn.Flatten(), nn.Linear(features, classes))


def eight_convolutions() -> nn.Sequential:
    """Return the chain of eight for CIFAR-10's images; ``--model`` takes it from this file."""
    return chain(_EIGHT, CIFAR_SHAPE, CLASSES)


def three_convolutions() -> nn.Sequential:
    """Return 64c3 - 128c3s2 - 256c3s2 - fc10 with batch normalisation, for CIFAR-10's images."""
    modules: list[nn.Module] = []
    channels = CIFAR_SHAPE[0]
    for out, stride in ((64, 1), (128, 2), (256, 2)):
        modules += [
            nn.Conv2d(channels, out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
        ]
        channels = out
    return nn.Sequential(*modules, nn.Flatten(), nn.Linear(256 * 8 * 8, CLASSES))


@dataclass(frozen=True)
class MeasuredNetwork:
    """A network on CIFAR-10's images whose training is measured.

    Attributes:
        build: returns it, with fresh weights.
        num_steps: the T that it is measured at, unless another is asked for.
    """

    build: Callable[[], nn.Module]
    num_steps: int


def _of_the_zoo(name: str, num_steps: int) -> MeasuredNetwork:
    return MeasuredNetwork(partial(build, name, CIFAR_SHAPE, CLASSES), num_steps)


THREE_CONVOLUTIONS: Final = "3-conv"
#: By the names that ``--networks`` takes.
MEASURED: Final = {
    THREE_CONVOLUTIONS: MeasuredNetwork(three_convolutions, 8),
    "vgg16": _of_the_zoo("vgg16", 4),
    "cifarnet": _of_the_zoo("cifarnet", 8),
    "resnet20": _of_the_zoo("resnet20", 4),
}
