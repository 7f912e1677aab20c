"""``tandem-hw deploy``: what it says where there is no board, and what it does with a backend."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result

from tandem_hw.cli import main
from tandem_hw.errors import BackendError
from tandem_hw.export.net_file import write_net
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim.backend import Progress, SimulationResult
from tandem_hw.sim.loihi2 import backend as loihi2
from tandem_hw.sim.loihi2.backend import Loihi2Backend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.sim.registry import BACKENDS, make_backend
from tests.helpers.networks import random_inputs, small_network
from tests.helpers.project import ROOT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    network = small_network("subtract", 3)
    write_net(network, tmp_path / "model.net")
    inputs = random_inputs(network, 4)
    images = inputs.astype(np.float32) / 15
    labels = np.arange(4) % 3
    np.savez(tmp_path / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(arguments: str) -> Result:
    return CliRunner().invoke(main, ["deploy", *arguments.split()])


def test_deploy_without_a_board_says_so_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", "from tandem_hw.cli import main; main()", "deploy", "model.net",
         "--partition", "oheogulch", "--verify"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip
    assert time.monotonic() - started < 30  # a busy machine takes long to start Python
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert re.match(r"Error: backend loihi2: (lava-loihi|Lava) is not installed", done.stderr)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("", "Missing argument 'NET'"),
        ("model.net --loihi-gen N9", "'N9' is not one of"),
        ("model.net --samples 0", "0 is not in the range"),
        ("model.net --profile heat", "'heat' is not one of 'time', 'power'"),
        ("model.net --compile-timeout 0", "0 is not in the range"),
        ("model.net --partition", "requires an argument"),
    ],
)
def test_mistyped_argument_is_named_once(folder: Path, arguments: str, reason: str) -> None:
    result = run(arguments)
    assert result.exit_code == 2
    assert sum(line.startswith("Error: ") for line in result.stderr.splitlines()) == 1
    assert reason in result.stderr


class Board:
    """What a board would give, made of the reference's results; ``wrong`` spoils a count."""

    wrong = False

    def __call__(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        progress: Progress,
        *,
        keep_final_state: bool,
    ) -> SimulationResult:
        found = ReferenceBackend().run(network, inputs)
        counts = {name: count.copy() for name, count in found.counts.items()}
        counts["hidden"][1, 2] -= self.wrong
        progress(len(inputs), len(inputs))
        measured = {"input_delay": 0, "output_delay": 2, "profile": {"cores": 7}}
        return SimulationResult(counts, found.output, extra=measured)


@pytest.fixture
def board(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """Make every board reachable."""
    board = Board()
    monkeypatch.setattr(Loihi2Backend, "why_unavailable", lambda self: self.choice.why_not())
    monkeypatch.setattr(Loihi2Backend, "simulate", board)
    return board


def test_run_on_a_board_is_shown_saved_and_verified(folder: Path, board: Board) -> None:
    result = run(
        "model.net --data npz:data.npz --board ncl-og-01 --loihi-gen N3C1 --samples 3 --verify "
        "--recording run.npz --json run.json"
    )
    assert result.exit_code == 0, result.output
    assert "3 samples on loihi2 (--board ncl-og-01 --loihi-gen N3C1)" in result.stdout
    assert "output delay: 2" in result.stdout
    assert "cores: 7" in result.stdout
    assert "MATCH: every spike count and every output is equal" in result.stdout
    summary = json.loads((folder / "run.json").read_text())
    assert summary["board"] == {"--board": "ncl-og-01"}
    assert summary["measured"]["profile"] == {"cores": 7}
    assert summary["estimated"]["time"]["work"] == "recording"
    assert summary["verification"]["match"] is True
    assert summary["packages"]["numpy"] == np.__version__
    assert summary["verification"]["backends"] == ["reference", "loihi2"]
    with np.load(folder / "run.npz") as recording:
        assert recording["backend"] == "loihi2"
        assert recording["counts/hidden"].shape == (3, 6)
        assert recording["counts/hidden"].any()


def test_count_that_differs_gives_exit_status_1_and_its_place(folder: Path, board: Board) -> None:
    board.wrong = True
    result = run("model.net --data npz:data.npz --host 10.0.0.1 --verify")
    assert result.exit_code == 1
    assert "MISMATCH: first in loihi2: layer hidden, sample 1, neuron [2]" in result.stdout
    # Without --verify nobody looks.
    assert run("model.net --data npz:data.npz --host 10.0.0.1").exit_code == 0


def test_a_run_that_fails_leaves_a_folder_to_send(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: list[str], *, folder: Path, **__: Any) -> None:
        (folder / "output.txt").write_text("what Lava said")
        raise BackendError("the child process of backend loihi2 failed: no route", "last line")

    monkeypatch.setattr(Loihi2Backend, "why_unavailable", lambda self: self.choice.why_not())
    monkeypatch.setattr(loihi2, "run_watched", fail)
    arguments = "model.net --data npz:data.npz --host 10.0.0.1"
    result = run(f"{arguments} --failure-folder failed")
    assert result.exit_code == 2
    first, second, third = result.stderr.splitlines()
    assert first == "Error: the child process of backend loihi2 failed: no route"
    assert second == "  last line"
    assert third.startswith("  failed: has the report (report.json)")
    assert (folder / "failed" / "output.txt").read_text() == "what Lava said"
    report = json.loads((folder / "failed" / "report.json").read_text())
    assert report["error"].endswith("no route\nlast line")
    assert report["board"] == {"--host": "10.0.0.1"}
    run(arguments)
    assert [path for path in folder.glob("deploy-failure-*") if (path / "report.json").is_file()]


def test_the_address_for_reports_is_that_of_the_project() -> None:
    (address,) = re.findall(
        r'^Issues = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    page = (ROOT / "docs" / "loihi2.md").read_text(encoding="utf-8")
    assert page.count(f"<{address}>") == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("model.net --data npz:data.npz", "no board was named"),
        ("model.net --data npz:data.npz --board a --host b", "--board and --host name different"),
        ("missing.net --board a", r"missing\.net: there is no such file"),
        ("model.net --data npz:none.npz --board a", r"none\.npz: there is no such file"),
        ("model.net --data npz:data.npz --board a --samples 9", "has 4 test samples, 9 were asked"),
        ("model.net --data npz:data.npz --board a --period 6", "a period of 6 steps cannot run on"),
        (
            "model.net --data npz:data.npz --board a --json model.net",
            "would be written over model.net",
        ),
    ],
)
def test_mistake_is_said_before_a_board_is_asked_for(
    folder: Path, board: Board, monkeypatch: pytest.MonkeyPatch, arguments: str, reason: str
) -> None:
    def begin(*_: Any) -> None:
        raise AssertionError("the run has begun")

    monkeypatch.setattr(Loihi2Backend, "run", begin)
    result = run(arguments)
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert re.search(reason, line)


def test_backend_is_registered_and_says_how_to_name_a_board() -> None:
    assert "loihi2" in BACKENDS
    backend = make_backend("loihi2", partition="oheogulch", loihi_gen=None)
    assert isinstance(backend, Loihi2Backend)
    assert str(backend.choice) == "--partition oheogulch --loihi-gen N3B3"
