"""The networks for CIFAR-10 as they are, on a few images of noise: loss, resume, exact export."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from tandem_hw.arithmetic.neurons import LayerActivity
from tandem_hw.cli import main
from tandem_hw.conversion.convert import convert
from tandem_hw.data.dataset import ImageDataset, Labels
from tandem_hw.export.net_file import read_net
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.learning.layers import TandemLayer
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.quantizer import IntegerParameters
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.training.loop import seed_everything, train
from tandem_hw.training.options import TrainingOptions
from tandem_hw.verification.step import verify
from tandem_hw.zoo.models import build
from tests.helpers.labels import labels_of
from tests.helpers.present import present

#: Everything that the recipes switch on; one step an epoch.
OPTIONS = TrainingOptions(
    epochs=2, batch_size=4, validation=0.0, augmentation="cifar", label_smoothing=0.1
)
#: Length of the images' sides: CIFAR-10's, and less where 45 million weights take too long.
SIDES = {"cifarnet": 8, "vgg16": 32}


def make_data(name: str) -> ImageDataset:
    """Four images in training and two in the test, each with a colour of its own."""
    random = np.random.RandomState(0)
    labels = np.arange(6) % 10
    images = random.randint(0, 120, (6, 3, SIDES[name], SIDES[name])).astype(np.uint8)
    images[np.arange(6), labels % 3] += 100
    wanted = Labels(labels, classes=10)
    return ImageDataset("cifar-like", images[:4], wanted[:4], images[4:], wanted[4:])


def make_model(name: str, side: int | None = None) -> TandemNetwork:
    seed_everything(0)
    shape = (3, side or SIDES[name], side or SIDES[name])
    network = build(name, shape, 10)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0  # two batches are all that the running statistics see
    return convert(
        network,
        input_shape=shape,
        num_steps=2,
        activation_max=0.5,
        initial_potential=0.5,
        learn_thresholds=True,
    )


@dataclass
class Trained:
    """A training of two epochs, and the file that it left after the first one."""

    name: str
    folder: Path
    summary: dict[str, Any]


pytestmark = pytest.mark.exhaustive  # test_zoo.py trains each of them a little


@pytest.fixture(scope="module", params=SIDES)
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trained]:
    folder = tmp_path_factory.mktemp(request.param)

    def keep_first(epoch: dict[str, Any]) -> None:
        if epoch["epoch"] == 1:
            (folder / "cut").mkdir()
            for name in ("last.pt", "checkpoint.pt"):
                shutil.move(folder / "whole" / name, folder / "cut" / name)

    model = make_model(request.param)
    summary = train(
        model, make_data(request.param), OPTIONS, folder / "whole", epoch_done=keep_first
    )
    yield Trained(request.param, folder, summary)
    shutil.rmtree(folder)  # half a gigabyte


def test_the_loss_is_finite_and_every_layer_learns(trained: Trained) -> None:
    assert [epoch["epoch"] for epoch in trained.summary["epochs"]] == [1, 2]
    for epoch in trained.summary["epochs"]:
        assert math.isfinite(epoch["loss"])
        assert 0 < epoch["spike_rate"] < 1
    start = make_model(trained.name)
    after = load_checkpoint(trained.folder / "whole" / "checkpoint.pt").model
    for before, layer in zip(start.tandem_layers, after.tandem_layers, strict=True):
        assert not torch.equal(present(before.weight), present(layer.weight)), layer.name
        if layer.fires:
            assert before.activation_max != layer.activation_max, layer.name


@pytest.mark.exhaustive
def test_cifarnet_learns_from_images_as_large_as_cifars() -> None:
    model = make_model("cifarnet", 32)
    assert sum(parameter.numel() for parameter in model.parameters()) > 44e6
    images = torch.randint(0, 16, (2, 3, 32, 32), dtype=torch.uint8)
    counts: dict[str, float] = {}

    def observe(layer: TandemLayer, activity: LayerActivity, _: IntegerParameters) -> None:
        counts[layer.name] = _spikes(activity)

    outputs = model(images, observe)
    loss = nn.functional.cross_entropy(outputs, torch.tensor([1, 2]))
    loss.backward()
    assert loss.isfinite()
    assert [name for name, spikes in counts.items() if not spikes] == ["dense7"]  # the readout
    for layer in model.tandem_layers:
        gradient = present(present(layer.weight).grad)
        assert gradient.isfinite().all()
        assert gradient.any(), layer.name


def _spikes(activity: LayerActivity) -> float:
    return 0.0 if activity.counts is None else float(activity.counts.sum())


def test_a_resumed_training_gives_the_same_bits(trained: Trained) -> None:
    cut = trained.folder / "cut"
    with torch.no_grad():
        fresh = make_model(trained.name)
        present(fresh.tandem_layers[0].weight).add_(1)
    summary = train(fresh, make_data(trained.name), OPTIONS, cut, resume=True)
    for told in (summary, trained.summary):
        assert len(told.pop("seconds")) == 2  # which no two trainings share
    assert summary == trained.summary
    whole = torch.load(trained.folder / "whole" / "last.pt", weights_only=True)
    resumed = torch.load(cut / "last.pt", weights_only=True)
    assert whole["metrics"] == resumed["metrics"]
    for name, value in whole["parameters"].items():
        assert torch.equal(value, resumed["parameters"][name]), name
    states = [one["training"]["optimizer"]["state"] for one in (whole, resumed)]
    assert len(states[0]) > 10
    for index, state in states[0].items():
        assert torch.equal(state["exp_avg_sq"], states[1][index]["exp_avg_sq"])


def test_the_exported_network_is_the_trained_one(trained: Trained) -> None:
    checkpoint, net = trained.folder / "whole" / "checkpoint.pt", trained.folder / "model.net"
    refused = CliRunner().invoke(main, ["export", str(checkpoint), "--out", str(net)])
    if refused.exit_code:
        (line,) = refused.stderr.splitlines()
        assert "--simulation-only" in line
        assert not net.exists()
        done = CliRunner().invoke(
            main, ["export", str(checkpoint), "--out", str(net), "--simulation-only"]
        )
        assert done.exit_code == 0, done.output
        assert "for the simulators alone, no Loihi 2 board can run it" in done.stdout
    network, model = read_net(net), load_checkpoint(checkpoint).model
    data = make_data(trained.name)
    inputs = data.integers(data.x_test, network.input)
    report = verify(network, inputs, labels_of(data), [ReferenceBackend(), PyTorchBackend(model)])
    report.require_match()
    assert (
        ReferenceBackend().run(network, inputs, labels_of(data)).accuracy
        == (trained.summary["test_accuracy"])
    )


def test_mixed_precision_trains_a_deep_network(tmp_path: Path) -> None:
    options = replace(OPTIONS, epochs=1, mixed_precision=True, synop_weight=0.1)
    summary = train(make_model("vgg16"), make_data("vgg16"), options, tmp_path / "run")
    assert math.isfinite(summary["epochs"][0]["loss"])
    assert summary["epochs"][0]["spike_rate"] > 0
    shutil.rmtree(tmp_path / "run")
