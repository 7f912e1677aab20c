"""Cases at the period of a board, a power of two: between windows layers have to stay silent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tandem_hw.chip.timing import board_period, default_period
from tandem_hw.conformance.case_networks import Case

#: What runs on every backend by default: a step of waiting, and skip paths whose relays wait too.
_CHOSEN = ("subtract-T4-events-delay-1", "subtract-residual-identity-over-2-delay-1")


def padded_cases(cases: Iterable[Case]) -> Iterator[Case]:
    """Yield those of the given cases for which a board's period is longer than the shortest.

    Layers that leak have no longer one (``check_period``).

    Args:
        cases: at the shortest period.
    """
    for case in cases:
        leaks = any(layer.neurons.leaks for layer in case.network.layers)
        if not leaks and board_period(case.network) > default_period(case.network):
            chosen = case.name in _CHOSEN
            yield replace(case, name=f"{case.name}-padded", padded=True, long=not chosen)
