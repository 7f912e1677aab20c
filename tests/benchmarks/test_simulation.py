"""Samples a second of the reference and of other libraries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tandem_hw.sim.c.backend import CBackend
from tests.helpers.benchmark_runs import PEERS, measured


def test_peers_and_the_reference_run_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.peers.catalogue.PEERS", PEERS)
    monkeypatch.setattr(
        "tandem_hw.sim.lava_cpu.backend.LavaCpuBackend.why_unavailable", lambda self: "no Lava"
    )
    compiled = ["c"] if CBackend().why_unavailable() is None else []
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    labels = np.arange(20) % 10
    data = tmp_path / "images.npz"
    np.savez(data, x_train=images, y_train=labels, x_test=images, y_test=labels)
    content = measured(
        tmp_path, "simulation", "--data", f"npz:{data}", "--peers",
        "--reference-samples", 12, "--batch", 8, "--repeats", 1,
    )  # fmt: skip
    rows = content["rows"]
    assert [(row["reset"], row["backend"]) for row in rows] == [
        *((reset, name) for reset in ("subtract", "zero") for name in ("reference", *compiled)),
        ("-", "ReLU net"),
        ("-", "fake"),
    ]
    first = rows[0]["samples a second"]
    for row in rows:
        assert row["times the reference"] == pytest.approx(row["samples a second"] / first)
        assert row["times stock Lava"] is None
    assert [line for line in content["left out"] if not line.startswith("backend c")] == [
        "no Lava",
        "absent: not installed: pip install no-such-package (a moon)",
        "broken: failed: RuntimeError: its kernel did not compile",
    ]
