"""An optimizer and its schedule as a training left them.

Both are made anew from the training's options, and what a file says of these is compared: it
changes no setting of them, and no method, which PyTorch's own way of loading a schedule would let
it. Taken up is what changes from step to step: what is kept of the parameters, and the rates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from tandem_hw.counted import counted
from tandem_hw.errors import ConversionError
from tandem_hw.learning.saved.field_rules import Rules, check_fields, is_real, of_type, shown
from tandem_hw.learning.saved.parameters import check_tensor

_OPTIMIZER: Final[Rules] = {
    "state": of_type(dict, "what is kept of parameters, by their numbers"),
    "param_groups": of_type(list, "groups of parameters"),
}
#: What an optimizer keeps of a parameter, each of the parameter's shape but for a count of steps.
_STEP: Final = "step"
_SQUARES: Final = "exp_avg_sq"
_KEPT: Final[Mapping[type[Optimizer], tuple[str, ...]]] = {
    Adam: (_STEP, "exp_avg", _SQUARES),
    AdamW: (_STEP, "exp_avg", _SQUARES),
    SGD: ("momentum_buffer",),
}
#: What changes in a group from step to step, and the largest that it can be.
_RATE: Final = "lr"
_LARGEST_RATE: Final = "initial_lr"
#: How PyTorch computes a step, what it says of it and how it names a function, which other versions
#: may do otherwise; those made anew are taken.
_WAYS: Final = ("foreach", "fused", "capturable", "differentiable", "verbose", "lr_lambdas")
#: What changes in a schedule: how many steps it has done, with and without the first setting.
_DONE: Final = "last_epoch"
_SET: Final = "_step_count"
_RATES: Final = "_last_lr"


def restore_optimizer(
    optimizer: Optimizer, schedule: LRScheduler, state: Mapping[str, Any], steps: int
) -> None:
    """Take up the states of an optimizer and of its schedule.

    Args:
        optimizer: made anew, of the same parameters and options.
        schedule: its own, made anew.
        state: has the ``state_dict`` of both, "optimizer" and "schedule", from a file, and "epoch".
        steps: how many steps were done.

    Raises:
        ConversionError: a state is of another training, or has a value that it cannot have.
    """
    found, kept_schedule = state["optimizer"], state["schedule"]
    check_fields(found, _OPTIMIZER, " of its optimizer")
    if not _same(kept_schedule.get(_DONE), steps):
        raise ConversionError(f"its schedule does not stand at epoch {state['epoch']}")
    groups = _groups(found["param_groups"], optimizer.state_dict()["param_groups"])
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    _check_kept(found["state"], parameters, _KEPT[type(optimizer)], steps)
    # These follow from the epoch and the groups; whatever else a schedule has is its own.
    moving = {_DONE: steps, _SET: steps + 1, _RATES: [group[_RATE] for group in groups]}
    own = schedule.state_dict() | moving
    _check_same(kept_schedule, own, " of its schedule")
    for name in moving:
        if name not in kept_schedule:
            raise ConversionError(f"the {name} of its schedule is missing")
    optimizer.load_state_dict({"state": found["state"], "param_groups": groups})
    schedule.load_state_dict(own)


def _groups(found: Sequence[Any], own: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the groups of an optimizer with the rates that a file says."""
    if len(found) != len(own):
        raise ConversionError(
            f"its optimizer has {counted(len(found), 'group')}; {len(own)} are needed"
        )
    groups = []
    for index, (group, wanted) in enumerate(zip(found, own, strict=True)):
        owner = f" of group {index} of its optimizer"
        rate: Any = group.get(_RATE) if isinstance(group, dict) else None
        if not is_real(rate) or not 0 <= rate <= wanted[_LARGEST_RATE]:
            raise ConversionError(
                f"the {_RATE}{owner} is {shown(rate)}; allowed are 0 to {wanted[_LARGEST_RATE]}"
            )
        groups.append({**wanted, _RATE: rate})
        _check_same(group, groups[-1], owner)
    return groups


def _check_same(found: Mapping[str, Any], wanted: Mapping[str, Any], owner: str) -> None:
    """Refuse a setting that is another one; versions of PyTorch have more or fewer of them."""
    for name, value in wanted.items():
        if name in found and name not in _WAYS and not _same(found[name], value):
            raise ConversionError(
                f"the {name}{owner} is {shown(found[name])}; the options make it {shown(value)}"
            )


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, list | tuple):
        return (
            isinstance(found, list | tuple)
            and len(found) == len(wanted)
            and all(map(_same, found, wanted))
        )
    if is_real(wanted):
        return is_real(found) and bool(found == wanted)
    return type(found) is type(wanted) and bool(found == wanted)


def _check_kept(
    kept: Mapping[Any, Any], parameters: Sequence[Tensor], names: tuple[str, ...], steps: int
) -> None:
    """Refuse what an optimizer does not keep of a parameter, or not so after some steps.

    It keeps nothing of one that is not trained, which Adam is given as well.
    """
    for index, parameter in enumerate(parameters):
        if parameter.requires_grad and index not in kept:
            raise ConversionError(f"its optimizer has nothing of parameter {index}")
    for index, found in kept.items():
        if isinstance(index, bool) or index not in range(len(parameters)):
            raise ConversionError(f"its optimizer has no parameter {shown(index)}")
        owner = f" of parameter {index} of its optimizer"
        check_fields(found, {name: of_type(Tensor, "tensors") for name in names}, owner)
        for name, value in found.items():
            like = torch.zeros(()) if name == _STEP else parameters[index]
            check_tensor(f"the {name}{owner}", value, like)
        if _STEP in found and float(found[_STEP]) not in range(1, steps + 1):
            raise ConversionError(f"the {_STEP}{owner} is {float(found[_STEP])}, not 1 to {steps}")
        if _SQUARES in found and (found[_SQUARES] < 0).any():
            raise ConversionError(f"the {_SQUARES}{owner} holds values below zero")
