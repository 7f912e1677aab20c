"""A step's numbers may be looked at when the next one is queued, and are the same then."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tandem_hw.errors import ConversionError
from tandem_hw.training import progress
from tandem_hw.training.loop import StepReport, train
from tandem_hw.training.objectives import Classification
from tests.helpers.image_trainings import OPTIONS, contents, make_data, make_model
from tests.helpers.trainings import anonymous


def look_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_steps_ahead", lambda device: 1)


@pytest.mark.parametrize("schedule", ["tandem", "ordinary"])
def test_numbers_that_are_looked_at_late_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: Any
) -> None:
    options = replace(OPTIONS, epochs=2, schedule=schedule)
    found = []
    for name in ("at once", "late"):
        if name == "late":
            look_late(monkeypatch)
        steps: list[StepReport] = []
        summary = train(make_model(), make_data(), options, tmp_path / name, report=steps.append)
        found.append((anonymous(summary), [asdict(step) for step in steps]))
        assert [step.batch for step in steps] == [*range(1, 7)] * 2
        assert (steps[-1].spike_rate > 0) == (schedule == "tandem")
    assert found[0] == found[1]
    assert contents(tmp_path / "late") == contents(tmp_path / "at once")


@pytest.mark.parametrize("step", [1, 3, 6])
@pytest.mark.parametrize("late", [False, True])
def test_a_loss_that_is_no_number_is_told_before_what_follows_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, late: bool
) -> None:
    calls = []
    loss = Classification.loss

    def broken(self: Classification, outputs: Tensor, targets: Tensor) -> Tensor:
        calls.append(1)
        return loss(self, outputs, targets) * (torch.nan if len(calls) == step else 1)

    monkeypatch.setattr(Classification, "loss", broken)
    if late:
        look_late(monkeypatch)
    with pytest.raises(ConversionError, match="the loss is nan, infinite or not a number; lower"):
        train(make_model(), make_data(), replace(OPTIONS, epochs=1), tmp_path / "run")
    # A late look lets the next step begin, whose weights are no numbers; it comes to no loss.
    assert len(calls) == step
