"""Sweeps whose trainings run in this process, one after another, on a few small images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tandem_hw.cli.work.sweep_run import train_and_measure
from tandem_hw.errors import TandemError
from tandem_hw.sweep import execution
from tandem_hw.sweep.grid import Run

#: A training, and what its result is but for the digests of its files.
RUN = Run(("digits", "--a", "2"), {"a": 2, "b": None, "c": [1, 2]}, {"a": 2})
RESULT: dict[str, Any] = {
    "settings": dict(RUN.settings),
    "after": None,
    "objective": "classification",
    "metrics": {"accuracy": 0.5},
    "neurobench": {"footprint": 3.0, "synaptic_operations": {"Dense": 7.0}},
    "validation": None,
    "test_samples": 4,
    "network_digest": "d",
    **dict.fromkeys(("num_steps", "latency", "period", "board_period"), 3),
    "macs_per_sample": 5,
    "synops_per_sample": 2.5,
    "synops_per_mac": 0.5,
    "spikes_per_sample": 1,
    "training_seconds": None,
    "interruptions": 0,
    "machine": {"threads": 1},
}
#: What all trainings share: a fraction of a second each.
SHARED = ("--model", "mlp", "--batch-size", 80, "--epochs", 1)


class InProcess:
    """Takes the place of ``train_in_child``.

    Attributes:
        trained: folders of the trainings that were begun, in their order.
        after: called with each of them when it is done.
    """

    def __init__(self) -> None:
        self.trained: list[Path] = []
        self.threads: set[int] = set()
        self.after: Callable[[Path], None] = lambda _: None

    def __call__(self, folder: Path, threads: int, should_stop: Callable[[], bool]) -> str | None:
        self.trained.append(folder)
        self.threads.add(threads)
        try:
            train_and_measure(folder)
        except TandemError as error:
            return str(error)
        self.after(folder)
        return None


def in_process(monkeypatch: pytest.MonkeyPatch) -> InProcess:
    """Let sweeps of this test train in this process; give them ``--jobs 1``."""
    trainer = InProcess()
    monkeypatch.setattr(execution, "train_in_child", trainer)
    return trainer
