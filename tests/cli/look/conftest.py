"""A folder with a small network, samples for it, and a training of a small network."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tandem_hw.export.net_file import write_net
from tandem_hw.report.page import svg
from tandem_hw.sim.registry import BACKENDS
from tests.helpers.command_line import succeed
from tests.helpers.networks import random_inputs, small_network
from tests.helpers.step_backends import Shortened

SAMPLES = 24


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a.net with a.npz, and the training run of rows.npz."""
    folder = tmp_path_factory.mktemp("looked-at")
    network = small_network()
    write_net(network, folder / "a.net")
    images = (random_inputs(network, SAMPLES) / network.input.largest).astype(np.float32)
    labels = np.arange(SAMPLES) % 3
    np.savez(folder / "a.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    values = np.random.default_rng(0)
    rows = values.uniform(0, 0.5, (80, 8)).astype(np.float32)
    rows[np.arange(80), np.arange(80) % 3] += 0.5
    labels = np.arange(80) % 3
    data = folder / "rows.npz"
    np.savez(data, x_train=rows, y_train=labels, x_test=rows[:40], y_test=labels[:40])
    options = ["--model", "mlp", "--num-steps", "4", "--epochs", "3", "--batch-size", "20"]
    succeed("train", f"npz:{data}", *options, "--out", folder / "run")
    return folder


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures of reports empty, which take most of the time; what is said stays."""
    empty = b'<svg viewBox="0 0 1 1"></svg>'
    monkeypatch.setattr(svg, "drawn", lambda *_: empty)


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a copy of the folder, with a backend that is wrong and one that is not."""
    folder = tmp_path / "here"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    wrong = Shortened(wrong_from=2, layer="hidden", count=-1)
    monkeypatch.setitem(BACKENDS, "c", lambda: wrong)
    monkeypatch.setitem(BACKENDS, "lava-cpu", lambda **_: Shortened())
    return folder
