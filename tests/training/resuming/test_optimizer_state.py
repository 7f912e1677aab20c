"""An optimizer and its schedule become what they were, or a file's state is refused by name."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler

from tandem_hw.errors import ConversionError
from tandem_hw.training.resuming.optimizer_state import restore_optimizer

STEPS = 3


def _groups(given: list[nn.Parameter]) -> Any:
    first: dict[str, Any] = {"params": given[:1], "weight_decay": 0.2}
    return [first, {"params": given[1:]}]


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], Optimizer]] = {
    "adam": lambda given: Adam(given, 0.1, weight_decay=0.01),
    "adamw": lambda given: AdamW(_groups(given), 0.1),
    "sgd": lambda given: SGD(_groups(given), 0.1, momentum=0.9),
}
SCHEDULES: dict[str, Callable[[Optimizer], LRScheduler]] = {
    "cosine": lambda optimizer: CosineAnnealingLR(optimizer, 10),
    "lambda": lambda optimizer: LambdaLR(optimizer, lambda step: 1 / (1 + step)),
}


class Trained:
    """Three parameters, the last of them frozen, with what changes them."""

    def __init__(self, optimizer: str, schedule: str) -> None:
        torch.manual_seed(5)
        self.parameters = [nn.Parameter(torch.randn(2, 3)), nn.Parameter(torch.randn(3))]
        frozen = [nn.Parameter(torch.zeros(4), requires_grad=False)] * (optimizer == "adam")
        self.optimizer = OPTIMIZERS[optimizer]([*self.parameters, *frozen])
        self.schedule = SCHEDULES[schedule](self.optimizer)

    def train(self, steps: int) -> None:
        for step in range(steps):
            for parameter in self.parameters:
                parameter.grad = torch.cos(parameter.detach() * (step + 1))
            self.optimizer.step()
            self.schedule.step()

    def state(self) -> dict[str, Any]:
        return {
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "schedule": copy.deepcopy(self.schedule.state_dict()),
            "epoch": 1,
        }

    def take_up(self, state: dict[str, Any]) -> None:
        restore_optimizer(self.optimizer, self.schedule, state, STEPS)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_training_goes_on_as_if_it_had_not_been_broken_off(optimizer: str, schedule: str) -> None:
    first, second = Trained(optimizer, schedule), Trained(optimizer, schedule)
    first.train(STEPS)
    second.take_up(first.state())
    with torch.no_grad():
        for own, other in zip(second.parameters, first.parameters, strict=True):
            assert not torch.equal(own, other)
            own.copy_(other)
    assert str(second.state()) == str(first.state())
    first.train(2)
    second.train(2)
    for own, other in zip(second.parameters, first.parameters, strict=True):
        assert torch.equal(own, other)


def test_settings_that_other_versions_have_or_lack_are_made_anew() -> None:
    first, second = Trained("adam", "cosine"), Trained("adam", "cosine")
    first.train(STEPS)
    state, wanted = first.state(), str(first.state())
    group = state["optimizer"]["param_groups"][0]
    del group["maximize"]
    group.update(foreach=True, warp=3)
    state["schedule"].update(verbose="deprecated", _is_later=True, get_lr="x", step=None)
    del state["schedule"]["eta_min"]
    second.take_up(state)
    assert str(second.state()) == wanted
    assert callable(second.schedule.get_lr)
    second.train(1)


Edit = Callable[[dict[str, Any]], object]


def _kept(name: str, value: Any) -> Edit:
    return lambda state: state["optimizer"]["state"][0].update({name: value})


def _group(name: str, value: Any) -> Edit:
    return lambda state: state["optimizer"]["param_groups"][0].update({name: value})


def _schedule(name: str, value: Any) -> Edit:
    return lambda state: state["schedule"].update({name: value})


REFUSED: dict[str, tuple[Edit, str]] = {
    "no groups": (
        lambda state: state["optimizer"].pop("param_groups"),
        "the param_groups of its optimizer is missing",
    ),
    "more groups": (
        lambda state: state["optimizer"]["param_groups"].append({}),
        "its optimizer has 2 groups; 1 are needed",
    ),
    "a group of another type": (
        lambda state: state["optimizer"].update(param_groups=[3]),
        "the lr of group 0 of its optimizer is None; allowed are 0 to 0.1",
    ),
    "rate": (_group("lr", -0.1), "the lr of group 0 of its optimizer is -0.1; allowed are 0 to"),
    "rate too large": (_group("lr", 0.2), "the lr of group 0 .* is 0.2; allowed are 0 to 0.1"),
    "rate no number": (_group("lr", math.nan), "the lr of group 0 .* is nan; allowed are 0 to"),
    "rate of another type": (_group("lr", torch.ones(())), "the lr of group 0 .* is a Tensor; al"),
    "setting": (_group("betas", (0.9, 0.5)), r"the betas .* is \(0.9, 0.5\); the options make it"),
    "setting of another type": (_group("amsgrad", 0), "the amsgrad .* is 0; the options make it F"),
    "parameters": (_group("params", [0, 1]), "the params of group 0 of its optimizer is .0, 1.; t"),
    "another parameter": (
        lambda state: state["optimizer"]["state"].update({7: {}}),
        "its optimizer has no parameter 7",
    ),
    "a parameter by a text": (
        lambda state: state["optimizer"]["state"].update({"0": {}}),
        "its optimizer has no parameter '0'",
    ),
    "a parameter left out": (
        lambda state: state["optimizer"]["state"].pop(1),
        "its optimizer has nothing of parameter 1",
    ),
    "moment missing": (
        lambda state: state["optimizer"]["state"][0].pop("exp_avg"),
        "the exp_avg of parameter 0 of its optimizer is missing",
    ),
    "moment unknown": (_kept("max", torch.ones(2, 3)), "the 'max' of parameter 0 .* is not known"),
    "moment of another type": (_kept("exp_avg", 3.0), "the exp_avg of .* is 3.0; allowed are tens"),
    "moment of another shape": (
        _kept("exp_avg", torch.zeros(3, 2)),
        r"the exp_avg of parameter 0 of its optimizer is \(3, 2\); \(2, 3\) is needed",
    ),
    "moment not finite": (_kept("exp_avg", torch.full((2, 3), math.nan)), "infinite or not a num"),
    "squares": (_kept("exp_avg_sq", torch.full((2, 3), -1.0)), "the exp_avg_sq .* below zero"),
    "steps": (_kept("step", torch.tensor(4.0)), "the step of parameter 0 .* is 4.0, not 1 to 3"),
    "no steps": (_kept("step", torch.tensor(0.0)), "the step of parameter 0 .* is 0.0, not 1 to"),
    "half a step": (_kept("step", torch.tensor(1.5)), "the step of parameter 0 .* is 1.5, not 1"),
    "place": (_schedule("last_epoch", 2), "its schedule does not stand at epoch 1"),
    "place of another type": (_schedule("last_epoch", "3"), "its schedule does not stand at epoc"),
    "count": (_schedule("_step_count", 3), "the _step_count of its schedule is 3; the options mak"),
    "rates": (_schedule("_last_lr", [0.1]), "the _last_lr of its schedule is .0.1.; the options"),
    "length": (_schedule("T_max", 11), "the T_max of its schedule is 11; the options make it 10"),
    "first rates": (_schedule("base_lrs", [0.2]), "the base_lrs of its schedule is .0.2.; the opt"),
    "no rates": (
        lambda state: state["schedule"].pop("_last_lr"),
        "the _last_lr of its schedule is missing",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_state_of_another_training_is_refused(case: str) -> None:
    edit, message = REFUSED[case]
    first, second = Trained("adam", "cosine"), Trained("adam", "cosine")
    first.train(STEPS)
    state, before = first.state(), str(second.state())
    edit(state)
    with pytest.raises(ConversionError, match=message):
        second.take_up(state)
    assert str(second.state()) == before
