"""What is made of the fields that lava-loihi's profilers have after a run."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from tandem_hw.errors import BackendUnavailableError
from tandem_hw.sim.loihi2.profile import energy_per_sample, make_profilers, summarise_profile
from tandem_hw.sim.loihi2.schedule import Schedule, repeated_order

SCHEDULE = Schedule(2, 3, 4, repeated_order(10))
MEMORY = SimpleNamespace(core_idx=np.array([2, 2, 7]), total_mpds=np.array([0.5, 0.125, 0.75]))
TIME = SimpleNamespace(
    avg_time_per_step=50.0,
    execution_time_per_step=np.array([30.0, 34.0]),
    management_time_per_step=np.array([8.0, 8.0]),
    host_time_per_step=np.array([10.0, 10.0]),
)
POWER = SimpleNamespace(
    total_power=np.array([0.75, 1.25]), static_total_power=np.array([0.25, 0.25])
)


def test_means_are_given_per_step_and_per_sample() -> None:
    time = summarise_profile({"memory": MEMORY, "time": TIME}, SCHEDULE)
    assert time == {
        "steps": SCHEDULE.total_steps,
        "steps_per_sample": 4,
        "cores": 2,
        "largest_core_memory": 0.75,
        "execution_time_per_step_us": 32.0,
        "management_time_per_step_us": 8.0,
        "host_time_per_step_us": 10.0,
        "time_per_step_us": 50.0,
        "time_per_sample_us": 200.0,
    }
    power = summarise_profile({"memory": MEMORY, "power": POWER}, SCHEDULE)
    assert (power["power_w"], power["static_power_w"], power["dynamic_power_w"]) == (1, 0.25, 0.75)
    assert energy_per_sample(power, time) == pytest.approx(
        {"energy_j": 200e-6, "static_energy_j": 50e-6, "dynamic_energy_j": 150e-6}
    )


def test_field_that_this_version_lacks_is_left_open() -> None:
    partial = {"time": SimpleNamespace(), "power": SimpleNamespace(total_power=np.array([1.0]))}
    summary = summarise_profile(partial, SCHEDULE)
    assert summary["time_per_step_us"] is None
    assert summary["time_per_sample_us"] is None
    assert summary["power_w"] == 1.0
    assert summary["dynamic_power_w"] is None


def test_time_and_power_are_never_measured_in_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("lava.utils.loihi2_profiler")
    for name in ("Loihi2Memory", "Loihi2ExecutionTime", "Loihi2Power"):
        setattr(module, name, lambda name=name, **told: (name, told))
    monkeypatch.setitem(sys.modules, "lava", ModuleType("lava"))
    monkeypatch.setitem(sys.modules, "lava.utils", ModuleType("lava.utils"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert make_profilers(None, SCHEDULE) == {}
    assert sorted(make_profilers("time", SCHEDULE)) == ["memory", "time"]
    power = make_profilers("power", SCHEDULE)
    assert sorted(power) == ["memory", "power"]
    assert power["power"] == ("Loihi2Power", {"num_steps": SCHEDULE.total_steps})
    del module.Loihi2Power
    with pytest.raises(BackendUnavailableError, match=r"no profiler for power .* --profile out"):
        make_profilers("power", SCHEDULE)
