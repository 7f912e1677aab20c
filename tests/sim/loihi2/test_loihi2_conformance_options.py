"""A board in the conformance suite: one that is asked for and cannot run is a failure."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.helpers.project import ROOT

#: One case, which every backend runs at once.
CASE = "subtract-one-layer-count and not delay"


def suite(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "hw_tests", "-q", "-p", "no:cacheprovider", "-k", CASE,
         *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip


def test_board_that_is_asked_for_and_cannot_run_is_a_failure() -> None:
    done = suite("--partition", "oheogulch", "--backend", "loihi2")
    assert done.returncode == 1
    assert "backend loihi2: " in done.stdout
    assert "1 error" in done.stdout


def test_board_that_is_named_is_asked_for() -> None:
    assert "[loihi2-" in suite("--host", "10.0.0.1", "--collect-only").stdout


def test_board_that_is_not_asked_for_is_named_with_its_reason() -> None:
    done = suite("--backend", "reference")
    assert done.returncode == 0, done.stdout
    assert "reference: 1 passed" in done.stdout
    assert "loihi2: not run (backend loihi2: " in done.stdout


def test_board_without_its_backend_is_refused() -> None:
    done = suite("--backend", "reference", "--board", "ncl-og-01")
    assert done.returncode == 4
    assert "--board names a board; add --backend loihi2" in done.stdout + done.stderr
