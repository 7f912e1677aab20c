"""Switches oneDNN on or off, as a PyTorch without it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def onednn(enabled: bool) -> Iterator[None]:
    # torch.backends.mkldnn.flags warns of TF32 in some versions.
    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = enabled
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before
