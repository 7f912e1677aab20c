"""Regression and reconstruction from the data to the verification, by the command line."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tandem_hw.cli.metrics import for_json
from tandem_hw.conformance.layers import changed
from tandem_hw.data.datasets import load_dataset
from tandem_hw.errors import DataError
from tandem_hw.export.net_file import read_net, write_net
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.sim import registry
from tandem_hw.sim.backend import SimulationResult
from tandem_hw.sim.loihi2.backend import Loihi2Backend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.zoo.recipes import RECIPES
from tests.helpers.command_line import run, succeed, written_json

TRAINING = (
    *("--model", "mlp", "--epochs", 12, "--batch-size", 10, "--learning-rate", 5e-3),
    *("--num-steps", 4, "--input-bits", 6, "--validation", 0),
)
#: What each objective is judged by.
METRICS = {"regression": ("mse", "mae", "r2"), "reconstruction": ("mse", "psnr")}
SAMPLES = 20


def write_data(path: Path, **changed: Any) -> str:
    """Write images of 4x4 pixels whose target is their mean; return the data set's name."""
    values = np.random.default_rng(0)
    images = values.uniform(0, 1, (60 + SAMPLES, 1, 1)) * values.uniform(0.5, 1, (80, 4, 4))
    targets = images.mean(axis=(1, 2)) - 0.1
    parts = {"train": slice(SAMPLES, None), "test": slice(SAMPLES)}
    arrays = {f"x_{name}": images[part] for name, part in parts.items()}
    arrays |= {f"y_{name}": targets[part] for name, part in parts.items()}
    np.savez(path, **arrays | changed)
    return f"npz:{path}"


class Trained:
    """A network of one objective, trained and exported."""

    def __init__(self, folder: Path, objective: str) -> None:
        self.objective, self.folder = objective, folder
        self.data, self.net = write_data(folder / "data.npz"), folder / "model.net"
        told = ("--objective", objective, "--out", folder / "run")
        self.output = succeed("train", self.data, *TRAINING, *told).stdout
        succeed("export", self.checkpoint, "--out", self.net)

    @property
    def checkpoint(self) -> Path:
        return self.folder / "run" / "checkpoint.pt"

    @property
    def metrics(self) -> dict[str, float]:
        """What the training found on the test set."""
        found = written_json(self.folder / "run" / "metrics.json")
        return {name: found[f"test_{name}"] for name in METRICS[self.objective]}


@pytest.fixture(scope="module", params=["regression", "reconstruction"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp(request.param), request.param)


# Data --------------------------------------------------------------------------------------------


def test_diabetes_has_ten_measurements_and_one_target_all_from_0_to_1() -> None:
    data = load_dataset("diabetes")
    assert data.shape == (10,)
    assert (data.classes, data.outputs) == (0, 1)
    assert (len(data.x_train), len(data.x_test)) == (354, 88)
    for values in (data.x_train, data.x_test, data.y_train, data.y_test):
        assert values.dtype == np.float32
        assert 0 <= values.min() < 0.2 < 0.8 < values.max() <= 1
    # In the unit that scikit-learn has them in: whole numbers, no sample twice, none lost.
    from sklearn.datasets import load_diabetes

    targets = np.concatenate([data.y_train, data.y_test]) * 346
    assert np.array_equal(np.sort(np.rint(targets)), np.sort(load_diabetes().target))
    test = load_dataset("diabetes", need="test")
    assert len(test.x_train) == len(test.y_train) == 0
    assert np.array_equal(test.y_test, data.y_test)


def test_float_targets_make_a_regression_of_as_many_outputs(tmp_path: Path) -> None:
    one = load_dataset(write_data(tmp_path / "one.npz"))
    assert (one.classes, one.outputs, one.y_test.dtype) == (0, 1, np.dtype(np.float32))
    targets = np.arange(180.0).reshape(60, 3)
    many = load_dataset(write_data(tmp_path / "many.npz", y_train=targets, y_test=targets[:20]))
    assert (many.classes, many.outputs) == (0, 3)
    assert np.array_equal(many.y_train, targets)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"y_test": np.full(SAMPLES, np.nan)}, "y_test holds values that are not finite"),
        ({"y_test": np.ones(SAMPLES - 1)}, "y_test has shape .* one target, or one row of targets"),
        ({"y_test": np.ones((SAMPLES, 2))}, "y_train is float32 .* with as many values a sample"),
        ({"y_train": np.zeros(60, int)}, "y_train is int64 .* both hold labels, or targets"),
    ],
)
def test_damaged_targets_are_refused(tmp_path: Path, changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        load_dataset(write_data(tmp_path / "data.npz", **changed))


@pytest.mark.parametrize("name", ["diabetes", "autoencoder-digits"])
def test_a_recipe_sets_every_option_that_it_names(name: str, tmp_path: Path) -> None:
    few = ("--epochs", 1, "--samples", 64)
    succeed("train", "--recipe", name, *few, "--out", tmp_path)
    metrics = written_json(tmp_path / "metrics.json")
    wanted = dict(RECIPES[name].settings) | {"epochs": 1, "samples": 64}
    assert metrics["data"] == wanted.pop("data")
    outputs = {"mlp": 1, "autoencoder": 64}[wanted.pop("model")]
    found = (
        metrics["options"] | metrics["architecture"]["options"] | metrics["architecture"]["input"]
    )
    found["input_bits"] = found.pop("bits")
    assert {option: found[option] for option in wanted} == wanted
    assert metrics["test_mse"] > 0
    assert load_checkpoint(tmp_path / "checkpoint.pt").model.outputs == outputs


# The commands ------------------------------------------------------------------------------------


def test_training_says_how_far_off_the_network_is(trained: Trained) -> None:
    assert f"test MSE {trained.metrics['mse']:.4g}" in trained.output
    assert "of the integer network (20 samples)" in trained.output
    first = written_json(trained.folder / "run" / "metrics.json")["epochs"][0]
    assert trained.metrics["mse"] < first["mse"] / 2


def test_simulate_finds_the_numbers_of_the_training(trained: Trained, tmp_path: Path) -> None:
    result = succeed("simulate", trained.net, "--data", trained.data, "--json", tmp_path / "r.json")
    content = written_json(tmp_path / "r.json")
    assert content["objective"] == trained.objective
    assert {name: content[name] for name in trained.metrics} == trained.metrics
    assert "accuracy" not in content
    assert "accuracy" not in result.stdout
    assert all(layer["spikes"] > 0 for layer in content["layers"][:-1])
    assert content["synops_per_sample"] > 0
    shown = "PSNR" if trained.objective == "reconstruction" else "R^2"
    assert f"MSE {trained.metrics['mse']:.4g}" in result.stdout
    assert shown in result.stdout
    assert "SynOps a sample" in result.stdout


def test_simulate_draws_a_picture_of_the_data(trained: Trained, tmp_path: Path) -> None:
    image = pytest.importorskip("matplotlib.image")
    drawn = []
    for samples in (4, 8):
        path = tmp_path / f"{samples}.png"
        told = ("--data", trained.data, "--samples", samples, "--plot", path)
        succeed("simulate", trained.net, *told)
        drawn.append(image.imread(path))
    assert drawn[0].shape == drawn[1].shape
    assert not np.array_equal(*drawn)


def test_a_plot_without_matplotlib_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    # There is no network either, which would be the next thing to be missed.
    result = run("simulate", tmp_path / "no.net", "--plot", tmp_path / "run.png")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: plots need matplotlib")
    assert line.endswith("pip install '.[plots]'")
    assert list(tmp_path.iterdir()) == []


def test_a_plot_may_not_take_the_place_of_another_file(trained: Trained, tmp_path: Path) -> None:
    twice = tmp_path / "run.png"
    result = run("simulate", trained.net, "--json", twice, "--plot", twice)
    assert result.exit_code == 2
    assert "is given twice" in result.stderr
    result = run("simulate", trained.net, "--plot", tmp_path / "run.svg")
    assert result.exit_code == 2
    assert "give a name that ends in .png" in result.stderr


class Spoilt(ReferenceBackend):
    """A backend whose first output is one weight unit too high."""

    name = "spoilt"

    def simulate(self, *given: Any, **asked: Any) -> SimulationResult:
        result = super().simulate(*given, **asked)
        assert result.potential is not None
        potential = result.potential.copy()
        potential[0, 0] += 1
        return replace(result, potential=potential)


def test_verify_compares_bit_for_bit_and_shows_the_metrics_of_each_backend(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ("verify", trained.net, "--data", trained.data, "--json", tmp_path / "v.json")
    result = succeed(*told, "--backends", "reference", "--checkpoint", trained.checkpoint)
    assert "MATCH: every spike count and every output is equal" in result.stdout
    content = written_json(tmp_path / "v.json")
    assert content["objective"] == trained.objective
    assert content["metrics"] == dict.fromkeys(("reference", "pytorch"), trained.metrics)
    assert all(layer["spikes"] > 0 for layer in content["layers"])
    for backend in ("reference", "pytorch"):
        assert f"{backend}: MSE {trained.metrics['mse']:.4g}, " in result.stdout

    monkeypatch.setitem(registry.BACKENDS, Spoilt.name, Spoilt)
    result = run(*told, "--backends", "reference,spoilt", "--overwrite")
    assert result.exit_code == 1
    assert "MISMATCH: first in spoilt: layer dense3, sample 0" in result.stdout
    content = written_json(tmp_path / "v.json")
    assert content["readout"]["mismatched"] == 1
    assert content["metrics"]["reference"] == trained.metrics
    assert content["metrics"]["spoilt"]["mse"] != trained.metrics["mse"]


def test_deploy_shows_the_metrics_too(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def board(backend: Loihi2Backend, *given: Any, **asked: Any) -> SimulationResult:
        return ReferenceBackend().simulate(*given, **asked)

    monkeypatch.setattr(Loihi2Backend, "why_unavailable", lambda self: self.choice.why_not())
    monkeypatch.setattr(Loihi2Backend, "simulate", board)
    told = ("deploy", trained.net, "--data", trained.data, "--host", "10.0.0.1")
    assert f"MSE {trained.metrics['mse']:.4g}" in succeed(*told).stdout
    result = succeed(*told, "--verify", "--json", tmp_path / "d.json")
    assert f"loihi2: MSE {trained.metrics['mse']:.4g}" in result.stdout
    content = written_json(tmp_path / "d.json")
    assert content["objective"] == trained.objective
    assert {name: content[name] for name in trained.metrics} == trained.metrics


def test_a_network_that_suits_neither_is_refused(trained: Trained, tmp_path: Path) -> None:
    network = read_net(trained.net)
    last = network.layers[-1]
    last = changed(
        last, weight=last.synapses[0].weight[[0, 0, 0]], bias=last.neurons.bias[[0, 0, 0]]
    )
    three = replace(network, layers=(*network.layers[:-1], last))
    unknown = "has 1 target value a sample and samples of 16 values, and the network 3 outputs"
    known = f"this network was trained for {trained.objective}, so give data for that"
    for meaning, needed in ((None, unknown), (network.meaning, known)):
        write_net(replace(three, meaning=meaning), tmp_path / "three.net")
        result = run("simulate", tmp_path / "three.net", "--data", trained.data)
        assert result.exit_code == 2
        assert needed in result.stderr


def test_what_json_cannot_say_is_null(trained: Trained, tmp_path: Path) -> None:
    told = ("--data", trained.data, "--samples", 1, "--json", tmp_path / "one.json")
    succeed("simulate", trained.net, *told)
    content = written_json(tmp_path / "one.json")
    if trained.objective == "regression":  # one target does not vary
        assert content["r2"] is None
    assert content["mse"] >= 0
    assert for_json({"psnr": float("inf"), "mse": 0.0}) == {"psnr": None, "mse": 0.0}
