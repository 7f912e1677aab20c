"""One network trained in several ways: as it is, as a tandem network, and by other libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.networks import CIFAR_SHAPE, CLASSES, MEASURED
from benchmarks.peers.catalogue import PEERS
from tandem_hw.conversion.convert import convert
from tandem_hw.network.choices import Phased, Reset
from tandem_hw.version import installed_version

MEBIBYTE: Final = 1 << 20
#: The network as it is, in plain PyTorch: what the others are compared with.
RELU: Final = "ReLU"
#: The tandem network, by its name in the tables.
TANDEM: Final[dict[str, Reset]] = {f"tandem, reset {reset}": reset for reset in get_args(Reset)}
#: What the names of tandem networks with a firing delay begin with.
_DELAYED: Final = "tandem, firing delay "


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


def delayed(firing_delay: int | Phased) -> str:
    """Return the variant whose layers wait: steps, or the word for all but one of the window."""
    return f"{_DELAYED}{firing_delay}"


def settings_of(variant: str) -> dict[str, Any] | None:
    """Return what ``convert`` makes a tandem network with, None for the other variants."""
    if variant in TANDEM:
        return {"reset": TANDEM[variant]}
    if not variant.startswith(_DELAYED):
        return None
    delay = variant.removeprefix(_DELAYED)
    return {"reset": "subtract", "firing_delay": int(delay) if delay.isdecimal() else delay}


def training_step(variant: str, task: Task) -> Callable[[], None]:
    """Return a call that does one step of Adam on random images.

    Args:
        variant: ``RELU``, a key of ``TANDEM``, one that ``delayed`` names, or one of ``PEERS``.
        task: what is trained.

    Raises:
        CannotBuildError: the library has no way to say this network.
    """
    torch.manual_seed(0)
    model = _model(variant, task)
    shape = (task.batch, *CIFAR_SHAPE)
    inputs = torch.rand(shape)
    if settings_of(variant) is not None:
        inputs = torch.randint(0, 16, shape, dtype=torch.uint8)
    return _step(model, inputs.to(task.device))


def version_of(variant: str) -> str:
    """Return the library that a variant stands for, and its version."""
    if variant in PEERS:
        return PEERS[variant].version()
    if settings_of(variant) is not None:
        return f"tandem-hw {installed_version()}"
    return f"torch {torch.__version__}"


def _model(variant: str, task: Task) -> nn.Module:
    network = MEASURED[task.network].build()
    if variant == RELU:
        return network.to(task.device)
    if variant in PEERS:
        return PEERS[variant].build(network, task.num_steps, task.device)
    settings = settings_of(variant)
    assert settings is not None  # it is none of the others
    model = convert(network, input_shape=CIFAR_SHAPE, num_steps=task.num_steps, **settings)
    return model.to(task.device)


def _step(model: nn.Module, inputs: Tensor) -> Callable[[], None]:
    labels = torch.randint(0, CLASSES, (len(inputs),)).to(inputs.device)
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    return step
