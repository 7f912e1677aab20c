"""Stands for lava-loihi's profilers: the fields that public notebooks read, with known values."""

import numpy as np
from lava.magma.core.callback_fx import CallbackFx


class Loihi2Memory(CallbackFx):
    core_idx = np.array([3, 4, 5, 5])
    total_mpds = np.array([0.25, 0.5, 0.125, 0.125])


class Loihi2ExecutionTime(CallbackFx):
    avg_time_per_step = 12.5
    execution_time_per_step = np.array([10.0, 12.0])
    management_time_per_step = np.array([1.0, 1.0])
    host_time_per_step = np.array([0.5, 1.5])


class Loihi2Power(CallbackFx):
    static_total_power = np.array([0.2, 0.2])
    total_power = np.array([0.5, 0.75])

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps
