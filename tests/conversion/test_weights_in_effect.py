"""Weights behind parametrizations, older norms and pruning: read, trained, stored, frozen."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from tandem_hw.conversion.convert import convert
from tandem_hw.data.dataset import ImageDataset
from tandem_hw.errors import ConversionError, DataError, FileFormatError
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.training.loop import train
from tandem_hw.training.options import TrainingOptions
from tandem_hw.training.warm_start import load_tandem_parameters
from tandem_hw.verification.step import verify
from tests.helpers.ordinary_networks import converted, random_inputs

IMAGE = (1, 4, 4)


def old_weight_norm(layer: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of PyTorch call it deprecated
        nn.utils.weight_norm(layer)


class Symmetric(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return (weight + weight.flip(-1)) / 2


METHODS: dict[str, Callable[[Any], Any]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "own parametrization": lambda layer: parametrize.register_parametrization(
        layer, "weight", Symmetric()
    ),
    "old weight_norm": old_weight_norm,
    "old spectral_norm": nn.utils.spectral_norm,
    "l1 pruning": lambda layer: prune.l1_unstructured(layer, "weight", 0.4),
    "structured pruning": lambda layer: prune.ln_structured(layer, "weight", 0.5, n=2, dim=0),
    "pruning twice": lambda layer: (
        prune.random_unstructured(layer, "weight", 0.3), prune.l1_unstructured(layer, "weight", 0.3)
    ),
    "pruned bias": lambda layer: prune.l1_unstructured(layer, "bias", 1),
}  # fmt: skip


def ordinary(method: Callable[[Any], Any], seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 6),
        nn.ReLU(),
        nn.Linear(6, 3),
    )
    for index in (0, 4, 6):
        method(network[index])
    return network


@pytest.mark.parametrize("name", METHODS)
def test_freshly_built_weights_are_read_as_they_are_in_effect(name: str) -> None:
    network = ordinary(METHODS[name])
    state = {key: value.clone() for key, value in network.state_dict().items()}
    model = converted(network, IMAGE)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    network.eval()(torch.rand(2, *IMAGE))  # hooks compute the weights
    for layer, index in zip(model.tandem_layers, (0, 4, 6), strict=True):
        torch.testing.assert_close(layer.weight, network[index].weight, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", METHODS)
def test_stale_weights_are_not_read(name: str) -> None:
    network = ordinary(METHODS[name]).eval()
    network(torch.rand(2, *IMAGE))
    other = ordinary(METHODS[name], seed=5)
    network.load_state_dict(other.state_dict())  # the best state of a training
    model = converted(network, IMAGE)
    converted_other = converted(other, IMAGE)
    assert torch.equal(model.tandem_layers[1].weight, converted_other.tandem_layers[1].weight)


class Branches(nn.Module):
    """A layer with a skip that has weights, and a linear layer behind a pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.side = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(1, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.conv(x)) + self.side(x))
        return self.head(nn.functional.avg_pool2d(x, 2).flatten(1))


def tandem() -> TandemNetwork:
    torch.manual_seed(1)
    return convert(Branches(), input_shape=IMAGE, num_steps=4)


def pruned() -> TandemNetwork:
    model = tandem()
    first, last = model.tandem_layers
    for layer in (first, first.skips[0], last):
        prune.l1_unstructured(layer, "weight", 0.5)
    prune.l1_unstructured(last, "bias", 1)
    return model


def step(model: TandemNetwork, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    (model.train()(random_inputs(IMAGE)) - 1).square().mean().backward()
    optimizer.step()


def zeros(network: Any) -> list[float]:
    first, last = network.layers
    return [float(np.mean(one.weight == 0)) for one in (first, first.skips[0], last)]


def test_a_pruned_network_trains_and_freezes_with_its_current_weights() -> None:
    model = pruned()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(3):
        before = freeze(model)
        step(model, optimizer)
    network = freeze(model)  # the hooks last ran before the last step
    assert network.digest != before.digest
    assert all(share >= 0.5 for share in zeros(network))
    inputs = random_inputs(IMAGE).numpy()
    model.eval()
    verify(network, inputs, None, [ReferenceBackend(), PyTorchBackend(model)]).require_match()
    for layer in model.tandem_layers:
        for module in (layer, *layer.skips):
            prune.remove(module, "weight")
    assert freeze(model).digest == network.digest


def test_freeze_after_loading_a_state_exports_that_state() -> None:
    model, other = pruned(), pruned()
    model(random_inputs(IMAGE))
    optimizer = torch.optim.Adam(other.parameters(), 0.01)
    for _ in range(3):
        step(other, optimizer)
    wanted = freeze(other).digest
    assert freeze(model).digest != wanted
    model.load_state_dict(other.state_dict())
    assert freeze(model).digest == wanted


@pytest.mark.parametrize("method", ["old spectral_norm", "old weight_norm", "weight_norm"])
def test_other_weights_that_are_computed_are_current_too(method: str) -> None:
    model = tandem()
    layer = model.tandem_layers[0]
    for one in (layer, layer.skips[0]):
        METHODS[method](one)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    step(model, optimizer)
    before = copy.deepcopy(freeze(model).layers[0].weight)
    step(model, optimizer)
    network = freeze(model.eval())
    assert (network.layers[0].weight != before).any()
    inputs = random_inputs(IMAGE).numpy()
    verify(network, inputs, None, [ReferenceBackend(), PyTorchBackend(model)]).require_match()


def test_a_checkpoint_keeps_weights_and_masks(tmp_path: Path) -> None:
    model = pruned()
    step(model, torch.optim.Adam(model.parameters(), 0.01))
    path = tmp_path / "pruned.pt"
    save_checkpoint(Checkpoint(model), path)
    loaded = load_checkpoint(path).model
    assert freeze(loaded).digest == freeze(model).digest
    assert loaded.state_dict().keys() == model.state_dict().keys()
    step(loaded, torch.optim.Adam(loaded.parameters(), 0.1))
    assert all(share >= 0.5 for share in zeros(freeze(loaded)))
    plain = tandem()
    load_tandem_parameters(plain, path)
    assert freeze(plain).digest == freeze(model).digest


@pytest.mark.parametrize(
    "mask", [torch.ones(2, 2), torch.full((4, 1, 3, 3), 0.5), "a text", torch.full((4, 1, 3, 3), 2)]
)
def test_a_mask_that_does_not_fit_is_refused(mask: Any, tmp_path: Path) -> None:
    path = tmp_path / "pruned.pt"
    save_checkpoint(Checkpoint(pruned()), path)
    content = torch.load(path, weights_only=True)
    content["parameters"]["layers.0.weight_mask"] = mask
    torch.save(content, path)
    with pytest.raises(FileFormatError, match="the model cannot be rebuilt"):
        load_checkpoint(path)


def data() -> ImageDataset:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (40, *IMAGE)).astype(np.uint8)
    labels = generator.integers(0, 3, 40)
    return ImageDataset("noise", images[:30], labels[:30], images[30:], labels[30:], classes=3)


OPTIONS = TrainingOptions(epochs=2, batch_size=8, learning_rate=0.01)


def test_a_pruned_network_goes_through_training_and_is_resumed(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    summary = train(pruned(), data(), OPTIONS, whole)
    assert "test_accuracy" in summary
    network = freeze(load_checkpoint(whole / "checkpoint.pt").model)
    assert all(share >= 0.5 for share in zeros(network))

    def interrupt(metrics: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    broken = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        train(pruned(), data(), OPTIONS, broken, epoch_done=interrupt)
    with pytest.raises(DataError, match="other layers of its network were pruned; prune the mod"):
        train(tandem(), data(), OPTIONS, broken, resume=True)
    train(pruned(), data(), OPTIONS, broken, resume=True)
    last, wanted = (load_checkpoint(folder / "last.pt").model for folder in (broken, whole))
    assert freeze(last).digest == freeze(wanted).digest
    for name, value in wanted.state_dict().items():
        assert torch.equal(last.state_dict()[name], value), name


def test_weights_that_no_checkpoint_can_hold_are_refused_before_the_training(
    tmp_path: Path,
) -> None:
    model = tandem()
    parametrizations.weight_norm(model.tandem_layers[0])
    with pytest.raises(ConversionError, match=r"cannot hold layers\.0\.param.*remove_parametriz"):
        train(model, data(), OPTIONS, tmp_path)
    assert not any(tmp_path.iterdir())
