"""What every test runs under."""

from __future__ import annotations

import os

# Workers of pytest-xdist share the cores, and what they start does: more threads would only wait
# for each other. Libraries read this when they are loaded.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from hypothesis import settings

# The tensors of the tests are small: more threads would only wait for each other.
torch.set_num_threads(1)

# The same examples in every run, and no limit in seconds, which a busy machine would break.
settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")
