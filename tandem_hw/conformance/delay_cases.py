"""Cases of layers that wait before they fire: those of the reset by subtraction, with delays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tandem_hw.conformance.case_networks import Case, case_inputs, convolutional

_NUM_STEPS = (2, 3, 4, 7, 8)
#: What is about the delays themselves, and runs on every backend by default.
_CHOSEN = (
    *("T4-events", "residual-identity-over-2"),
    # Biases above the threshold, in a layer that resets in the very first step: before its first
    # window nothing may fire into it.
    "4-bit-weights",
)
#: What fires only where nothing is waited for, before the inhibition comes.
_HELD = "all-negative-weights"


def delay_cases(cases: Iterable[Case]) -> Iterator[Case]:
    """Yield cases of every length of a window, and all given ones with a reset by subtraction.

    A delay of one step, and that of a phased layer, which takes in a whole window before it fires.

    Args:
        cases: without delays.
    """
    for num_steps in _NUM_STEPS:
        for encoding in ("events", "first_step"):
            network = convolutional("subtract", num_steps, encoding=encoding)
            yield from _delayed(f"T{num_steps}-{encoding}", Case("", network, case_inputs(network)))
    for case in cases:
        if case.network.reset == "subtract":
            yield from _delayed(case.name.removeprefix("subtract-"), case)


def _delayed(name: str, case: Case) -> Iterator[Case]:
    num_steps = case.network.num_steps
    for delay in sorted({1, num_steps - 1} & set(range(1, num_steps))):
        yield replace(
            case,
            name=f"subtract-{name}-delay-{delay}",
            network=replace(case.network, firing_delay=delay),
            fires=case.fires and name != _HELD,
            long=name not in _CHOSEN,
        )
