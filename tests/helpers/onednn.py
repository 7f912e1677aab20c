"""Switches oneDNN on or off, as a PyTorch without it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def onednn(enabled: bool) -> Iterator[None]:
    # torch.backends.mkldnn.flags warns of TF32 in some versions.
    library: Any = torch.backends.mkldnn
    before = library.enabled
    library.enabled = enabled
    try:
        yield
    finally:
        library.enabled = before
