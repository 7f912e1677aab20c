"""Every way to train: a training with it is another one, and a break changes no bit of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from tandem_hw.conversion.convert import convert
from tandem_hw.data.dataset import Labels
from tandem_hw.data.event_data import EventDataset
from tandem_hw.errors import DataError, FileFormatError
from tandem_hw.learning.checkpoint import load_checkpoint, save_checkpoint
from tandem_hw.training.loop import evaluate, train
from tandem_hw.training.methods.distillation import Teacher
from tandem_hw.training.objectives import Classification
from tandem_hw.training.options import PRESETS, Augmentation, TrainingOptions, augmentation_named
from tandem_hw.training.run_files import BEST_NAME, LAST_NAME
from tests.helpers import trainings as rows
from tests.helpers.image_trainings import OPTIONS as THREE_EPOCHS
from tests.helpers.image_trainings import contents, interrupt_in, make_data, make_model
from tests.helpers.trainings import anonymous

OPTIONS = replace(THREE_EPOCHS, epochs=2)
#: Options of a training that differs from the plain one, with a teacher where one is to be.
WAYS: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "sgd": {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 5e-4},
    "warm-up": {"warm_up": 1},
    "one-cycle": {"learning_rate_schedule": "one-cycle"},
    "clip-gradient": {"clip_gradient": 0.05, "optimizer": "sgd"},
    "mixup": {"mix": "mixup"},
    "cutmix": {"mix": "cutmix", "label_smoothing": 0.1},
    "cutout": {"augmentation": "cifar+cutout"},
    "ema": {"ema": 0.9},
    "teacher": {"teacher": "teacher.pt", "teacher_weight": 0.7, "temperature": 2.0},
    "all": {
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "weight_decay": 5e-4,
        "warm_up": 1,
        "clip_gradient": 1.0,
        "mix": "mixup",
        "ema": 0.99,
        "teacher": "teacher.pt",
    },
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a ReLU network, once for all the tests that learn from it."""
    folder = tmp_path_factory.mktemp("teacher")
    train(make_model(), make_data(), replace(OPTIONS, schedule="ordinary"), folder)
    return folder / BEST_NAME


Plain = tuple[Path, dict[str, Any]]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Plain:
    folder = tmp_path_factory.mktemp("plain")
    return folder, train(make_model(), make_data(), OPTIONS, folder)


def options_of(way: str, teacher: Path) -> TrainingOptions:
    changes = dict(WAYS[way])
    if "teacher" in changes:
        changes["teacher"] = str(teacher)
    return replace(OPTIONS, **changes)


@pytest.mark.parametrize("way", WAYS)
def test_a_resumed_training_gives_the_same_bits(
    way: str, teacher: Path, plain: Plain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "cutout", Augmentation(cutout=2))  # of small images
    options = options_of(way, teacher)
    whole = train(make_model(), make_data(), options, tmp_path / "whole")
    number = "validation_accuracy" if way == "ema" else "loss"  # an average is judged alone
    found, usual = ([one[number] for one in run["epochs"]] for run in (whole, plain[1]))
    assert found != usual
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), make_data(), options, tmp_path / "cut", report=interrupt_in(2, 3))
    torch.rand(5)
    fresh = make_model()
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.add_(1)
    resumed = train(fresh, make_data(), options, tmp_path / "cut", resume=True)
    assert anonymous(resumed) == anonymous(whole)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    assert 0 < resumed["epochs"][-1]["spike_rate"] < 1


@pytest.mark.parametrize("way", WAYS)
def test_another_way_to_train_is_not_resumed(way: str, teacher: Path, plain: Plain) -> None:
    with pytest.raises(DataError, match=r"last\.pt: was trained with \w+ .*, not "):
        train(make_model(), make_data(), options_of(way, teacher), plain[0], resume=True)


def test_the_averaged_network_is_judged_kept_and_exported(tmp_path: Path) -> None:
    options = replace(OPTIONS, ema=0.95)
    summary = train(make_model(), make_data(), options, tmp_path)
    last, best = load_checkpoint(tmp_path / LAST_NAME), load_checkpoint(tmp_path / BEST_NAME)
    average = last.training["average"]
    assert not best.training
    chosen = max(summary["epochs"], key=lambda epoch: epoch["validation_accuracy"])
    assert [epoch["epoch"] for epoch in best.metrics] == list(range(1, chosen["epoch"] + 1))
    if chosen["epoch"] == 2:
        assert all(torch.equal(value, average[name]) for name, value in best_state(best).items())
    kept = last.training["best_checkpoint"]["parameters"]
    assert all(torch.equal(value, kept[name]) for name, value in best_state(best).items())
    weights = "layers.0.weight"
    assert not torch.equal(last.model.state_dict()[weights], average[weights])
    judged = best.model
    data = make_data()
    inputs = torch.from_numpy(data.integers(data.x_test, judged.architecture.input))
    targets = torch.from_numpy(data.y_test)
    found = evaluate(judged, inputs, targets, Classification())
    assert found == {"accuracy": summary["test_accuracy"]}


def best_state(checkpoint: Any) -> dict[str, Any]:
    return dict(checkpoint.model.state_dict())


def test_a_pruned_network_is_averaged_with_its_masks(tmp_path: Path) -> None:
    model = make_model()
    for layer in model.tandem_layers:
        prune.l1_unstructured(layer, "weight", amount=0.5)
    train(model, make_data(), replace(OPTIONS, ema=0.9, epochs=1), tmp_path)
    best = load_checkpoint(tmp_path / BEST_NAME).model
    for layer in best.tandem_layers:
        mask = dict(layer.named_buffers())["weight_mask"]
        assert 0.4 < float((mask == 0).double().mean()) < 0.6
        assert (layer.integer_parameters(1.0).weight[mask == 0] == 0).all()


def test_a_training_without_a_choice_draws_the_numbers_that_it_drew_before(
    plain: Plain, tmp_path: Path
) -> None:
    """An average is made beside the training, which goes on as without it."""
    averaged = train(make_model(), make_data(), replace(OPTIONS, ema=0.9), tmp_path)
    own = ("loss", "accuracy", "spike_rate")
    for found, wanted in zip(averaged["epochs"], plain[1]["epochs"], strict=True):
        assert [found[name] for name in own] == [wanted[name] for name in own]


def test_a_teacher_may_be_moved_but_not_replaced(teacher: Path, tmp_path: Path) -> None:
    first = shutil.copy(teacher, tmp_path / "one.pt")
    options = replace(OPTIONS, teacher=str(first))
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), make_data(), options, tmp_path / "run", report=interrupt_in(2, 1))
    moved = shutil.move(first, tmp_path / "two.pt")
    checkpoint = load_checkpoint(teacher)
    with torch.no_grad():
        next(checkpoint.model.parameters()).add_(1)
    save_checkpoint(checkpoint, first)
    with pytest.raises(DataError, match=r"was trained with another teacher than .*one\.pt now"):
        train(make_model(), make_data(), options, tmp_path / "run", resume=True)
    options = replace(options, teacher=str(moved))
    summary = train(make_model(), make_data(), options, tmp_path / "run", resume=True)
    assert len(summary["epochs"]) == OPTIONS.epochs


@pytest.mark.parametrize(
    ("pupil", "message"),
    [
        ({"input_bits": 8}, "takes inputs of 4 bits, scale .*, the network that it shall teach 8"),
        ({"encoding": "events"}, r"takes samples of shape \(1, 4, 4\), the network that it shall"),
    ],
)
def test_a_teacher_of_other_inputs_is_refused(
    teacher: Path, pupil: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=f"teacher .*{message}"):
        Teacher(str(teacher), make_model(**pupil), torch.device("cpu"))


def test_a_teacher_of_other_outputs_and_what_is_no_checkpoint_are_refused(
    teacher: Path, tmp_path: Path
) -> None:
    wide = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))
    model = convert(wide, input_shape=(1, 4, 4), num_steps=4)
    options = replace(OPTIONS, teacher=str(teacher))
    with pytest.raises(DataError, match="has 3 outputs, the network that it shall teach 4"):
        train(model, make_data(), options, tmp_path / "run")
    options = replace(OPTIONS, teacher=str(tmp_path / "none.pt"))
    with pytest.raises(FileFormatError, match=r"none\.pt: does not exist; give a checkpoint"):
        train(make_model(), make_data(), options, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_events_are_not_mixed(mix: Any, tmp_path: Path) -> None:
    events = np.zeros((30, 4, 1, 4, 4), np.uint8)
    labels = Labels(np.arange(30) % 3, classes=3)
    binned = EventDataset("points", events, labels, events, labels, input_bits=4, clipped=0)
    options = replace(OPTIONS, mix=mix)
    message = f"points: holds events of shape .*, which mix {mix} cannot change"
    with pytest.raises(DataError, match=message):
        train(make_model(encoding="events"), binned, options, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_measurements_are_mixed_whole_and_not_cut(tmp_path: Path) -> None:
    options = replace(rows.NEW, mix="mixup", epochs=1)
    summary = rows.run(tmp_path / "mixup", options)
    assert summary["epochs"] != rows.run(tmp_path / "plain", replace(options, mix="none"))["epochs"]
    with pytest.raises(DataError, match=r"mix cutmix: rows has samples of shape \(8,\); images"):
        rows.run(tmp_path / "cutmix", replace(options, mix="cutmix"))


def test_a_state_without_its_average_is_refused(tmp_path: Path) -> None:
    options = replace(OPTIONS, ema=0.9)
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), make_data(), options, tmp_path, report=interrupt_in(2, 1))
    checkpoint = load_checkpoint(tmp_path / LAST_NAME)
    del checkpoint.training["average"]
    save_checkpoint(checkpoint, tmp_path / LAST_NAME)
    with pytest.raises(FileFormatError, match=r"the state of the training is damaged \('average'"):
        train(make_model(), make_data(), options, tmp_path, resume=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "lion"}, 'optimizer is "lion"; allowed are adam, adamw, sgd'),
        ({"learning_rate_schedule": "flat"}, 'schedule is "flat"; allowed are cosine, one-cycle'),
        ({"mix": "blend"}, 'mix is "blend"; allowed are none, mixup, cutmix'),
        (
            {"warm_up": 5, "epochs": 5},
            "warm_up is 5 and epochs 5; let the learning rate rise in fewer epochs",
        ),
        ({"warm_up": -1}, "warm_up is -1; allowed are 0 to"),
        ({"warm_up": 0.5}, r"warm_up is 0\.5; allowed are .*, as a whole number"),
        ({"clip_gradient": -1.0}, r"clip_gradient is -1\.0; give zero or a positive number"),
        ({"ema": 1.0}, r"ema is 1\.0; give a share from 0 to below 1"),
        ({"teacher": "a.pt", "teacher_weight": 0.0}, r"teacher_weight is 0\.0; give a share above"),
        ({"teacher": "a.pt", "temperature": 0.0}, r"temperature is 0\.0; give a positive number"),
        ({"temperature": 2.0}, r"temperature is 2\.0, but there is no teacher; give a checkpoint"),
        ({"objective": "regression", "mix": "mixup"}, "mix is for labels, and the objective is r"),
        ({"objective": "regression", "teacher": "a"}, "teacher is for labels, and the objective"),
        ({"augmentation": "cifar+none"}, r'augmentation is "cifar\+none"; allowed are none, shift'),
        ({"augmentation": "cifar+mnist"}, r'cifar\+mnist", which says twice what shift is'),
        ({"augmentation": ""}, 'augmentation is ""; allowed are none'),
    ],
)
def test_options_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        TrainingOptions(**changes)


def test_names_of_augmentations_are_joined_in_any_order() -> None:
    one = augmentation_named("cifar+autoaugment+cutout")
    assert one == augmentation_named("cutout+cifar+autoaugment")
    assert (one.shift, one.flip, one.autoaugment, one.cutout) == (4, True, True, 16)
    assert not augmentation_named("none").changes
