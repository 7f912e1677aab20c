"""The settings of PyTorch and its libraries that may decide which algorithm computes a sum."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter

import torch

#: Settings of ``torch.backends`` that may decide an algorithm, by device type; PyTorch has an old
#: and a new interface to the precision of float32, and older ones lack the new.
_SETTINGS = {
    "cpu": (
        "fp32_precision",
        "mkldnn.enabled",
        "mkldnn.deterministic",
        "mkldnn.fp32_precision",
        "mkldnn.matmul.fp32_precision",
        "mkldnn.conv.fp32_precision",
    ),
    "cuda": (
        "fp32_precision",
        "cudnn.enabled",
        "cudnn.benchmark",
        "cudnn.deterministic",
        "cudnn.allow_tf32",
        "cudnn.conv.fp32_precision",
        "cuda.matmul.allow_tf32",
        "cuda.matmul.fp32_precision",
    ),
}


def _exists(setting: str) -> bool:
    try:
        attrgetter(setting)(torch.backends)
    except AttributeError:
        return False
    except RuntimeError:
        pass  # it exists, see ``_read``
    return True


def _read(setting: Callable[[], object]) -> object:
    try:
        return setting()
    except RuntimeError:
        # It was set by the old and by the new interface, which PyTorch refuses to sum up; what was
        # set by the new one is among the others.
        return "mixed"


_READERS: dict[str, tuple[Callable[[], object], ...]] = {
    device: (
        torch.get_num_threads,
        torch.are_deterministic_algorithms_enabled,
        torch.get_float32_matmul_precision,
        *(partial(attrgetter(name), torch.backends) for name in names if _exists(name)),
    )
    for device, names in _SETTINGS.items()
}


def library_settings(device: str) -> tuple[object, ...]:
    """Return the settings of ``torch.backends`` and others that may decide an algorithm.

    Args:
        device: type of the device, such as "cpu".
    """
    return tuple(_read(setting) for setting in _READERS.get(device, _READERS["cuda"]))
