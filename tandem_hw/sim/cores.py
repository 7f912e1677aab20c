"""On how many cores this process may run, and how many threads are wanted there."""

from __future__ import annotations

import os
from collections.abc import Mapping


def cores() -> int:
    """Return how many cores the system gives this process, at least 1."""
    if hasattr(os, "sched_getaffinity"):  # not everywhere
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def wanted_threads(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return how many threads ``OMP_NUM_THREADS`` wants, or None where it says no such number."""
    wanted = environment.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else None
