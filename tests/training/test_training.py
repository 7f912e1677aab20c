from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tandem_hw.data.dataset import Labels
from tandem_hw.errors import ConversionError, DataError, FileFormatError
from tandem_hw.learning.checkpoint import load_checkpoint, save_checkpoint
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.network.inputs import quantize_inputs
from tandem_hw.training import loop as training
from tandem_hw.training.loop import (
    StepReport,
    TrainingOptions,
    evaluate,
    seed_everything,
    train,
)
from tandem_hw.training.objectives import Classification
from tandem_hw.training.options import EPOCHS_MAX
from tests.helpers.image_trainings import OPTIONS, contents, interrupt_in, make_data, make_model
from tests.helpers.trainings import anonymous


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Train without a break, once for all the tests that look at the result."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(make_model(), make_data(), OPTIONS, folder)


Whole = tuple[Path, dict[str, Any]]


def test_a_resumed_training_gives_the_same_bits_as_an_unbroken_one(
    whole: Whole, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), make_data(), OPTIONS, tmp_path, report=interrupt_in(2, 3))
    assert [epoch["epoch"] for epoch in load_checkpoint(tmp_path / "last.pt").metrics] == [1]
    torch.rand(17)  # another process would have other random numbers
    fresh = make_model()
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.add_(1)  # and other initial weights
    summary = train(fresh, make_data(), OPTIONS, tmp_path, resume=True)
    assert anonymous(summary) == anonymous(whole[1])
    assert contents(tmp_path) == contents(whole[0])
    for folder, told in ((tmp_path, summary), whole):
        assert (folder / "metrics.json").read_text() == json.dumps(told, indent=2) + "\n"


def test_resuming_a_finished_training_changes_nothing(whole: Whole, tmp_path: Path) -> None:
    shutil.copytree(whole[0], tmp_path / "copy")
    summary = train(make_model(), make_data(), OPTIONS, tmp_path / "copy", resume=True)
    assert summary == whole[1]
    assert contents(tmp_path / "copy") == contents(whole[0])


def test_the_same_seed_gives_the_same_result(whole: Whole, tmp_path: Path) -> None:
    model = make_model()
    torch.rand(23)  # the dropout hangs on the seed alone
    summary = train(model, make_data(), OPTIONS, tmp_path)
    assert anonymous(summary) == anonymous(whole[1])
    assert summary["run"] != whole[1]["run"]
    assert contents(tmp_path) == contents(whole[0])


def test_another_seed_gives_another_result(whole: Whole, tmp_path: Path) -> None:
    summary = train(make_model(), make_data(), replace(OPTIONS, seed=6), tmp_path)
    assert summary["epochs"] != whole[1]["epochs"]


def test_seeding_everything_makes_the_same_model() -> None:
    weights = []
    for seed in (3, 3, 4):
        seed_everything(seed)
        weights.append(nn.Linear(5, 5).weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_training_lowers_the_loss_and_beats_chance(tmp_path: Path) -> None:
    options = replace(OPTIONS, epochs=8)
    summary = train(make_model(), make_data(), options, tmp_path)
    losses = [epoch["loss"] for epoch in summary["epochs"]]
    assert losses[-1] < 0.6 * losses[0]
    assert summary["epochs"][-1]["accuracy"] > 0.8
    assert summary["test_accuracy"] > 0.8  # chance is 1/3
    assert 0 < summary["epochs"][-1]["spike_rate"] < 1


def test_metrics_are_written_as_json(whole: Whole) -> None:
    folder, summary = whole
    assert json.loads((folder / "metrics.json").read_text(encoding="utf-8")) == json.loads(
        json.dumps(summary)
    )
    wanted = {
        *(
            "run",
            "data",
            "architecture",
            "options",
            "epochs",
            "seconds",
            "test_accuracy",
            "silent_layers",
        )
    }
    assert summary.keys() == wanted
    assert summary["silent_layers"] == []
    assert (summary["data"], summary["options"]) == ("rows", asdict(OPTIONS))
    assert summary["architecture"] == make_model().architecture.to_dict()
    assert [epoch["epoch"] for epoch in summary["epochs"]] == [1, 2, 3]
    for epoch in summary["epochs"]:
        for name in ("accuracy", "validation_accuracy", "spike_rate"):
            assert 0 < epoch[name] <= 1
        assert epoch["loss"] > 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint.pt",
        "last.pt",
        "metrics.json",
    ]


def test_the_best_checkpoint_is_chosen_by_validation_and_the_test_set_seen_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_data()
    scripted = iter([0.3, 0.9, 0.9, 0.5])
    sizes: list[int] = []

    def script(model: TandemNetwork, inputs: Tensor, labels: Tensor, *_: Any) -> dict[str, float]:
        sizes.append(len(labels))
        return {"accuracy": next(scripted) if len(labels) == 24 else 0.0}

    monkeypatch.setattr(training, "evaluate", script)
    train(make_model(), data, replace(OPTIONS, epochs=4), tmp_path)
    best, last = (load_checkpoint(tmp_path / name) for name in ("checkpoint.pt", "last.pt"))
    assert sizes == [24, 24, 24, 24, 30]
    assert [epoch["validation_accuracy"] for epoch in last.metrics] == [0.3, 0.9, 0.9, 0.5]
    assert len(best.metrics) == 2  # of two equals, the earlier
    assert (len(last.metrics), last.training["best"]) == (4, 0.9)
    assert best.training == {}


def test_the_test_accuracy_is_that_of_the_best_checkpoint(whole: Whole) -> None:
    folder, summary = whole
    best = load_checkpoint(folder / "checkpoint.pt")
    accuracies = [epoch["validation_accuracy"] for epoch in summary["epochs"]]
    assert len(best.metrics) == accuracies.index(max(accuracies)) + 1
    data, spec = make_data(), best.model.architecture.input
    images = torch.from_numpy(quantize_inputs(data.x_test, spec.bits, spec.scale))
    found = (best.model(images).argmax(1).numpy() == data.y_test).mean()
    assert summary["test_accuracy"] == found


def test_without_validation_the_last_epoch_is_the_best(tmp_path: Path) -> None:
    summary = train(make_model(), make_data(), replace(OPTIONS, validation=0.0), tmp_path)
    assert [epoch["validation_accuracy"] for epoch in summary["epochs"]] == [None] * 3
    best, last = (load_checkpoint(tmp_path / name) for name in ("checkpoint.pt", "last.pt"))
    assert len(best.metrics) == 3
    for name, value in last.model.state_dict().items():
        assert torch.equal(best.model.state_dict()[name], value)


def test_every_step_is_reported_and_each_epoch_when_it_is_written(tmp_path: Path) -> None:
    steps: list[StepReport] = []
    epochs: list[tuple[int, int]] = []

    def epoch_done(metrics: dict[str, Any]) -> None:
        epochs.append((metrics["epoch"], len(load_checkpoint(tmp_path / "last.pt").metrics)))

    options = replace(OPTIONS, epochs=2)
    summary = train(
        make_model(), make_data(), options, tmp_path, report=steps.append, epoch_done=epoch_done
    )
    # 96 samples are left to train on, six batches of 16.
    assert [(s.epoch, s.batch) for s in steps] == [(e, b) for e in (1, 2) for b in range(1, 7)]
    assert {(s.epochs, s.batches) for s in steps} == {(2, 6)}
    assert (steps[-1].loss, steps[-1].metric, steps[-1].spike_rate) == tuple(
        summary["epochs"][-1][name] for name in ("loss", "accuracy", "spike_rate")
    )
    assert epochs == [(1, 1), (2, 2)]


OTHER_OPTIONS = {
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 0.02,
    "weight_decay": 0.1,
    "validation": 0.3,
    "seed": 6,
}


@pytest.mark.parametrize("name", OTHER_OPTIONS)
def test_resuming_with_other_options_is_refused(whole: Whole, name: str) -> None:
    other: dict[str, Any] = {name: OTHER_OPTIONS[name]}
    options = replace(OPTIONS, **other)
    before = contents(whole[0])
    message = rf"last\.pt: was trained with {name} .*, not {OTHER_OPTIONS[name]}"
    with pytest.raises(DataError, match=message):
        train(make_model(), make_data(), options, whole[0], resume=True)
    assert contents(whole[0]) == before


def test_resuming_with_another_network_or_other_data_is_refused(whole: Whole) -> None:
    message = (
        r"last\.pt: holds another network, which was made with num_steps \d+, not 5; a resumed"
    )
    with pytest.raises(DataError, match=message):
        train(make_model(num_steps=5), make_data(), OPTIONS, whole[0], resume=True)
    with pytest.raises(DataError, match=r"last\.pt: was trained on rows, not on columns"):
        train(make_model(), make_data(name="columns"), OPTIONS, whole[0], resume=True)


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ({"firing_delay": "phased"}, "firing_delay 0, not 3"),
        ({"reset": "zero", "num_steps": 3}, "num_steps 4, not 3"),
        ({"weight_bits": 5}, "weight_bits 8, not 5"),
        ({"input_bits": 5}, "input bits 4, not 5"),
        ({"encoding": "constant"}, "input encoding first_step, not constant"),
        ({"readout": "count"}, "readout potential, not count"),
    ],
    ids=str,
)
def test_resuming_says_what_of_the_network_is_another(
    whole: Whole, other: dict[str, Any], difference: str
) -> None:
    message = rf"another network, which was made with {difference}; a resumed training keeps its"
    with pytest.raises(DataError, match=message):
        train(make_model(**other), make_data(), OPTIONS, whole[0], resume=True)


def test_resuming_at_another_epoch_than_the_schedules_is_refused(
    whole: Whole, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(whole[0] / "last.pt")
    checkpoint.training["epoch"] = 1
    save_checkpoint(checkpoint, tmp_path / "last.pt")
    with pytest.raises(FileFormatError, match="its schedule does not stand at epoch 1"):
        train(make_model(), make_data(), OPTIONS, tmp_path, resume=True)


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    message = r"last\.pt: does not exist, so no epoch .* was finished; start it without --resume"
    (tmp_path / "training.lock").write_text("process 1 on elsewhere\n")  # killed in its first
    with pytest.raises(FileFormatError, match=message):
        train(make_model(), make_data(), OPTIONS, tmp_path, resume=True)
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_no_number_ends_the_training_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in (float("nan"), float("inf")):
        monkeypatch.setattr(
            Classification, "loss", lambda _, outputs, __, value=value: outputs.sum() * value
        )
        with pytest.raises(
            ConversionError, match=r"the loss is .*; lower the learning rate, which"
        ):
            train(make_model(), make_data(), OPTIONS, tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_more_epochs_than_any_training_needs_are_refused() -> None:
    assert TrainingOptions(epochs=EPOCHS_MAX).epochs == EPOCHS_MAX
    with pytest.raises(DataError, match=rf"epochs is {10**20}; give at most {EPOCHS_MAX}"):
        TrainingOptions(epochs=10**20)


@pytest.mark.parametrize("key", ["optimizer", "schedule", "epoch", "best", "random"])
@pytest.mark.parametrize("value", ["missing", "text", None, {}, torch.zeros(2)])
def test_a_damaged_state_is_refused(whole: Whole, tmp_path: Path, key: str, value: Any) -> None:
    checkpoint = load_checkpoint(whole[0] / "last.pt")
    if value == "missing":
        del checkpoint.training[key]
    else:
        checkpoint.training[key] = value
    save_checkpoint(checkpoint, tmp_path / "last.pt")
    shutil.copy(whole[0] / "checkpoint.pt", tmp_path)
    with pytest.raises(FileFormatError, match=r"last\.pt: the state of the training is damaged"):
        train(make_model(), make_data(), OPTIONS, tmp_path, resume=True)


OF_FOUR = Labels(np.arange(150) % 3, classes=4)
UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "shape": (
        {"x_train": np.zeros((120, 16)), "x_test": np.zeros((30, 16))},
        r"shape \(16,\); the",
    ),
    "classes": (
        {"wanted_train": OF_FOUR[:120], "wanted_test": OF_FOUR[120:]},
        "has 4 classes; the model has 3 outputs",
    ),
    "few samples": (
        {"x_train": np.ones((15, 1, 4, 4)), "wanted_train": Labels(np.arange(15) % 3, 3)},
        "12 training samples are less than one batch of 16",
    ),
    "no samples": (
        {"x_train": np.zeros((0, 1, 4, 4)), "wanted_train": Labels(np.zeros(0, int), 3)},
        "0 training samples are less than one batch",
    ),
    "labels": (
        {"wanted_train": Labels(np.zeros(119, int), 3)},
        "has 120 training samples and 119 labels",
    ),
    "out of range": ({"x_train": np.full((120, 1, 4, 4), 2.0)}, "samples span"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_data_that_do_not_fit_are_refused_before_anything_is_written(
    tmp_path: Path, case: str
) -> None:
    changes, message = UNFIT[case]
    with pytest.raises(DataError, match=message):
        train(make_model(), make_data(**changes), OPTIONS, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "at least one epoch"),
        ({"epochs": 2.0}, "epochs is 2.0; a whole number is needed"),
        ({"samples": 3.5}, "samples is 3.5; a whole number is needed"),
        ({"teacher": 1.0}, "teacher is 1.0; give the path of a checkpoint"),
        ({"batch_size": 1}, "batches of at least 2 samples"),
        ({"validation": 1.0}, r"validation is 1\.0; give a share from 0 to below 1"),
        ({"validation": -0.1}, r"validation is -0\.1"),
        ({"learning_rate": 0.0}, r"learning_rate is 0\.0; give a positive number"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"learning_rate": float("inf")}, "learning_rate is inf"),
        ({"weight_decay": -0.1}, r"weight_decay is -0\.1"),
    ],
)
def test_options_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        replace(OPTIONS, **changes)


def test_a_seed_out_of_range_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="seed is -1; allowed are 0 to"):
        train(make_model(), make_data(), replace(OPTIONS, seed=-1), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_evaluation_counts_correct_predictions_and_keeps_the_mode(mode: str) -> None:
    model, objective = make_model().train(mode == "train"), Classification()
    images = torch.randint(0, 16, (300, 1, 4, 4), dtype=torch.uint8)  # more than one batch
    state = {name: value.clone() for name, value in model.state_dict().items()}
    predicted = model.eval()(images).argmax(1)
    model.train(mode == "train")
    assert len(predicted.unique()) > 1
    assert evaluate(model, images, predicted, objective) == {"accuracy": 1.0}
    wrong = torch.where(torch.arange(300) < 75, (predicted + 1) % 3, predicted)
    assert evaluate(model, images, wrong, objective) == {"accuracy": 0.75}
    assert model.training == (mode == "train")
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert evaluate(model, images[:0], predicted[:0], objective) is None
