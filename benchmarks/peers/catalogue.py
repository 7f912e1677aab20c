"""The libraries that training and simulation are compared with, each behind one adapter.

An adapter takes an ordinary network and returns it with the library's integrate-and-fire neurons
in place of the ReLUs: images [batch, *shape] in float go in at every one of T steps, and the last
layer's output, summed over the steps, comes out, [batch, classes].
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Final

import torch
from torch import nn

from benchmarks.peers.spiking_graph import CannotBuildError
from tandem_hw.deferred_import import imported_when_called


@dataclass(frozen=True)
class Peer:
    """A library to compare with.

    Attributes:
        name: how it calls itself.
        package: what is imported.
        distribution: what is installed.
        build: its adapter, which takes the ordinary network, T and the device, returns the spiking
            network there, and raises ``CannotBuildError`` for what the library has no way to say.
        needs: where alone it can be installed, if that is not everywhere.
    """

    name: str
    package: str
    distribution: str
    build: Callable[[nn.Module, int, torch.device], nn.Module]
    needs: str = ""

    def why_missing(self) -> str | None:
        """Return why it cannot be measured here, or None."""
        try:
            found = importlib.util.find_spec(self.package) is not None
        except ModuleNotFoundError:  # the package that it is in
            found = False
        if found:
            return None
        where = f" ({self.needs})" if self.needs else ""
        return f"{self.name}: not installed: pip install {self.distribution}{where}"

    def version(self) -> str:
        """Return its name and version."""
        return f"{self.distribution} {metadata.version(self.distribution)}"


#: All of them, by name.
PEERS: Final = {
    peer.name: peer
    for peer in (
        Peer(
            "snnTorch",
            "snntorch",
            "snntorch",
            imported_when_called("benchmarks.peers.snntorch_adapter", "build"),
        ),
        Peer(
            "SpikingJelly",
            "spikingjelly",
            "spikingjelly",
            imported_when_called("benchmarks.peers.spikingjelly_adapter", "build"),
        ),
        Peer(
            "SLAYER",
            "lava.lib.dl.slayer",
            "lava-dl",
            imported_when_called("benchmarks.peers.slayer_adapter", "build"),
            needs="Python 3.10 alone has it",
        ),
    )
}


def at_hand() -> tuple[dict[str, Peer], list[str]]:
    """Return the peers that are installed by name, and for each other a line that says why not."""
    missing = {name: peer.why_missing() for name, peer in PEERS.items()}
    installed = {name: peer for name, peer in PEERS.items() if missing[name] is None}
    return installed, [reason for reason in missing.values() if reason is not None]


def why_left_out(error: Exception) -> str:
    """Say why a peer is not measured: what it cannot build, or how its library failed."""
    if isinstance(error, CannotBuildError):
        return str(error)
    first = (str(error).splitlines() or ["no message"])[0]
    return f"failed: {type(error).__name__}: {first}"
