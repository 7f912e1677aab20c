"""On how many cores this process may run."""

from __future__ import annotations

import os


def cores() -> int:
    """Return how many cores the system gives this process, at least 1."""
    if hasattr(os, "sched_getaffinity"):  # not everywhere
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
