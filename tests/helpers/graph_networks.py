"""Ordinary networks of all kinds, as people write them, and their conversion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tandem_hw.conversion.convert import convert
from tandem_hw.learning.model import TandemNetwork

IMAGE = (2, 8, 8)


class Block(nn.Module):
    """A residual block as torchvision has it."""

    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample: nn.Module | None = None
        if stride > 1 or channels != out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        result: Tensor = self.relu(out)
        return result


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 6, 3, 1, 1), nn.BatchNorm2d(6), nn.ReLU())
        self.blocks = nn.Sequential(Block(6, 6), Block(6, 8, 2), nn.Dropout(0.1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x))
        out: Tensor = self.head(torch.flatten(self.pool(x), 1))
        return out


class Functional(nn.Module):
    """Everything by functions, two branches of the input, and a sum of spikes."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(2, 4, 3, padding=1)
        self.right = nn.Conv2d(2, 4, 1)
        self.next = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.mix = nn.Conv2d(4, 4, 1)
        self.last = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        first = torch.relu(self.left(x) + self.right(x))
        second = F.relu(self.mix(F.relu(self.next(first))))
        both = (first + second).relu()
        both = F.avg_pool2d(F.dropout2d(both, 0.1, self.training), 3, stride=2, padding=1)
        pooled = F.adaptive_avg_pool2d(both, 2)
        out: Tensor = self.last(pooled.view(x.size(0), -1))
        return out


class Autoencoder(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(2, 6, 3, 2, 1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, 2, 1, groups=2),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 6, 3, 2, 1, output_padding=1, groups=2, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.ConvTranspose2d(6, 2, 2, 2),
            nn.BatchNorm2d(2),
        )


def signal_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(3, 8, 5, stride=2, padding=2, bias=False),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Conv1d(8, 8, 3, padding=2, dilation=2, groups=8),
        nn.ReLU(),
        nn.AvgPool1d(2),
        nn.Conv1d(8, 4, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 4, 5),
    )


def depthwise_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(6, 4),
        nn.BatchNorm1d(4),
        nn.ReLU(),
        nn.Linear(4, 3),
    )


class Joined(nn.Module):
    """Layers that are joined along channels: in blocks, one within the other, and as vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(2, 3, 1)
        self.both = nn.Conv2d(7, 5, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(5)
        self.up = nn.ConvTranspose2d(7, 3, 2, 2)
        self.activation = nn.Hardtanh(0, 0.3)
        self.far = nn.Conv2d(15, 4, 2, 2)
        self.side = nn.Linear(7, 5)
        self.last = nn.Linear(4 * 16 + 5, 3)
        nn.init.constant_(self.last.bias, 0.3)

    def forward(self, x: Tensor) -> Tensor:
        pair = torch.cat([torch.relu(self.left(x)), torch.relu(self.right(x))], 1)
        both = self.activation(self.norm(self.both(pair)))
        up = F.hardtanh(self.up(F.avg_pool2d(pair, 2)), 0, 0.2)
        every = torch.cat((torch.concat([pair, both], dim=-3), up), dim=1)
        far = torch.relu(self.far(F.dropout2d(every, 0.1, self.training)))
        side = torch.relu(self.side(pair.mean((2, 3))))
        out: Tensor = self.last(torch.cat([far.flatten(1), side], 1))
        return out


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "residual": (ResNet, IMAGE),
    "functional": (Functional, IMAGE),
    "autoencoder": (Autoencoder, IMAGE),
    "one axis": (signal_net, (3, 16)),
    "depthwise and pooling": (depthwise_net, IMAGE),
    "joined": (Joined, IMAGE),
}


class Pooled(nn.Module):
    """Max pooling of what is joined, before a ReLU, and as torchvision's networks begin and end."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.both = nn.Conv2d(5, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Conv2d(4, 3, 1), nn.ReLU())
        nn.init.constant_(self.head[1].bias, 0.2)
        self.last = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        left, right = torch.relu(self.left(x)), F.hardtanh(self.right(x), 0, 0.2)
        pooled = self.pool(torch.cat([left, right], 1))
        both = torch.relu(F.max_pool2d(self.norm(self.both(pooled)), 2, 1, ceil_mode=True))
        out: Tensor = self.last(self.head(both))
        return out


#: Those that have to be phased.
PHASED_NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "pooled": (Pooled, IMAGE),
}


def converted(name: str, **options: Any) -> TandemNetwork:
    torch.manual_seed(5)
    build, shape = (NETWORKS | PHASED_NETWORKS)[name]
    plain = {"num_steps": 4, "activation_max": 0.12}
    phased = {"firing_delay": "phased"} if name in PHASED_NETWORKS else {}
    return convert(build(), input_shape=shape, **(plain | phased | options))


def inputs_of(model: TandemNetwork, samples: int = 12) -> Tensor:
    """Return noise that gets brighter from sample to sample."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(samples, *model.sample_shape, generator=generator)
    brightness = torch.linspace(0.2, 1, samples).reshape(-1, *[1] * len(model.sample_shape))
    return (15 * noise.square() * brightness).round().to(torch.uint8)
