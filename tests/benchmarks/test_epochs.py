"""Whole epochs, timed one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.networks import CIFAR_SHAPE, CLASSES, MEASURED, MeasuredNetwork
from tandem_hw.zoo.models import build
from tests.helpers.benchmark_runs import measured


def test_every_epoch_has_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lenet = MeasuredNetwork(lambda: build("lenet", CIFAR_SHAPE, CLASSES), 2)
    monkeypatch.setitem(MEASURED, "3-conv", lenet)
    tiny = ("--network", "3-conv", "--images", 20, "--batch", 10, "--epochs", 2)
    rows = measured(tmp_path, "epochs", *tiny)["rows"]
    assert [row["epoch"] for row in rows] == [1, 2]
    for row in rows:
        assert row["images"] == 20
        assert row["seconds"] > 0
        assert row["images a second"] == 20 / row["seconds"]
