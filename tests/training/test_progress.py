"""A step's numbers may be looked at when the next one is queued, and are the same then."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tandem_hw.arithmetic.deferred_checks import DeferredChecks
from tandem_hw.errors import ConversionError
from tandem_hw.learning import model as model_module
from tandem_hw.training import progress
from tandem_hw.training.loop import StepReport, train
from tandem_hw.training.objectives import Classification
from tandem_hw.training.progress import EpochProgress
from tandem_hw.training.samples import TrainingData
from tandem_hw.training.spike_rate import SpikeRate
from tests.helpers.image_trainings import OPTIONS, contents, make_data, make_model
from tests.helpers.onednn import onednn
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


class _Reads(TorchDispatchMode):
    """Counts what would wait for a GPU, while it is on."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []
        self.on = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        waits = ("_local_scalar_dense", "equal", "is_nonzero", "nonzero", "masked_select")
        if self.on and name in waits:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def test_a_step_reads_from_the_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    look_late(monkeypatch)
    options = replace(OPTIONS, augmentation="cifar")
    model, objective, reads = make_model().train(), options.make_objective(), _Reads()
    device, spec = torch.device("cpu"), model.architecture.input
    data = TrainingData(make_data(), objective, options, spec, device)
    monkeypatch.setattr(model_module, "may_be_deferred", lambda *_: True)
    calls: list[str] = []

    def in_order(name: str, function: Any) -> Any:
        def called(*arguments: Any) -> Any:
            calls.append(name)
            reads.on = False
            found = function(*arguments)
            reads.on = True
            return found

        return called

    monkeypatch.setattr(DeferredChecks, "failed", in_order("checks", DeferredChecks.failed))
    monkeypatch.setattr(EpochProgress, "_tell", in_order("told", EpochProgress._tell))
    for method in ("numpy", "tolist"):
        right = getattr(Tensor, method)

        def refused(tensor: Tensor, *given: Any, right: Any = right) -> Any:
            assert not reads.on
            return right(tensor, *given)

        monkeypatch.setattr(Tensor, method, refused)
    followed = EpochProgress(objective, options, 1, data.batches, None)
    activity = SpikeRate(4)
    with onednn(False):  # bytes are packed on a CPU alone
        model(data.take(next(data.order(2)))[0])  # the trials are over
        calls.clear()
        with reads:
            for indices in data.order(1):
                inputs, targets = data.take(indices)
                outputs = model(inputs, activity)
                loss = objective.loss(outputs, targets)
                loss.backward()
                followed.add(loss.detach(), outputs.detach(), targets, activity)
    assert reads.found == []
    # The numbers of a step are looked at when the next one is queued.
    assert calls == ["checks", *["checks", "told"] * (data.batches - 1)]
    followed.finish()
    assert followed.means["loss"] > 0
    assert activity.rate > 0
