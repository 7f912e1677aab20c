"""How the learning rate goes over the steps of a training, as a share of the largest.

    cosine      (s + 1) / n in the n steps of the warm-up, then (1 + cos(pi (s - n) / (N - n))) / 2
    one-cycle   1 - 24/25 (1 + cos(pi s / n)) / 2 while it rises, from 1/25; then as above

s counts the steps from 0 and N are all of them. Sources: Loshchilov and Hutter, arXiv 1608.03983;
Smith and Topin, arXiv 1708.07120 (one-cycle, here with the momentum left as it is).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Final

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler

from tandem_hw.training.options import TrainingOptions

#: Share of a one-cycle schedule in which the rate rises, where no warm-up is given.
_RISING: Final = 0.3
#: The share of the largest rate that a one-cycle schedule starts from.
_LEAST: Final = 1 / 25


def make_schedule(
    optimizer: torch.optim.Optimizer, options: TrainingOptions, batches: int
) -> LRScheduler:
    """Return the schedule of the learning rate, which is stepped after every batch.

    Args:
        optimizer: whose rate is set.
        options: name the schedule, the rate and the warm-up.
        batches: number of steps of an epoch.
    """
    steps, rising = options.epochs * batches, options.warm_up * batches
    if options.learning_rate_schedule == "one-cycle":
        rising = rising or round(_RISING * steps)
        return LambdaLR(optimizer, partial(one_cycle_share, rising=rising, steps=steps))
    if not rising:
        return CosineAnnealingLR(optimizer, steps)
    return LambdaLR(optimizer, partial(cosine_share, rising=rising, steps=steps))


def laid_out_anew(
    optimizer: torch.optim.Optimizer, options: TrainingOptions, batches: int, done: int
) -> LRScheduler:
    """Return the schedule of a training that is made longer, standing where that one stands.

    From here on the rate is that of a training of all these epochs; it jumps up to it.

    Args:
        optimizer: that was scheduled before; its rates are set.
        options: with all epochs that there shall be, and a cosine.
        batches: number of steps of an epoch.
        done: how many steps were done.
    """
    schedule = make_schedule(optimizer, options, batches)
    share = cosine_share(done, options.warm_up * batches, options.epochs * batches)
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * share
    rates = [group["lr"] for group in optimizer.param_groups]
    moved = {"last_epoch": done, "_step_count": done + 1, "_last_lr": rates}
    schedule.load_state_dict(schedule.state_dict() | moved)
    return schedule


def cosine_share(step: int, rising: int, steps: int) -> float:
    """Return the share of a cosine schedule.

    Args:
        step: from 0.
        rising: so many steps rise to the whole rate, fewer than ``steps``.
        steps: how many there are.
    """
    if step < rising:
        return (step + 1) / rising
    return (1 + math.cos(math.pi * (step - rising) / (steps - rising))) / 2


def one_cycle_share(step: int, rising: int, steps: int) -> float:
    """Return the share of a one-cycle schedule; see ``cosine_share``."""
    if step < rising:
        return 1 - (1 - _LEAST) * (1 + math.cos(math.pi * step / rising)) / 2
    return cosine_share(step, rising, steps)
