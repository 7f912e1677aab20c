"""Which cases run by default on Lava, in C and on SANA-FE, where they take a second each.

Exhaustive runs have all cases on all backends.
"""

from __future__ import annotations

from typing import Final

from tandem_hw.conformance.case_networks import Case
from tandem_hw.sim.c.backend import CBackend
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend, LavaStockBackend
from tandem_hw.sim.sana_fe.backend import SanaFeBackend

#: Every kind of case once for each reset: its name without that.
OF_EVERY_KIND: Final = frozenset(
    (
        # windows, biases, and what a layer is still silenced by
        *("T1", "T7", "4-bit-weights", "bias-of-both-extremes", "all-negative-weights"),
        *("events-silent-between-others", "first_step-saturated", "constant-silent"),
        # readouts, states that leave 24 bits, leaks
        *("one-layer-count", "one-layer-potential", "overflow", "overflow-of-two-paths"),
        *("decays-3000-and-1024", "residual-leak"),
        # paths of every length and kind, and who takes them
        *("residual-identity-over-3", "residual-identity-weight-32640", "residual-projection"),
        *("many-skips", "skip-into-an-image", "skip-into-a-counted-readout"),
        *("parallel-first-layers-events", "average-pooling-overlaps", "autoencoder-first_step"),
    )
)


#: What the backends c and sana-fe run by default.
CHOSEN: Final = frozenset(
    (
        *("subtract-T7", "zero-events-saturated", "zero-decays-1024-and-0", "zero-overflow"),
        *("subtract-many-skips", "subtract-T4-events-delay-1", "subtract-T8-first_step-delay-7"),
    )
)


def runs_by_default(backend: str, case: Case) -> bool:
    """Whether a case is none of those that only exhaustive runs have.

    Both backends on Lava run every kind of case once for each reset, all that are padded, and all
    that wait before they fire.

    Args:
        backend: its name.
        case: one of ``tandem_hw.conformance.cases.cases``.
    """
    if backend in (CBackend.name, SanaFeBackend.name):
        return case.name in CHOSEN
    if backend not in (LavaCpuBackend.name, LavaStockBackend.name):
        return True
    if case.long:
        return False
    reset = case.network.reset
    if case.padded or case.network.firing_delay:
        return True
    return case.name.removeprefix(f"{reset}-") in OF_EVERY_KIND
