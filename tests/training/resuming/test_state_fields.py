"""What ``last.pt`` says of a training is looked at, field by field, before any of it is used."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tandem_hw.errors import ConversionError, FileFormatError
from tandem_hw.learning.checkpoint import load_checkpoint, save_checkpoint
from tandem_hw.training.resuming.state_fields import (
    STATE,
    check_epochs,
    check_random,
    check_state,
)
from tests.helpers.fuzz import case
from tests.helpers.fuzz.formats import FORMATS

METRICS = [{"epoch": 1, "accuracy": 0.5}, {"epoch": 2, "accuracy": 0.25}]
PLAIN = {
    "options": {"epochs": 3, "teacher": None, "mixed_precision": False},
    "optimizer": {},
    "schedule": {},
    "epoch": 2,
    "best": 0.5,
    "random": torch.get_rng_state(),
    "best_checkpoint": {"parameters": {}, "metrics": METRICS[:1]},
}


def test_a_training_writes_what_the_table_knows() -> None:
    written = set[str]()
    for path in case.seeds("training"):
        state = load_checkpoint(path).training
        check_state(state)
        written |= state.keys()
    assert written == STATE.keys() - {"random_cuda", "teacher", "replaces", "extensions"}
    check_state(PLAIN)
    check_epochs(PLAIN, METRICS, "accuracy")


@pytest.mark.parametrize("name", [name for name, rule in STATE.items() if rule.is_needed])
def test_a_missing_field_is_named(name: str) -> None:
    with pytest.raises(ConversionError, match=f"the {name} is missing"):
        check_state({key: value for key, value in PLAIN.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epoch", 0, "the epoch is 0; allowed are 1 to 1000000, as a whole number"),
        ("epoch", True, "the epoch is True; allowed are 1 to"),
        ("epoch", 1.0, "the epoch is 1.0; allowed are 1 to"),
        ("best", "x", "the best is 'x'; allowed are numbers, or None"),
        ("best", torch.tensor(0.5), "the best is a Tensor; allowed are numbers, or None"),
        (
            "random",
            torch.zeros(5),
            "the random is a Tensor; allowed are states of PyTorch's random",
        ),
        ("random", torch.zeros(1, 5, dtype=torch.uint8), "the random is a Tensor; allowed are st"),
        ("processes", torch.ones(2), "the processes is a Tensor; allowed are 1 to"),
        ("processes", 0, "the processes is 0; allowed are 1 to"),
        ("teacher", 3, "the teacher is 3; allowed are texts"),
        ("replaces", {"last.pt": 3}, "the replaces is a dict of 1; allowed are digests of files"),
        ("average", 3, "the average is 3; allowed are names with values"),
        ("options", 3, "the options is 3; allowed are names with values"),
        ("options", {"epochs": torch.ones(2)}, "the epochs of its options is a Tensor; allowed ar"),
        ("extensions", {}, "the extensions is .*; allowed are lists of an epoch"),
        ("extensions", [3, 3, 4], "the extensions is .*; allowed are lists of an epoch"),
        ("extensions", [[3, 3]], "the extensions is .*; allowed are lists of an epoch"),
        ("extensions", [[3, 3, "4"]], "the extensions is .*; allowed are lists of an epoch"),
        ("extensions", [[0, 3, 4]], "the extensions is .*; allowed are lists of an epoch"),
        ("options", {"warp": 3}, "the 'warp' of its options is not known"),
        ("best_checkpoint", {"parameters": {}}, "the metrics of its best model is missing"),
        ("warp", 3, "the 'warp' is not known"),
    ],
)
def test_a_field_that_is_another_one_is_named(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        check_state(PLAIN | {name: value})


@pytest.mark.parametrize(
    ("changes", "metrics", "message"),
    [
        ({"epoch": 1}, METRICS, "it stands at epoch 1, and its metrics do not"),
        ({}, METRICS[:1], "it stands at epoch 2, and its metrics do not"),
        ({}, [*METRICS[:1], {"epoch": "2"}], "it stands at epoch 2, and its metrics do not"),
        ({}, [{}, *METRICS[1:]], "it stands at epoch 2, and its metrics do not"),
        ({"best": 0.25}, METRICS, "it knows no best epoch"),
        ({"best": None}, METRICS, "it knows no best epoch"),
        ({"best_checkpoint": {"metrics": []}}, METRICS, "it knows no best epoch"),
        ({"best_checkpoint": {"metrics": METRICS[1:]}}, METRICS, "it knows no best epoch"),
    ],
)
def test_epochs_that_are_not_those_of_the_metrics_are_refused(
    changes: dict[str, Any], metrics: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(ConversionError, match=message):
        check_epochs(PLAIN | changes, metrics, "accuracy")


def test_a_best_epoch_may_be_no_number_or_not_be_kept_yet() -> None:
    metrics = [{"epoch": 1, "mse": math.nan}]
    state = {"epoch": 1, "best": math.nan, "best_checkpoint": {"metrics": metrics}}
    check_epochs(state, metrics, "mse")
    check_epochs({"epoch": 1, "best": 0.5}, metrics, "mse")


def test_random_numbers_have_as_many_bytes_as_pytorchs() -> None:
    state = torch.get_rng_state()
    check_random(state.clone(), state)
    with pytest.raises(ConversionError, match=rf"numbers have 16 bytes, not {len(state)}"):
        check_random(state[:16], state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state["average"].popitem(), "is missing"),
        (lambda state: state["average"]["layers.0.weight"].fill_(math.inf), "weight holds values"),
        (lambda state: state.update(average={}), "is missing"),
        (lambda state: state.update(random=state["random"][:16]), "numbers have 16 bytes, not"),
        (lambda state: state["schedule"].update(get_lr=3, last_epoch=0), "does not stand at epoch"),
    ],
)
def test_a_damaged_part_is_refused_by_the_training(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    _, path = case.seeds("training")
    last = load_checkpoint(path)
    change(last.training)
    save_checkpoint(last, tmp_path / path.name)
    with pytest.raises(FileFormatError, match=rf"state of the training is damaged \(.*{message}"):
        FORMATS["training"].read(tmp_path / path.name)
    assert [one.name for one in (tmp_path / "sgd.run").iterdir()] == ["last.pt"]
