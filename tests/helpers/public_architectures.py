"""Architectures of torchvision in plain PyTorch, as papers and documentation describe them.

A width below 1 gives every layer that share of its channels, for tests that must not take long.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.helpers.graph_networks import Block

CLASSES = 1000


def vgg11_bn(width: float = 1.0, classes: int = CLASSES) -> nn.Module:
    """VGG-11 with batch normalisation (Simonyan and Zisserman 2014, configuration A)."""
    layers: list[nn.Module] = []
    channels = 3
    for block in ((64,), (128,), (256, 256), (512, 512), (512, 512)):
        for full in block:
            out = _share(full, width)
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out)]
            layers += [nn.ReLU(inplace=True)]
            channels = out
        layers.append(nn.MaxPool2d(2, 2))
    hidden = _share(4096, width)
    return nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d((7, 7)),
        nn.Flatten(),
        *(nn.Linear(channels * 49, hidden), nn.ReLU(True), nn.Dropout()),
        *(nn.Linear(hidden, hidden), nn.ReLU(True), nn.Dropout()),
        nn.Linear(hidden, classes),
    )


class ResNet18(nn.Module):
    """ResNet-18 for ImageNet (He et al. 2015)."""

    def __init__(self, width: float = 1.0, classes: int = CLASSES) -> None:
        super().__init__()
        sizes = [_share(full, width) for full in (64, 128, 256, 512)]
        self.conv1 = nn.Conv2d(3, sizes[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(sizes[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        blocks: list[nn.Module] = []
        for before, size in zip((sizes[0], *sizes), sizes, strict=False):
            stride = 1 if not blocks else 2
            blocks += [Block(before, size, stride), Block(size, size, 1)]
        self.blocks = nn.Sequential(*blocks)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(sizes[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.avgpool(self.blocks(x))
        return self.fc(torch.flatten(x, 1))  # type: ignore[no-any-return]


class Fire(nn.Module):
    """A narrow layer, and two kernels behind it whose results are joined."""

    def __init__(self, channels: int, narrow: int, out: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, narrow, 1)
        self.expand1x1 = nn.Conv2d(narrow, out, 1)
        self.expand3x3 = nn.Conv2d(narrow, out, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.squeeze(x))
        return torch.cat([self.relu(self.expand1x1(x)), self.relu(self.expand3x3(x))], 1)


def squeezenet1_1(width: float = 1.0, classes: int = CLASSES) -> nn.Module:
    """SqueezeNet 1.1 (Iandola et al. 2016), whose result is an average behind a ReLU."""

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    stem = _share(64, width)
    parts: list[nn.Module] = [nn.Conv2d(3, stem, 3, 2), nn.ReLU(inplace=True), pool()]
    channels = stem
    sizes: Sequence[tuple[int, int]] = (
        *((16, 64), (16, 64), (0, 0), (32, 128), (32, 128), (0, 0)),
        *((48, 192), (48, 192), (64, 256), (64, 256)),
    )
    for narrow, out in sizes:
        if not narrow:
            parts.append(pool())
            continue
        parts.append(Fire(channels, _share(narrow, width), _share(out, width)))
        channels = 2 * _share(out, width)
    parts += [nn.Dropout(), nn.Conv2d(channels, classes, 1), nn.ReLU(inplace=True)]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten())


class InvertedResidual(nn.Module):
    """A wide depthwise layer between two narrow ones, the last of which has no activation."""

    def __init__(self, channels: int, out: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.adds = stride == 1 and channels == out
        self.layers = nn.Sequential(
            *(nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            *(nn.BatchNorm2d(wide), nn.ReLU6()),
            *(nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out)),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return x + out if self.adds else out


def mobilenet_v2(width: float = 1.0, classes: int = CLASSES) -> nn.Module:
    """The first blocks of MobileNetV2 (Sandler et al. 2018), which are like the others."""
    sizes = [_share(full, width) for full in (32, 16, 24)]
    return nn.Sequential(
        *(nn.Conv2d(3, sizes[0], 3, 2, 1, bias=False), nn.BatchNorm2d(sizes[0]), nn.ReLU6()),
        InvertedResidual(sizes[0], sizes[1], 1, 1),
        InvertedResidual(sizes[1], sizes[2], 2, 6),
        InvertedResidual(sizes[2], sizes[2], 1, 6),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(sizes[2], classes)),
    )


def _share(full: int, width: float) -> int:
    return max(1, round(full * width))
