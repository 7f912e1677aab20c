"""One network trained in several ways: as it is, as a tandem network, and by other libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.networks import CIFAR_SHAPE, CLASSES, MEASURED
from benchmarks.peers.catalogue import PEERS
from tandem_hw.conversion.convert import convert
from tandem_hw.network.quantized import Reset
from tandem_hw.version import installed_version

MEBIBYTE: Final = 1 << 20
#: The network as it is, in plain PyTorch: what the others are compared with.
RELU: Final = "ReLU"
#: The tandem network, by its name in the tables.
TANDEM: Final[dict[str, Reset]] = {f"tandem, reset {reset}": reset for reset in get_args(Reset)}


@dataclass(frozen=True)
class Task:
    """What is trained.

    Attributes:
        network: a key of ``MEASURED``.
        num_steps: length T of the window.
        batch: images a step.
        device: where.
    """

    network: str
    num_steps: int
    batch: int
    device: torch.device


def training_step(variant: str, task: Task) -> Callable[[], None]:
    """Return a call that does one step of Adam on random images.

    Args:
        variant: ``RELU``, a key of ``TANDEM`` or one of ``PEERS``.
        task: what is trained.

    Raises:
        CannotBuildError: the library has no way to say this network.
    """
    torch.manual_seed(0)
    model = _model(variant, task)
    shape = (task.batch, *CIFAR_SHAPE)
    inputs = torch.rand(shape)
    if variant in TANDEM:
        inputs = torch.randint(0, 16, shape, dtype=torch.uint8)
    return _step(model, inputs.to(task.device))


def version_of(variant: str) -> str:
    """Return the library that a variant stands for, and its version."""
    if variant in PEERS:
        return PEERS[variant].version()
    if variant in TANDEM:
        return f"tandem-hw {installed_version()}"
    return f"torch {torch.__version__}"


def _model(variant: str, task: Task) -> nn.Module:
    network = MEASURED[task.network].build()
    if variant == RELU:
        return network.to(task.device)
    if variant in PEERS:
        return PEERS[variant].build(network, task.num_steps, task.device)
    model = convert(
        network, input_shape=CIFAR_SHAPE, num_steps=task.num_steps, reset=TANDEM[variant]
    )
    return model.to(task.device)


def _step(model: nn.Module, inputs: Tensor) -> Callable[[], None]:
    labels = torch.randint(0, CLASSES, (len(inputs),)).to(inputs.device)
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    return step
