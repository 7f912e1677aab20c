"""A training that is made longer: what stays, what is laid out anew, and what cannot be."""

from __future__ import annotations

import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tandem_hw.errors import DataError
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.training.loop import StepReport, TrainingOptions, train
from tests.helpers.image_trainings import OPTIONS, contents, interrupt_in, make_data, make_model
from tests.helpers.trainings import anonymous

LONGER = OPTIONS.epochs + 2
#: Other ways to train, all with a rate that can be laid out anew.
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "warm-up, sgd and an average": {"warm_up": 2, "optimizer": "sgd", "ema": 0.9},
}


def state_of(folder: Path) -> dict[str, Any]:
    return load_checkpoint(folder / "last.pt").training


@pytest.mark.parametrize(
    "way",
    ["plain", pytest.param("warm-up, sgd and an average", marks=pytest.mark.exhaustive)],
)
def test_a_finished_training_goes_on_with_the_rate_of_all_epochs(tmp_path: Path, way: str) -> None:
    options = replace(OPTIONS, **WAYS[way])
    first = train(make_model(), make_data(), options, tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "broken")
    assert state_of(tmp_path / "run")["optimizer"]["param_groups"][0]["lr"] < 1e-9
    longer = replace(options, epochs=LONGER)
    steps: list[StepReport] = []
    summary = train(
        make_model(), make_data(), longer, tmp_path / "run", resume=True, report=steps.append
    )
    assert [epoch["epoch"] for epoch in summary["epochs"]] == list(range(1, LONGER + 1))
    assert summary["epochs"][: options.epochs] == first["epochs"]
    assert summary["extensions"] == [[options.epochs, options.epochs, LONGER]]
    assert summary["options"] == asdict(longer)
    assert {(step.epoch, step.epochs) for step in steps} == {(4, LONGER), (5, LONGER)}
    # The same bits, wherever it is broken off on its way.
    with pytest.raises(KeyboardInterrupt):
        train(
            *(make_model(), make_data(), longer, tmp_path / "broken"),
            resume=True,
            report=interrupt_in(LONGER, 2),
        )
    batches = steps[0].batches
    group = state_of(tmp_path / "broken")["optimizer"]["param_groups"][0]
    rising = options.warm_up * batches
    share = (4 * batches - rising) / (LONGER * batches - rising)
    wanted = options.learning_rate * (1 + math.cos(math.pi * share)) / 2
    assert group["lr"] == pytest.approx(wanted, rel=1e-9)
    again = train(make_model(), make_data(), longer, tmp_path / "broken", resume=True)
    assert anonymous(again) == anonymous(summary)
    assert contents(tmp_path / "broken") == contents(tmp_path / "run")
    # Once more, and it knows of both.
    more = replace(options, epochs=LONGER + 1)
    last = train(make_model(), make_data(), more, tmp_path / "run", resume=True)
    assert last["extensions"] == [[3, 3, LONGER], [LONGER, LONGER, LONGER + 1]]
    with pytest.raises(DataError, match=r"epochs 6, not 5; .*\(more epochs can be added\)"):
        train(make_model(), make_data(), longer, tmp_path / "run", resume=True)


@pytest.mark.exhaustive
def test_what_is_left_of_an_unfinished_training_may_be_made_longer(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), make_data(), OPTIONS, tmp_path / "run", report=interrupt_in(2, 3))
    longer = replace(OPTIONS, epochs=LONGER)
    summary = train(make_model(), make_data(), longer, tmp_path / "run", resume=True)
    assert summary["extensions"] == [[1, OPTIONS.epochs, LONGER]]
    whole = train(make_model(), make_data(), longer, tmp_path / "whole")
    assert "extensions" not in whole
    # Its first epoch had the rates of fewer.
    weights = [load_checkpoint(tmp_path / one / "last.pt").model for one in ("run", "whole")]
    one, other = (model.state_dict() for model in weights)
    assert any(not torch.equal(one[name], value) for name, value in other.items())


@pytest.mark.parametrize(
    "planned", [{"schedule": "progressive"}, {"learning_rate_schedule": "one-cycle"}]
)
def test_one_plan_for_all_epochs_cannot_be_made_longer(
    tmp_path: Path, planned: dict[str, Any]
) -> None:
    options = replace(OPTIONS, epochs=1, **planned)
    train(make_model(), make_data(), options, tmp_path)
    before = contents(tmp_path)
    (name,), (value,) = planned.keys(), planned.values()
    message = rf'epochs 1 and {name} "{value}", .*: --init .*checkpoint\.pt --out ANOTHER'
    with pytest.raises(DataError, match=message):
        train(make_model(), make_data(), replace(options, epochs=2), tmp_path, resume=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("epochs", [0, -1, "2", None])
def test_a_number_of_epochs_that_cannot_have_been_is_no_shorter_training(
    tmp_path: Path, epochs: Any
) -> None:
    wanted = TrainingOptions(epochs=3)
    with pytest.raises(DataError, match="was trained with epochs"):
        wanted.check_same({"epochs": epochs}, tmp_path / "last.pt")
