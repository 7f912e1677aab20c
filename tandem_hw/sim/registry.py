"""The backends by name; a backend is imported when it is made: the reference needs PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tandem_hw.deferred_import import imported_when_called
from tandem_hw.errors import BackendUnavailableError, NetworkError

if TYPE_CHECKING:
    from tandem_hw.network.quantized import QuantizedNetwork
    from tandem_hw.sim.backend import Backend

#: What makes each backend, by the ``name`` that its class has as well.
BACKENDS: dict[str, Callable[..., Backend]] = {
    "reference": imported_when_called("tandem_hw.sim.reference", "ReferenceBackend"),
    "lava-cpu": imported_when_called("tandem_hw.sim.lava_cpu.backend", "LavaCpuBackend"),
    "lava-stock": imported_when_called("tandem_hw.sim.lava_cpu.backend", "LavaStockBackend"),
    "c": imported_when_called("tandem_hw.sim.c.backend", "CBackend"),
    "sana-fe": imported_when_called("tandem_hw.sim.sana_fe.backend", "SanaFeBackend"),
    "loihi2": imported_when_called("tandem_hw.sim.loihi2.backend", "Loihi2Backend"),
}


def check_name(name: str) -> None:
    """Refuse a name that no backend has, without importing one.

    Raises:
        BackendUnavailableError: there is no such backend.
    """
    if name not in BACKENDS:
        raise BackendUnavailableError(
            f'backend "{name}" is not known; there are {", ".join(BACKENDS)}'
        )


def make_backend(name: str, **options: Any) -> Backend:
    """Make a backend by name.

    Args:
        name: a key of ``BACKENDS``.
        options: arguments of the backend's class.

    Raises:
        BackendUnavailableError: there is no such backend.
    """
    check_name(name)
    return BACKENDS[name](**options)


def exact_backends(
    network: QuantizedNetwork, make: Callable[[str], Backend] = make_backend
) -> tuple[list[Backend], dict[str, str]]:
    """Return every backend that can run a network here by itself, and why the others cannot.

    Args:
        network: what is to be run.
        make: makes a backend by name.

    Returns:
        The backends, the reference first, and for each other one that needs no board what is
        missing here or why it refuses the network.
    """
    runners: list[Backend] = []
    left_out: dict[str, str] = {}
    for name in BACKENDS:
        backend = make(name)
        if backend.needs_board:
            continue
        reason = backend.why_unavailable()
        if reason is None:
            try:
                backend.check_network(network)
            except NetworkError as error:
                reason = str(error)
        if reason is None:
            runners.append(backend)
        else:
            left_out[name] = reason
    return runners, left_out
