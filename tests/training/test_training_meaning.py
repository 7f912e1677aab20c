"""A training says what its network's outputs mean, in every file that it leaves."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tandem_hw.data.dataset import ImageDataset, Labels
from tandem_hw.errors import DataError, FileFormatError, NetworkError
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tandem_hw.network.output_meaning import NAMES_BYTES_MAX, OutputMeaning
from tandem_hw.training.loop import train
from tandem_hw.training.objectives import make_objective, meaning_of, objective_of
from tests.helpers.image_trainings import OPTIONS, contents, interrupt_in, make_data, make_model

NAMES = ("left", "middle", "right")
MEANING = OutputMeaning("classification", NAMES)


def named(names: tuple[str, ...] | None = NAMES) -> ImageDataset:
    """Return the data with names of the classes."""
    data = make_data()
    assert isinstance(data.wanted_train, Labels)
    assert isinstance(data.wanted_test, Labels)
    return replace(
        data,
        wanted_train=replace(data.wanted_train, names=names),
        wanted_test=replace(data.wanted_test, names=names),
    )


def test_labels_keep_their_names_where_some_are_chosen() -> None:
    assert named().wanted_train[:3].names == NAMES  # type: ignore[union-attr]
    assert make_data().wanted_train[:3].names is None  # type: ignore[union-attr]


def test_checkpoints_and_networks_say_what_outputs_mean(tmp_path: Path) -> None:
    model = make_model()
    assert model.meaning is None
    options = replace(OPTIONS, epochs=2, ema=0.5)
    with pytest.raises(KeyboardInterrupt):
        train(model, named(), options, tmp_path, report=interrupt_in(2, 1))
    assert model.meaning == MEANING
    (tmp_path / "checkpoint.pt").unlink()  # it is written anew from last.pt
    train(make_model(), named(), options, tmp_path, resume=True)
    for name in ("last.pt", "checkpoint.pt"):
        found = load_checkpoint(tmp_path / name).model
        assert found.meaning == MEANING
        assert freeze(found).meaning == MEANING
    train(make_model(), make_data(), options, tmp_path / "plain")
    assert contents(tmp_path / "plain").keys() == contents(tmp_path).keys()
    best = load_checkpoint(tmp_path / "plain" / "checkpoint.pt").model
    assert best.meaning == OutputMeaning("classification")


def test_a_checkpoint_without_a_meaning_is_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(Checkpoint(make_model()), path)
    assert "meaning" not in torch.load(path, weights_only=True)
    assert load_checkpoint(path).model.meaning is None
    assert freeze(load_checkpoint(path).model).meaning is None


@pytest.mark.parametrize(
    ("meaning", "message"),
    [
        (3, "its meaning is no objective"),
        ({"objective": "x"}, "objective is 'x'; allowed are"),
        ({"objective": ["classification"]}, r"objective is \['classification'\]; allowed are"),
        ({"objective": "classification", "class_names": [3]}, "the name of class 0 is 3"),
        ({"objective": "classification", "class_names": [*"abcdefgh"]}, "8 classes have names"),
    ],
)
def test_a_damaged_meaning_of_a_checkpoint_is_refused(
    tmp_path: Path, meaning: Any, message: str
) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(Checkpoint(make_model()), path)
    torch.save(torch.load(path, weights_only=True) | {"meaning": meaning}, path)
    with pytest.raises(FileFormatError, match=rf"a\.pt: the model cannot be rebuilt \(.*{message}"):
        load_checkpoint(path)


def test_names_that_cannot_be_kept_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    long = "b" * NAMES_BYTES_MAX
    name = re.escape(named().name)
    for odd, message in (
        (long, r"the names of the 3 classes take .* bytes"),
        ("caf\udce9", r"the name of a class is no text in UTF-8 \('\\udce9'\); rename it"),
    ):
        with pytest.raises(NetworkError, match=f"^{name}: {message}"):
            train(make_model(), named(("a", odd, "c")), OPTIONS, tmp_path / "new")
        assert not (tmp_path / "new").exists()


def test_a_training_goes_on_with_its_classes_and_learns_from_the_same(tmp_path: Path) -> None:
    options = replace(OPTIONS, epochs=1)
    train(make_model(), named(), options, tmp_path)
    other = named(NAMES[::-1])
    message = "its classes are left, middle, right, not right, middle, left; "
    with pytest.raises(DataError, match=rf"last\.pt: {message}resume with the data that it was"):
        train(make_model(), other, options, tmp_path, resume=True)
    taught = replace(options, teacher=str(tmp_path / "checkpoint.pt"))
    with pytest.raises(DataError, match=rf"teacher .*checkpoint\.pt: {message}give one that was"):
        train(make_model(), other, taught, tmp_path / "taught")
    for data in (named(), make_data()):
        train(make_model(), data, options, tmp_path, resume=True)


def test_a_network_is_judged_by_what_it_was_trained_for() -> None:
    data = named()
    assert meaning_of(make_objective("classification"), data) == MEANING
    assert meaning_of(make_objective("reconstruction"), data) == OutputMeaning("reconstruction")
    outputs = make_objective("reconstruction").outputs(data)
    assert objective_of(None, data, 3).name == "classification"
    assert objective_of(OutputMeaning("reconstruction"), data, outputs).name == "reconstruction"
    message = "has labels of 3 classes and no real .*; this network was trained for regression, so"
    with pytest.raises(DataError, match=message):
        objective_of(OutputMeaning("regression"), data, 3)
