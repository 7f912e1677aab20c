"""Makes products of bytes be used for sums of any size, wherever this PyTorch has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from tandem_hw.arithmetic import chosen_ways, exact_sums, sum_trials
from tandem_hw.arithmetic.integer_products import multiply_bytes


def has_bytes() -> bool:
    try:
        found = multiply_bytes(torch.ones(1, 1, dtype=torch.uint8), torch.full((1, 1), 2.0), None)
    except RuntimeError:
        return False
    return found is not None


needs_bytes = pytest.mark.skipif(not has_bytes(), reason="this PyTorch has no products of bytes")


def seconds_of(bytes_are: float) -> Any:
    """Return a clock of which other ways always take 1."""
    return lambda call: bytes_are if hasattr(call, "func") else 1.0


@contextmanager
def bytes_preferred() -> Iterator[None]:
    """Try bytes for small sums as well, and let them be faster than anything."""
    caches = (sum_trials.exact_way, sum_trials.faster_byte_way)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_sums, "_LEAST_PRODUCTS", 0)
        patch.setattr(sum_trials, "_seconds", seconds_of(bytes_are=0.0))
        for cache in caches:
            cache.cache_clear()
        chosen_ways._CHOSEN.clear()
        try:
            yield
        finally:
            for cache in caches:
                cache.cache_clear()
