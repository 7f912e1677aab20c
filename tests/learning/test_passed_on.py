"""What a model passes on is what its integer neurons did, whatever hooks it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from tandem_hw.arithmetic.neurons import SpikeTrain
from tandem_hw.conversion.convert import convert
from tandem_hw.errors import ComparisonRefusedError
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.signals import TandemSignal
from tandem_hw.network.quantized import Readout
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import verify
from tests.helpers.ordinary_networks import random_inputs

SHAPE = (1, 4, 4)


def make_model(readout: Readout = "potential") -> TandemNetwork:
    torch.manual_seed(0)
    ordinary = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 3)
    )
    if readout == "count":
        nn.init.constant_(ordinary[-1].bias, 1.0)  # so that it fires
        ordinary.append(nn.ReLU())
    return convert(ordinary, input_shape=SHAPE, num_steps=4, readout=readout).eval()


def check(model: TandemNetwork) -> None:
    inputs = random_inputs(SHAPE, 300).numpy()  # more than one batch
    report = verify(freeze(model), inputs, None, [ReferenceBackend(), PyTorchBackend(model)])
    report.require_match()


@pytest.mark.parametrize("readout", ["potential", "count"])
@pytest.mark.parametrize("double", [False, True])
def test_a_model_as_it_is_and_one_with_hooks_that_only_look_are_verified(
    readout: Readout, double: bool
) -> None:
    model = make_model(readout)
    model = model.double() if double else model
    seen = []
    for layer in model.tandem_layers:
        layer.register_forward_hook(lambda *_: seen.append(1))
    check(model)
    hooks = [len(module._forward_hooks) for module in model.modules()]
    assert seen
    assert sum(hooks) == len(model.tandem_layers)  # ours are gone


def more_counts(signal: TandemSignal) -> TandemSignal:
    return replace(signal, counts=signal.counts + 1)


def other_spikes(signal: TandemSignal) -> TandemSignal:
    assert signal.train is not None
    return replace(signal, train=SpikeTrain(1 - signal.train.signal))


def no_spikes(signal: TandemSignal) -> TandemSignal:
    return replace(signal, train=None)


CHANGES: list[tuple[str, Callable[[Any], Any], str]] = [
    ("conv1", more_counts, "what layer conv1 passes on is not what the integer neurons gave: a h"),
    ("conv1", other_spikes, "what layer conv1 passes on"),
    ("conv1", no_spikes, "what layer conv1 passes on"),
    ("dropout", more_counts, r"what module layers\.1 passes on"),
    ("dropout", other_spikes, r"what module layers\.1 passes on"),
    ("dense2", lambda logits: logits.flip(1), "what layer dense2 passes on"),
    ("dense2", lambda logits: logits.double(), "what layer dense2 passes on"),
    ("model", lambda logits: logits * 2, "what the model returns is not what .* dense2 gave"),
    ("model", lambda logits: {"logits": logits}, "what the model returns is not what"),
]


@pytest.mark.parametrize(("place", "change", "message"), CHANGES)
def test_a_hook_that_changes_a_result_is_seen(
    place: str, change: Callable[[Any], Any], message: str
) -> None:
    model = make_model()
    places = {layer.name: layer for layer in model.tandem_layers} | {"model": model}
    places["dropout"] = model.layers[1]
    places[place].register_forward_hook(lambda _, __, result: change(result))
    with pytest.raises(ComparisonRefusedError, match=message):
        check(model)
    assert all(
        len(module._forward_hooks) == int(module is places[place]) for module in places.values()
    )


@pytest.mark.parametrize("place", ["dense2", "model"])
def test_counts_of_a_readout_that_a_hook_changes_are_seen(place: str) -> None:
    model = make_model("count")
    if place == "model":
        model.register_forward_hook(lambda _, __, counts: counts + 1)
    else:
        model.tandem_layers[-1].register_forward_hook(lambda _, __, result: more_counts(result))
    with pytest.raises(ComparisonRefusedError, match="dense2"):
        check(model)
