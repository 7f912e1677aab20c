"""The table of the time model beside published measurements."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import chip_time
from benchmarks.chip_time import LIF_DENSITIES, command, measurements
from tests.helpers.project import ROOT

#: Estimate over measurement, as docs/chip-budget.md has them.
ERRORS = {
    "PilotNet-LIF, 16 steps": "-39%",
    "PilotNet-SDNN, 10 steps": "-21%",
    "acoustic autoencoder": "-25%",
    "SHD, recurrent": "+56%",
    "spiking detectors, T = 7 + 1": None,
    "MNIST by NxTF, 100 steps": "+35%",
}


def test_the_command_writes_all_rows_and_meets_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "time.json"
    result = CliRunner().invoke(command, ["--json", str(path)])
    assert result.exit_code == 0, result.output
    assert "4 of 5 within a factor of 2" in result.output
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert {row["network"]: row["error"] for row in rows} == ERRORS
    assert all(row["source"] and row["assumed"] for row in rows)


def test_the_page_says_the_same_errors() -> None:
    page = (ROOT / "docs/chip-budget.md").read_text(encoding="utf-8")
    for name, error in ERRORS.items():
        (line,) = [line for line in page.split("\n") if line.startswith(f"| {name} |")]
        said = "none" if error is None else error.replace("-", "−").replace("%", " %")
        assert f"| {said} |" in line


def test_the_command_fails_below_its_bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slow = [replace(one, seconds=one.seconds * 10) for one in measurements()]
    monkeypatch.setattr(chip_time, "measurements", lambda: slow)
    result = CliRunner().invoke(command, ["--json", str(tmp_path / "time.json")])
    assert result.exit_code == 1
    assert "0 of 5 within a factor of 2; at least 4 have to be" in result.output


def test_the_spikes_of_pilotnet_are_those_of_lava_dl() -> None:
    """Its test data lie beside its tests, where a wheel puts them."""
    try:
        lava_dl = distribution("lava-dl")
    except PackageNotFoundError:
        pytest.skip("lava-dl is not installed")
    folder = Path(str(lava_dl.locate_file("tests/lava/lib/dl/netx/gts/pilotnet_lif")))
    if not folder.is_dir():
        pytest.skip("lava-dl came without its tests")
    names = ("input", *(f"conv-{n}" for n in range(5)), *(f"fc-{n}" for n in range(3)))
    found = [float(np.load(folder / f"{name}.npy").mean()) for name in names]
    assert found == pytest.approx(LIF_DENSITIES, abs=5e-5)
