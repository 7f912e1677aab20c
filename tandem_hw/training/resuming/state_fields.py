"""What each field of a training's state may be, before any of it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

import torch
from torch import Tensor

from tandem_hw.errors import ConversionError
from tandem_hw.learning.saved.field_rules import (
    TEXT,
    Rule,
    Rules,
    check_fields,
    is_real,
    of_type,
    optional,
    or_none,
    whole,
    whole_numbers,
)
from tandem_hw.training.options import EPOCHS_MAX, TrainingOptions
from tandem_hw.training.run_folder import metrics_text

#: Processes that train together; more than there are cards anywhere.
_PROCESSES_MAX: Final = 1 << 20
_NAMED: Final = of_type(dict, "names with values")
_NUMBER: Final = Rule("numbers", is_real)
#: A single value of the options.
_PLAIN: Final = Rule(
    "numbers, texts, True, False and None",
    lambda one: one is None or isinstance(one, bool | str) or is_real(one),
)
_RANDOM: Final = Rule(
    "states of PyTorch's random numbers",
    lambda one: isinstance(one, Tensor) and one.dtype == torch.uint8 and one.dim() == 1,
)
_DIGESTS: Final = Rule(
    "digests of files by name",
    lambda one: isinstance(one, dict) and all(map(TEXT.fits, [*one.keys(), *one.values()])),
)

_EPOCHS: Final = whole_numbers(range(1, EPOCHS_MAX + 1), range(3, 4))
_EXTENSIONS: Final = Rule(
    "lists of an epoch and two numbers of epochs",
    lambda one: isinstance(one, list) and all(map(_EPOCHS.fits, one)),
)

#: Fields that may be missing came later, or belong to some trainings alone.
STATE: Final[Rules] = {
    "options": optional(_NAMED),
    "optimizer": _NAMED,
    "schedule": _NAMED,
    "epoch": whole(range(1, EPOCHS_MAX + 1)),
    "best": or_none(_NUMBER),
    "random": _RANDOM,
    "random_cuda": optional(_RANDOM),
    "processes": optional(whole(range(1, _PROCESSES_MAX + 1))),
    "best_checkpoint": optional(_NAMED),
    "replaces": optional(_DIGESTS),
    "average": optional(_NAMED),
    "teacher": optional(TEXT),
    "extensions": optional(_EXTENSIONS),
}
_OPTIONS: Final[Rules] = {entry.name: optional(_PLAIN) for entry in fields(TrainingOptions)}
_BEST: Final[Rules] = {"parameters": _NAMED, "metrics": of_type(list, "a list of epochs")}


def check_state(state: Mapping[str, Any]) -> None:
    """Refuse a state of which a field is missing, not known, or not what it may be.

    Args:
        state: of a training, as ``last.pt`` holds it.

    Raises:
        ConversionError: names the field, what it is and what is allowed.
    """
    check_fields(state, STATE)
    check_fields(state.get("options", {}), _OPTIONS, " of its options")
    if "best_checkpoint" in state:  # it is older than its having one otherwise
        check_fields(state["best_checkpoint"], _BEST, " of its best model")


def check_epochs(
    state: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], judged_by: str
) -> None:
    """Refuse a state whose epochs are not those of its metrics.

    Args:
        state: checked before.
        metrics: of its epochs, which the file holds beside.
        judged_by: name of the number among them that chooses the best epoch.

    Raises:
        ConversionError: says what does not fit.
    """
    if [epoch.get("epoch") for epoch in metrics] != list(range(1, state["epoch"] + 1)):
        raise ConversionError(f"it stands at epoch {state['epoch']}, and its metrics do not")
    if "best_checkpoint" not in state:
        return
    best = state["best_checkpoint"]["metrics"]
    is_start = bool(best) and metrics_text(best) == metrics_text(metrics[: len(best)])
    if not is_start or metrics_text([best[-1].get(judged_by)]) != metrics_text([state["best"]]):
        raise ConversionError("it knows no best epoch")


def check_random(found: Any, wanted: Tensor) -> None:
    """Refuse a state of random numbers that is not as long as it has to be.

    Raises:
        ConversionError: says how long it is.
    """
    if found.shape != wanted.shape:
        raise ConversionError(f"its random numbers have {len(found)} bytes, not {len(wanted)}")
