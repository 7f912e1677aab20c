"""Whenever a command is ended, nothing is lost or left; ``make kill-test`` ends many more."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend
from tests.helpers.kills import COMMANDS, SIGNALS, Targets
from tests.helpers.waiting import wait_for

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes there"),
    pytest.mark.timeout(240),
]


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Targets:
    return Targets(tmp_path_factory.mktemp("kills"))


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("train", signal.SIGTERM),
        ("simulate", signal.SIGHUP),
        ("export", signal.SIGINT),
        ("lava-cpu", signal.SIGKILL),
    ],
)
def test_a_command_that_is_ended_leaves_nothing(
    targets: Targets, name: str, number: signal.Signals
) -> None:
    if name == "lava-cpu" and LavaCpuBackend().why_unavailable() is not None:
        pytest.skip("Lava is not installed")
    found = targets.strike(name, number, random.Random(f"{name} {number}").uniform(1, 3))
    assert found.faults == []
    assert found.status in (0, -number, 128 + number)


@pytest.mark.exhaustive
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "lava-cpu"])
def test_a_command_that_is_ended_at_many_moments_leaves_nothing(
    targets: Targets, name: str, number: signal.Signals
) -> None:
    for moment in range(5):
        found = targets.strike(name, number, 0.3 + 0.8 * moment)
        assert found.faults == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("number", SIGNALS)
def test_a_training_that_is_ended_is_resumed_to_the_same_end(
    targets: Targets, number: signal.Signals
) -> None:
    whole, place = targets.folder / f"whole-{number.name}", targets.folder / f"cut-{number.name}"
    for folder in (whole, place):
        folder.mkdir()
    process, _ = targets.start(COMMANDS["train"][0], place)
    metrics = place / "out" / "run" / "metrics.json"
    wait_for(metrics.exists, seconds=120)
    time.sleep(0.05)
    process.send_signal(number)
    process.communicate()
    assert targets.resumed(place) == targets.resumed(whole)
