"""How the learning rate goes over the steps of a training.

    cosine      n steps of warm-up, rate (s + 1) / n; then rate (1 + cos(pi (s - n) / (N - n))) / 2
    one-cycle   from rate / 25 up to the rate and down to next to nothing, both along a cosine

s counts the steps from 0 and N are all of them. Source of one-cycle: Smith and Topin, arXiv
1708.07120, as PyTorch has it, with the momentum left as it is.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR

from tandem_hw.training.options import TrainingOptions

#: Share of a one-cycle schedule in which the rate rises, where no warm-up is given.
_RISING: Final = 0.3


def make_schedule(
    optimizer: torch.optim.Optimizer, options: TrainingOptions, batches: int
) -> LRScheduler:
    """Return the schedule of the learning rate, which is stepped after every batch.

    Args:
        optimizer: whose rate is set.
        options: name the schedule, the rate and the warm-up.
        batches: number of steps of an epoch.
    """
    steps, warm_up = options.epochs * batches, options.warm_up * batches
    if options.learning_rate_schedule == "one-cycle":
        rising = warm_up / steps if warm_up else _RISING
        return OneCycleLR(
            optimizer, options.learning_rate, steps, pct_start=rising, cycle_momentum=False
        )
    if not warm_up:
        return CosineAnnealingLR(optimizer, steps)
    return LambdaLR(optimizer, lambda step: cosine_share(step, warm_up, steps))


def cosine_share(step: int, warm_up: int, steps: int) -> float:
    """Return the share of the learning rate in a step.

    Args:
        step: from 0.
        warm_up: so many steps rise to the whole rate; less than ``steps``.
        steps: how many there are.
    """
    if step < warm_up:
        return (step + 1) / warm_up
    return (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up))) / 2
