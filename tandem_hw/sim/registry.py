"""The backends by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tandem_hw.errors import BackendUnavailableError
from tandem_hw.sim.backend import Backend
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend, LavaStockBackend
from tandem_hw.sim.loihi2.backend import Loihi2Backend
from tandem_hw.sim.reference import ReferenceBackend

BACKENDS: dict[str, Callable[..., Backend]] = {
    ReferenceBackend.name: ReferenceBackend,
    LavaCpuBackend.name: LavaCpuBackend,
    LavaStockBackend.name: LavaStockBackend,
    Loihi2Backend.name: Loihi2Backend,
}


def make_backend(name: str, **options: Any) -> Backend:
    """Make a backend by name.

    Args:
        name: a key of ``BACKENDS``.
        options: arguments of the backend's class.

    Raises:
        BackendUnavailableError: there is no such backend.
    """
    if name not in BACKENDS:
        raise BackendUnavailableError(
            f'backend "{name}" is not known; there are {", ".join(BACKENDS)}'
        )
    return BACKENDS[name](**options)
