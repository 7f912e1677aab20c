"""Deep plain convolutional networks for small images, an autoencoder, and one for signals.

Strides take the place of pooling, as in the paper: a maximum has no exact spiking counterpart, and
an average would need neurons of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from tandem_hw.errors import ConversionError

#: Channels of the stages of VGG (Simonyan and Zisserman, arXiv 1409.1556, table 1, A and D).
_VGG11 = ((64,), (128,), (256, 256), (512, 512), (512, 512))
_VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg11(input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return VGG-11 for 32x32 images, with one fully connected layer.

    Args:
        input_shape: (channels, height, width).
        classes: number of outputs.
    """
    return _vgg("vgg11", input_shape, classes, _VGG11)


def vgg16(input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return VGG-16 for 32x32 images, with one fully connected layer.

    Args:
        input_shape: (channels, height, width).
        classes: number of outputs.
    """
    return _vgg("vgg16", input_shape, classes, _VGG16)


def autoencoder(input_shape: tuple[int, ...], classes: int = 0) -> nn.Sequential:
    """Return conv16s2 - conv32s2 - convT16s2 - convT, whose output has the shape of its input.

    Args:
        input_shape: (channels, height, width).
        classes: not used; an image is put out.
    """
    return _autoencoder("autoencoder", input_shape, 32, [])


def compressor(input_shape: tuple[int, ...], classes: int = 0) -> nn.Sequential:
    """Return an autoencoder whose middle holds half as many values as a gray image has pixels.

    conv16s2 - conv32s2 - conv8c1 - convT16s2 - convT.

    Args:
        input_shape: (channels, height, width).
        classes: not used; an image is put out.
    """
    middle = [nn.Conv2d(32, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    return _autoencoder("compressor", input_shape, 8, middle)


def _autoencoder(
    name: str, input_shape: tuple[int, ...], code: int, middle: Sequence[nn.Module]
) -> nn.Sequential:
    """Halve the sides of an image twice, and double them again from ``code`` channels."""
    channels, height, width = image_shape(name, input_shape)
    half = (-(-height // 2), -(-width // 2))
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, 2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        *middle,
        nn.ConvTranspose2d(code, 16, 3, 2, padding=1, output_padding=_even(half), bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.ConvTranspose2d(16, channels, 3, 2, padding=1, output_padding=_even((height, width))),
    )


def signalnet(input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return conv16c7s2 - conv32c5s2 - conv32c5s2 - fc64 along one axis, for signals over time.

    Args:
        input_shape: (channels, length).
        classes: number of outputs.

    Raises:
        ConversionError: samples have another shape.
    """
    if len(input_shape) != 2:
        raise ConversionError(
            f"model signalnet takes signals (channels, length), found samples of shape "
            f"{input_shape}; use --model lenet for images and --model mlp for any others"
        )
    channels, length = input_shape
    modules: list[nn.Module] = []
    for out, stride, kernel in ((16, 2, 7), (32, 2, 5), (32, 2, 5)):
        modules += [
            nn.Conv1d(channels, out, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm1d(out),
            nn.ReLU(),
        ]
        channels, length = out, -(-length // stride)
    hidden = [nn.Linear(channels * length, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU()]
    return nn.Sequential(*modules, nn.Flatten(), *hidden, nn.Linear(64, classes))


def _even(lengths: tuple[int, int]) -> tuple[int, int]:
    """Return what a transposed convolution of stride 2 has to add to reach these lengths."""
    return (1 - lengths[0] % 2, 1 - lengths[1] % 2)


def _vgg(
    name: str, input_shape: tuple[int, ...], classes: int, stages: Sequence[Sequence[int]]
) -> nn.Sequential:
    """Chain 3x3 convolutions; the last one of each stage halves the image."""
    layers = [
        (out, 2 if index == len(stage) - 1 else 1, 3)
        for stage in stages
        for index, out in enumerate(stage)
    ]
    modules, features = chained_convolutions(image_shape(name, input_shape), layers)
    return nn.Sequential(*modules, nn.Flatten(), nn.Linear(features, classes))


def chained_convolutions(
    shape: tuple[int, int, int], layers: Sequence[tuple[int, int, int]]
) -> tuple[list[nn.Module], int]:
    """Chain convolutions, each with batch normalisation and ReLU.

    Args:
        shape: (channels, height, width) of what comes in.
        layers: (channels, stride, kernel) of each; the padding is half a kernel.

    Returns:
        The modules, and how many values the last one puts out.
    """
    channels, height, width = shape
    modules: list[nn.Module] = []
    for out, stride, kernel in layers:
        modules += [
            nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
        ]
        channels, height, width = out, -(-height // stride), -(-width // stride)
    return modules, channels * height * width


def image_shape(name: str, input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the shape of a network's input, and refuse what is no image.

    Args:
        name: of the network, for the message.
        input_shape: shape of one sample.

    Raises:
        ConversionError: it is not (channels, height, width).
    """
    if len(input_shape) != 3:
        of_signals = ", or signalnet for signals" if len(input_shape) == 2 else ""
        raise ConversionError(
            f"model {name} takes images (channels, height, width), found samples of shape "
            f"{input_shape}; use --model mlp{of_signals}"
        )
    return input_shape[0], input_shape[1], input_shape[2]
