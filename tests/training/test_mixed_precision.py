"""Mixed precision touches the gradient alone: what goes forward is exported bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tandem_hw.errors import DataError
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.training.loop import train
from tandem_hw.training.schedule import Schedule
from tandem_hw.training.synop_penalty import SynOpPenalty
from tandem_hw.verification.step import verify
from tests.helpers.trainings import anonymous
from tests.learning.test_graph_networks import NETWORKS, converted, inputs_of
from tests.training.test_training import OPTIONS, contents, interrupt_in, make_data, make_model

MIXED = replace(OPTIONS, mixed_precision=True)


def in_bfloat16() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "options",
    [{}, {"reset": "zero", "activation_max": 0.06}, {"readout": "count", "activation_max": 0.3}],
    ids=["subtract", "zero", "counted"],
)
def test_the_exported_network_is_the_model_within_autocast(
    name: str, options: dict[str, Any]
) -> None:
    model = converted(name, **options)
    inputs = inputs_of(model)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(3):
        with in_bfloat16():
            loss = (model(inputs).float() - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        for _ in range(30):  # until the running statistics are those of these inputs
            model(inputs)
    network = freeze(model.eval())
    with in_bfloat16():
        assert freeze(model).digest == network.digest
        report = verify(network, inputs.numpy(), None, [ReferenceBackend(), PyTorchBackend(model)])
    report.require_match()
    plain = model.record(inputs)
    with in_bfloat16():
        mixed = model.record(inputs)
        outputs = model(inputs)  # with a graph for the gradient
    assert all(counts.any() for counts in plain.counts.values())
    assert outputs.dtype == torch.float32
    assert torch.equal(outputs, model(inputs))
    for layer, counts in plain.counts.items():
        assert torch.equal(mixed.counts[layer], counts), layer
    if plain.potential is None:
        assert mixed.potential is None
    else:
        assert torch.equal(mixed.potential, plain.potential)


@pytest.mark.parametrize("name", NETWORKS)
def test_without_normalisation_training_sees_the_same_spikes(name: str) -> None:
    # A batch's own statistics come from the twin, and those that run from many batches.
    model = converted(name)
    for layer in model.tandem_layers:
        for synapses in layer.synapses:
            synapses.norm = None
    inputs = inputs_of(model)
    results = []
    for mixed in (False, True):
        for layer in model.tandem_layers:
            layer.peak.zero_()
        torch.manual_seed(2)  # of the dropout
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            results.append(model.record(inputs))
    assert any(counts.any() for counts in results[0].counts.values())
    for layer, counts in results[0].counts.items():
        assert torch.equal(results[1].counts[layer], counts), layer


def test_the_gradient_is_about_the_same() -> None:
    gradients = []
    for mixed in (False, True):
        model = make_model()
        torch.manual_seed(2)
        inputs = torch.randint(0, 16, (32, 1, 4, 4), dtype=torch.uint8)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = model(inputs).float().square().mean()
        loss.backward()
        gradients.append([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    assert {gradient.dtype for gradient in gradients[1]} == {torch.float32}
    exact, rounded = (torch.cat(one) for one in gradients)
    assert not torch.equal(exact, rounded)
    assert torch.cosine_similarity(exact, rounded, 0) > 0.98


def test_training_learns_and_what_it_leaves_is_exact(tmp_path: Path) -> None:
    options = replace(MIXED, epochs=8, synop_weight=0.1)
    summary = train(make_model(), make_data(), options, tmp_path)
    losses = [epoch["loss"] for epoch in summary["epochs"]]
    assert losses[-1] < 0.7 * losses[0]
    assert summary["test_accuracy"] > 0.8  # chance is 1/3
    model = load_checkpoint(tmp_path / "checkpoint.pt").model
    assert all(value.dtype in (torch.float32, torch.int64) for value in model.state_dict().values())
    data = make_data()
    inputs = data.integers(data.x_test, model.architecture.input)
    network = freeze(model)
    report = verify(network, inputs, data.y_test, [ReferenceBackend(), PyTorchBackend(model)])
    report.require_match()
    recording = ReferenceBackend().run(network, inputs, data.y_test)
    assert recording.accuracy == summary["test_accuracy"]


@pytest.mark.parametrize("schedule", ["progressive", "ordinary"])
def test_every_schedule_trains_and_counts_synops(tmp_path: Path, schedule: Schedule) -> None:
    options = replace(MIXED, epochs=5, synop_weight=0.1, schedule=schedule)
    summary = train(make_model(learn_thresholds=True), make_data(), options, tmp_path)
    losses = [epoch["loss"] for epoch in summary["epochs"]]
    assert all(np.isfinite(losses))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_penalty_of_layers_that_do_not_spike_has_a_gradient(name: str) -> None:
    found = []
    for mixed in (False, True):
        model = converted(name, activation_max=1.0)
        penalty = SynOpPenalty(model)
        torch.manual_seed(3)  # of the dropout
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            model(inputs_of(model), spiking=1)
            spent = penalty.take()
        spent.backward()
        assert spent.dtype == torch.float32
        assert model.tandem_layers[0].weight.grad.any()
        found.append(spent.item())
    assert found[0] > 0
    assert found[1] == pytest.approx(found[0], rel=0.02)


def test_a_resumed_training_gives_the_same_bits(tmp_path: Path) -> None:
    whole = train(make_model(), make_data(), MIXED, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), make_data(), MIXED, tmp_path / "cut", report=interrupt_in(2, 3))
    resumed = train(make_model(), make_data(), MIXED, tmp_path / "cut", resume=True)
    assert anonymous(resumed) == anonymous(whole)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    with pytest.raises(DataError, match="was trained with mixed_precision True, not False"):
        train(make_model(), make_data(), OPTIONS, tmp_path / "cut", resume=True)
