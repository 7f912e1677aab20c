"""What lava-loihi's profilers measure on a board, and what is made of it.

Two kinds, never in one run, since measuring the time distorts the power (lava-dl's benchmark
notebooks): ``time`` and ``power``; the cores in use come with both. Names of classes and fields are
those of lava-dl's tutorials ``netx/pilotnet_snn/benchmark.ipynb`` and
``netx/pilotnet_sdnn/benchmark.ipynb``; none was run here.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from tandem_hw.errors import BackendUnavailableError
from tandem_hw.sim.loihi2.schedule import Schedule

_MODULE = "lava.utils.loihi2_profiler"


def make_profilers(profile: str | None, schedule: Schedule) -> dict[str, Any]:
    """Return lava-loihi's profilers by what they measure, for ``Loihi2HwCfg(callback_fxs=...)``.

    Args:
        profile: "time", "power" or None.
        schedule: when which sample runs.

    Raises:
        BackendUnavailableError: this lava-loihi has no such profiler.
    """
    if profile is None:
        return {}
    try:
        module: Any = importlib.import_module(_MODULE)
        memory = {"memory": module.Loihi2Memory()}
        if profile == "time":
            return memory | {"time": module.Loihi2ExecutionTime()}
        return memory | {"power": module.Loihi2Power(num_steps=schedule.total_steps)}
    except (ImportError, AttributeError) as error:
        raise BackendUnavailableError(
            f"backend loihi2: {_MODULE} has no profiler for {profile} ({error}); leave "
            f"--profile out"
        ) from error


def summarise_profile(profilers: Mapping[str, Any], schedule: Schedule) -> dict[str, Any]:
    """Return the means as plain data, per step and per sample.

    A sample takes a period, so energy = mean power x period x time of a step; the dynamic part is
    what is above the static power. The host feeds every step, so the times are those of the
    interface and not of the chip.

    Args:
        profilers: as ``make_profilers`` made them, after the run.
        schedule: when which sample ran.
    """
    summary: dict[str, Any] = {"steps": schedule.total_steps, "steps_per_sample": schedule.period}
    if "memory" in profilers:
        cores = np.asarray(profilers["memory"].core_idx).ravel()
        summary["cores"] = len(np.unique(cores))
        summary["largest_core_memory"] = _largest(profilers["memory"], "total_mpds")
    if "time" in profilers:
        for field in ("execution_time_per_step", "management_time_per_step", "host_time_per_step"):
            summary[f"{field}_us"] = _mean(profilers["time"], field)
        step = _mean(profilers["time"], "avg_time_per_step")
        summary["time_per_step_us"] = step
        summary["time_per_sample_us"] = None if step is None else step * schedule.period
    if "power" in profilers:
        total = _mean(profilers["power"], "total_power")
        static = _mean(profilers["power"], "static_total_power")
        summary["power_w"], summary["static_power_w"] = total, static
        known = total is not None and static is not None
        summary["dynamic_power_w"] = total - static if known else None  # type: ignore[operator]
    return summary


def energy_per_sample(power: Mapping[str, Any], time: Mapping[str, Any]) -> dict[str, float]:
    """Return joules a sample from the summaries of two runs of one network, total and by part.

    Args:
        power: a summary with the profile "power".
        time: a summary with the profile "time".
    """
    seconds = time["time_per_sample_us"] * 1e-6
    return {
        f"{part}energy_j": power[f"{part}power_w"] * seconds for part in ("", "static_", "dynamic_")
    }


def _mean(profiler: Any, field: str) -> float | None:
    """Return a field's mean, or None where this version of lava-loihi has no such field."""
    values = getattr(profiler, field, None)
    return None if values is None or not np.size(values) else float(np.mean(values))


def _largest(profiler: Any, field: str) -> float | None:
    values = getattr(profiler, field, None)
    return None if values is None or not np.size(values) else float(np.max(values))
