"""Imported by the process that children are forked from: PyTorch's first steps take a second.

With one thread PyTorch starts no others, so that its state survives the fork.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from tests.helpers.trainings import run

torch.set_num_threads(1)
with tempfile.TemporaryDirectory() as name:
    run(Path(name) / "run")
