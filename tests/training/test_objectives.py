"""What a training minimises and is judged by, against plain NumPy."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from tandem_hw.conversion.convert import convert
from tandem_hw.data.dataset import ImageDataset, Labels, Targets
from tandem_hw.data.event_data import BinnedEvents, EventDataset, event_dataset
from tandem_hw.errors import DataError
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.training.loop import seed_everything, train
from tandem_hw.training.objectives import (
    Classification,
    Objective,
    Reconstruction,
    Regression,
    as_tensor,
    fitting_objective,
    make_objective,
    real_values,
)
from tandem_hw.training.options import TrainingOptions
from tests.helpers.networks import random_inputs, small_network
from tests.helpers.rounding import rounding_bound

SHAPE = (1, 4, 4)


def images(n: int = 48, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return images that are bright on one side, by a random amount."""
    values = np.random.default_rng(seed)
    dark = values.uniform(0, 0.1, (n, *SHAPE))
    dark[:, :, :, :2] += values.uniform(0, 0.9, (n, 1, 1, 1))
    return dark.astype(np.float32)


def labelled(x: npt.NDArray[Any] | None = None, classes: int = 3) -> ImageDataset:
    x = images() if x is None else x
    wanted = Labels(np.arange(len(x)) % classes, classes)
    return ImageDataset("npz:labelled", x, wanted, x, wanted)


def with_targets(y: npt.NDArray[Any] | None = None) -> ImageDataset:
    x = images()
    wanted = Targets(x.mean(axis=(1, 2, 3)) - 0.2 if y is None else y)
    return ImageDataset("npz:targets", x, wanted, x, wanted)


def events() -> EventDataset:
    counts = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5) % np.uint8(4)
    part = BinnedEvents(counts, np.arange(2), 2, 0)
    return event_dataset("events", part, part)


# Formulas ----------------------------------------------------------------------------------------


def test_accuracy_is_the_share_of_largest_outputs_at_the_label() -> None:
    outputs = torch.tensor([[1.0, 2.0, 0.0], [5.0, 1.0, 5.0], [0.0, 0.0, 1.0], [3.0, 2.0, 1.0]])
    # The second one is a tie, and the lower index counts.
    assert Classification().measure(outputs, torch.tensor([1, 0, 2, 2])) == {"accuracy": 0.75}


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_label_smoothing_spreads_its_share_over_all_classes(smoothing: float) -> None:
    outputs = np.array([[2.0, -1.0, 0.5], [0.0, 1.0, 3.0]])
    labels = np.array([0, 1])
    wanted = (1 - smoothing) * np.eye(3)[labels] + smoothing / 3
    log_shares = outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))
    loss = Classification(smoothing).loss(torch.from_numpy(outputs), torch.from_numpy(labels))
    assert float(loss) == pytest.approx(-(wanted * log_shares).sum(axis=1).mean())


@given(st.integers(2, 20), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_regression_is_measured_as_numpy_has_it(samples: int, values: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    targets = generator.normal(generator.normal(0, 3, values), 1, (samples, values))
    outputs = targets + generator.normal(0, 0.5, targets.shape)
    outputs, targets = outputs.astype(np.float32), targets.astype(np.float32)
    found = Regression().measure(torch.from_numpy(outputs), torch.from_numpy(targets))
    error = outputs.astype(float) - targets
    assert set(found) == {"mse", "mae", "r2"}
    # Differences are taken in float32, and their squares are summed in float64.
    squared, rounded = (error**2).mean(), rounding_bound(4, 1.0)
    assert found["mse"] == pytest.approx(squared, rel=rounded)
    assert found["mae"] == pytest.approx(np.abs(error).mean(), rel=rounded)
    # A mean that is off by d adds d^2 to a variance.
    variance = targets.astype(float).var(axis=0).mean()
    off = rounding_bound(samples + 1, float(np.abs(targets).mean(axis=0).max())) ** 2
    assume(off < variance / 2)
    bound = squared / variance * (2 * rounded + 2 * off / variance)
    assert found["r2"] == pytest.approx(1 - squared / variance, abs=bound)
    loss = Regression().loss(torch.from_numpy(outputs), torch.from_numpy(targets))
    assert float(loss) == pytest.approx(squared, rel=rounding_bound(targets.size + 4, 1.0))


def test_the_mean_of_the_targets_has_an_r2_of_0_and_the_targets_have_1() -> None:
    targets = torch.tensor([[1.0, 10.0], [2.0, 30.0], [6.0, 20.0]])
    mean = targets.mean(0).expand(3, 2)
    assert Regression().measure(mean, targets)["r2"] == pytest.approx(0, abs=rounding_bound(8, 1.0))
    assert Regression().measure(targets, targets) == {"mse": 0, "mae": 0, "r2": 1}


def test_r2_of_equal_targets_is_not_a_number() -> None:
    found = Regression().measure(torch.zeros(3, 1), torch.ones(3, 1))
    assert math.isnan(found["r2"])
    assert found["mse"] == 1


def test_psnr_is_minus_ten_times_the_logarithm_of_the_squared_error() -> None:
    targets = torch.full((2, 5), 0.5)
    found = Reconstruction().measure(targets + 0.1, targets)
    # Of the sum and the difference, up to 0.6, a relative error of the result 0.1, and its square.
    rounded = 2 * rounding_bound(3, 0.6) / 0.1
    assert found["mse"] == pytest.approx(0.01, rel=rounded)
    assert found["psnr"] == pytest.approx(20, abs=10 / math.log(10) * rounded)
    assert set(found) == {"mse", "psnr"}
    assert Reconstruction().measure(targets, targets)["psnr"] == math.inf


@pytest.mark.parametrize(
    ("objective", "better", "worse"),
    [(Classification(), 0.9, 0.8), (Regression(), 0.1, 0.2), (Reconstruction(), 0.1, 0.2)],
)
def test_better_is_more_accuracy_or_less_error_and_a_tie_is_neither(
    objective: Objective, better: float, worse: float
) -> None:
    assert objective.is_better(worse, None)
    assert objective.is_better(better, worse)
    assert not objective.is_better(worse, better)
    assert not objective.is_better(better, better)


# Targets and refusals ----------------------------------------------------------------------------


def test_targets_are_labels_values_or_the_images() -> None:
    labels = Classification().targets(labelled(), "train")
    assert as_tensor(Classification().wanted(labelled(), "train")).dtype == torch.int64
    assert labels[:4].tolist() == [0, 1, 2, 0]
    one = Regression().targets(with_targets(), "test")
    assert one.shape == (48, 1)
    assert as_tensor(Regression().wanted(with_targets(), "test")).dtype == torch.float32
    many = Regression().targets(with_targets(np.ones((48, 3)) * [1, 2, 3]), "train")
    assert many[5].tolist() == [1, 2, 3]
    flat = Reconstruction().targets(labelled(), "test")
    assert np.array_equal(flat, images().reshape(48, 16))
    whole = (images() * 255).astype(np.uint8)
    flat = Reconstruction().targets(labelled(whole), "test")
    assert flat.dtype == np.float32
    assert flat.max() <= 1
    assert np.array_equal(np.rint(flat * 255), whole.reshape(48, 16))


@pytest.mark.parametrize(
    ("objective", "dataset", "reason"),
    [
        (Classification(), with_targets(), 'has real targets and no labels; .*"regression"'),
        (Regression(), labelled(), 'has labels of 3 classes and no real targets; .*"class'),
        (Reconstruction(), events(), "holds events, which are not reconstructed; give images"),
    ],
)
def test_data_without_such_targets_are_refused(
    objective: Objective, dataset: ImageDataset, reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        objective.targets(dataset, "train")


def test_a_network_for_targets_that_there_are_none_of_is_refused() -> None:
    with pytest.raises(DataError, match="has real targets and no labels"):
        Classification().check_outputs(with_targets(), 1)
    with pytest.raises(DataError, match="has labels of 3 classes and no real targets"):
        Regression().check_outputs(labelled(), 1)


@pytest.mark.parametrize(
    ("objective", "dataset", "wrong", "right", "reason"),
    [
        (Classification(), labelled(), 2, 3, "has 3 classes; the model has 2 outputs"),
        (Regression(), with_targets(), 2, 1, "has 1 target value a sample; the model has 2"),
        (Reconstruction(), labelled(), 3, 16, "samples have 16 values; the model puts out 3"),
    ],
)
def test_another_number_of_outputs_is_refused(
    objective: Objective, dataset: ImageDataset, wrong: int, right: int, reason: str
) -> None:
    objective.check_outputs(dataset, right)
    assert objective.outputs(dataset) == right
    with pytest.raises(DataError, match=reason):
        objective.check_outputs(dataset, wrong)


def test_objectives_are_made_by_name() -> None:
    for name in ("classification", "regression", "reconstruction"):
        assert make_objective(name).name == name
    smoothed = make_objective("classification", 0.2)
    assert isinstance(smoothed, Classification)
    assert smoothed.label_smoothing == 0.2
    with pytest.raises(DataError, match='objective is "ranking"; allowed are classification'):
        make_objective("ranking")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="label_smoothing is for labels; a regression has none"):
        make_objective("regression", 0.1)
    with pytest.raises(DataError, match="a reconstruction has none"):
        TrainingOptions(objective="reconstruction", label_smoothing=0.1)


@pytest.mark.parametrize(
    ("dataset", "outputs", "expected"),
    [
        (labelled(), 3, "classification"),
        (labelled(), 16, "reconstruction"),
        (labelled(), 5, "classification"),  # the test part may lack the last labels
        (labelled(classes=16), 16, "classification"),
        (with_targets(), 1, "regression"),
        (with_targets(), 16, "reconstruction"),
        (with_targets(np.ones((48, 16))), 16, "regression"),
        (events(), 2, "classification"),
        (events(), 15, "classification"),
    ],
)
def test_outputs_tell_what_a_network_does(
    dataset: ImageDataset, outputs: int, expected: str
) -> None:
    objective = fitting_objective(dataset, outputs)
    assert objective.name == expected
    objective.check_outputs(dataset, outputs)


@pytest.mark.parametrize(
    ("dataset", "outputs", "reason"),
    [
        (labelled(), 2, "has 3 classes and samples of 16 values, and the network 2 outputs"),
        (with_targets(), 3, "has 1 target value a sample and samples of 16 values"),
        (events(), 1, "events: has 2 classes, and the network 1 output, which suit none"),
    ],
)
def test_outputs_that_suit_nothing_are_refused(
    dataset: ImageDataset, outputs: int, reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        fitting_objective(dataset, outputs)


def test_real_values_are_the_integers_times_the_scale_of_the_readout() -> None:
    network = small_network()
    object.__setattr__(network, "readout_scale", 0.25)
    recording = ReferenceBackend().run(network, random_inputs(network, 5))
    assert recording.output.any()
    values = real_values(network, recording)
    assert values.dtype == np.float32
    assert np.array_equal(values * 4, recording.output)


# Training ----------------------------------------------------------------------------------------

OPTIONS: dict[str, Any] = {"epochs": 8, "batch_size": 8, "learning_rate": 1e-2, "validation": 0.25}


def model(outputs: int) -> TandemNetwork:
    seed_everything(0)
    layers = nn.Sequential(nn.Flatten(), nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, outputs))
    return convert(layers, input_shape=SHAPE, num_steps=5, weight_bits=8, input_bits=4)


@pytest.mark.parametrize(
    ("objective", "dataset", "outputs"),
    [("regression", with_targets(), 1), ("reconstruction", labelled(), 16)],
)
def test_training_lowers_the_error_and_the_exported_network_has_it(
    objective: Any, dataset: ImageDataset, outputs: int, tmp_path: Path
) -> None:
    options = TrainingOptions(objective=objective, **OPTIONS)
    summary = train(model(outputs), dataset, options, tmp_path)
    first, last = summary["epochs"][0], summary["epochs"][-1]
    assert last["spike_rate"] > 0
    assert last["mse"] < first["mse"] / 2
    assert last["validation_mse"] < first["validation_mse"]
    made = make_objective(objective)
    wanted = as_tensor(made.wanted(dataset, "test"))
    assert summary["test_mse"] < float(wanted.var(0, correction=0).mean())

    network = freeze(load_checkpoint(tmp_path / "checkpoint.pt").model)
    recording = ReferenceBackend().run(network, dataset.integers(dataset.x_test, network.input))
    assert all(counts.any() for counts in recording.counts.values())
    found = made.measure(torch.from_numpy(real_values(network, recording)), wanted)
    assert {f"test_{name}": value for name, value in found.items()} == {
        name: value for name, value in summary.items() if name.startswith("test_")
    }


def test_the_best_checkpoint_has_the_lowest_error_on_validation_data(tmp_path: Path) -> None:
    options = TrainingOptions(objective="regression", **OPTIONS | {"learning_rate": 0.05})
    train(model(1), with_targets(), options, tmp_path)
    epochs = json.loads((tmp_path / "metrics.json").read_text())["epochs"]
    errors = [epoch["validation_mse"] for epoch in epochs]
    best = errors.index(min(errors))
    assert best < len(errors) - 1  # the last one is not taken because it is the last
    assert len(load_checkpoint(tmp_path / "checkpoint.pt").metrics) == best + 1
