"""What every test runs under."""

from __future__ import annotations

import torch

# The tensors of the tests are small: more threads would only wait for each other.
torch.set_num_threads(1)
