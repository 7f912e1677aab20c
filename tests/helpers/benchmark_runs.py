"""Benchmarks called from tests, at sizes that take no time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner, Result
from torch import Tensor, nn

from benchmarks.__main__ import main
from benchmarks.peers.catalogue import Peer
from tests.helpers.command_line import written_json


def run_benchmark(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def measured(folder: Path, *arguments: object) -> dict[str, Any]:
    """Run a benchmark and return its JSON."""
    path = folder / "measured.json"
    result = run_benchmark(*arguments, "--json", path)
    assert result.exit_code == 0, result.output
    content = written_json(path)
    assert isinstance(content, dict)
    return content


class FakePeer(nn.Module):
    """A library that runs the ordinary network in every step, and counts how often it was asked."""

    def __init__(self, network: nn.Module, num_steps: int) -> None:
        super().__init__()
        self.network, self.num_steps = network, num_steps

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([self.network(images) for _ in range(self.num_steps)]).sum(0)


def _fake(network: nn.Module, num_steps: int, device: torch.device) -> nn.Module:
    return FakePeer(network, num_steps).to(device)


def _broken(network: nn.Module, num_steps: int, device: torch.device) -> nn.Module:
    raise RuntimeError("its kernel did not compile\nand more")


#: The package of the first two is one that is installed everywhere.
PEERS = {
    "fake": Peer("fake", "numpy", "numpy", _fake),
    "broken": Peer("broken", "numpy", "numpy", _broken),
    "absent": Peer("absent", "no_such_package.inside", "no-such-package", _fake, "a moon"),
}
