"""The adapters of other libraries: what they keep, what they replace, what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmarks.networks import CIFAR_SHAPE, CLASSES, MEASURED
from benchmarks.peers.catalogue import PEERS, Peer
from benchmarks.peers.spiking_graph import CannotBuildError, with_neurons
from tandem_hw.zoo.residual_networks import ResidualBlock


class Counted(nn.Module):
    """A ReLU that knows how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, values: Tensor) -> Tensor:
        self.calls += 1
        return values.relu()


class Odd(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return torch.relu(values)


@pytest.mark.parametrize("name", MEASURED)
def test_every_relu_becomes_neurons_of_its_own_and_all_else_stays(name: str) -> None:
    torch.manual_seed(0)
    network = MEASURED[name].build().eval()
    relus = sum(
        2 if isinstance(module, ResidualBlock) else 0 for module in network.modules()
    ) + sum(isinstance(module, nn.ReLU) for module in network.children())
    spiking = with_neurons(network, Counted)
    images = torch.rand(2, *CIFAR_SHAPE)
    with torch.no_grad():
        assert torch.equal(spiking(images), network(images))
    neurons = [module for module in spiking.modules() if isinstance(module, Counted)]
    assert len(neurons) == relus
    assert all(one.calls == 1 for one in neurons)
    assert not any(isinstance(module, nn.ReLU) for module in spiking.modules())
    ours = {id(one) for one in network.parameters()}
    assert {id(one) for one in spiking.parameters()} == ours


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.MaxPool2d(2), "0 is a MaxPool2d"),
        (nn.Sigmoid(), "0 is a Sigmoid"),
        (Odd(), "relu is call_function"),
    ],
)
def test_what_has_no_counterpart_is_refused(module: nn.Module, message: str) -> None:
    with pytest.raises(CannotBuildError, match=message):
        with_neurons(nn.Sequential(module), Counted)


def at_hand(name: str) -> Peer:
    peer = PEERS[name]
    reason = peer.why_missing()
    if reason is not None:
        pytest.skip(reason)
    return peer


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_spikes_and_learns_through_time(name: str) -> None:
    peer = at_hand(name)
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
        nn.Linear(8 * 16 * 16, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, CLASSES),
    )  # fmt: skip
    model = peer.build(network, 4, torch.device("cpu"))
    images = torch.rand(5, *CIFAR_SHAPE)
    first, again = model(images), model(images)
    assert first.shape == (5, CLASSES)
    assert first.any()
    assert torch.equal(first, again), "a state of the first run is left in the second"
    again.square().sum().backward()
    gradients = [one.grad for one in model.parameters() if one.requires_grad]
    assert gradients
    assert all(one is not None and one.any() for one in gradients)
    assert peer.version().startswith(f"{peer.distribution} ")


def test_slayer_builds_chains_alone() -> None:
    build, cpu = at_hand("SLAYER").build, torch.device("cpu")
    for network, message in (
        (ResidualBlock(3, 3, 1), "a ResidualBlock is no chain of layers"),
        (MEASURED["resnet20"].build(), "its blocks have no place for Sequential"),
        (nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), "a layer without a ReLU is no block"),
        (nn.Sequential(nn.Conv2d(2, 2, 1)), "the last layer is a convolution"),
    ):
        with pytest.raises(CannotBuildError, match=message):
            build(network, 2, cpu)
