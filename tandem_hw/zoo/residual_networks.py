"""Residual networks for small images (He et al., arXiv 1512.03385, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tandem_hw.zoo.convolutional_networks import image_shape


class ResidualBlock(nn.Module):
    """Two convolutions whose sum with the block's input passes a ReLU.

    The input is added as it is where its shape is kept, and through a 1x1 convolution elsewhere.
    """

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = _conv3x3(channels, out, stride)
        self.second = _conv3x3(out, out, 1)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        """Return the block's activations, [batch, out, height / stride, width / stride]."""
        hidden = self.second(self.relu(self.first(images)))
        activations: Tensor = self.relu(hidden + self.shortcut(images))
        return activations


def resnet20(input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return the ResNet-20 for 32x32 images: nine blocks of 16, 32 and 64 channels.

    Args:
        input_shape: (channels, height, width).
        classes: number of outputs.
    """
    return _residual("resnet20", input_shape, classes, (16, 32, 64), 3)


def resnet18(input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return a ResNet-18 for 32x32 images: eight blocks of 64 to 512 channels, a 3x3 stem.

    Args:
        input_shape: (channels, height, width).
        classes: number of outputs.
    """
    return _residual("resnet18", input_shape, classes, (64, 128, 256, 512), 2)


def _residual(
    name: str,
    input_shape: tuple[int, ...],
    classes: int,
    widths: Sequence[int],
    blocks: int,
) -> nn.Sequential:
    """Chain a stem, stages of blocks that halve the image, and a pooled linear layer."""
    channels = widths[0]
    modules: list[nn.Module] = [_conv3x3(image_shape(name, input_shape)[0], channels, 1), nn.ReLU()]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            modules.append(ResidualBlock(channels, width, stride))
            channels = width
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
    return nn.Sequential(*modules, *head)


def _conv3x3(channels: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(out)
    )
