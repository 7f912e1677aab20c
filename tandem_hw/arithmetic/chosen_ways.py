"""Which algorithms this process has chosen for its sums, for whoever asks."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

#: Problems whose answer is remembered; one is some hundred bytes.
REMEMBERED = 4096


class ChosenWay(NamedTuple):
    """How sums of some sizes are computed here.

    Attributes:
        way: name of the algorithm, for instance "convolve_bytes".
        device: where.
        signal_shape: what comes in; of a window (``gpu.fused_window``) its steps and neurons.
        weight_shape: what it is multiplied by; of a window nothing.
        geometry: of a convolution, otherwise None.
    """

    way: str
    device: str
    signal_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    geometry: Hashable


#: By problem, what was chosen for it; the oldest go first.
_CHOSEN: dict[Hashable, ChosenWay] = {}


def chosen_ways() -> list[ChosenWay]:
    """Return which algorithm was chosen for each sum of this process so far, the latest ones last.

    A choice is exact on the operands of the trial, the others of the same sum are listed in the
    log (``logging``, level DEBUG) where they were not.
    """
    return list(_CHOSEN.values())


def remember_choice(problem: Hashable, choice: ChosenWay) -> None:
    """Let ``chosen_ways`` tell a choice.

    Args:
        problem: what the choice is for; a later one for the same takes its place.
        choice: what was chosen.
    """
    _CHOSEN.pop(problem, None)
    _CHOSEN[problem] = choice
    if len(_CHOSEN) > REMEMBERED:
        _CHOSEN.pop(next(iter(_CHOSEN)), None)
