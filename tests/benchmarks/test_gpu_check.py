"""The script that checks a GPU runs all its parts, each within its time, and counts failures."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.helpers.project import ROOT

#: Takes the place of Python: says what it was called with, and does what the test asks for.
PYTHON = """#!/bin/sh
case "$*" in
*"import pytest"*) exit 0 ;;
*BROKEN*) echo "called with $*"; exit 3 ;;
*) echo "called with $*" ;;
esac
"""
PARTS = ["kernels", "exactness", "training-step-3-conv", "epochs", "tests", "conformance"]


def check(tmp_path: Path, broken: str = "no part", **environment: str) -> tuple[int, str]:
    python = tmp_path / "python"
    python.write_text(PYTHON.replace("BROKEN", f'"{broken}"'), encoding="utf-8")
    python.chmod(0o755)
    done = subprocess.run(
        ["sh", ROOT / "benchmarks" / "gpu_check.sh"],
        env={**os.environ, "PYTHON": str(python), "OUT": str(tmp_path / "out"), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def test_every_part_runs_on_the_device(tmp_path: Path) -> None:
    status, output = check(tmp_path, SIZE="tiny", DEVICE="cuda:1")
    assert status == 0, output
    summary = (tmp_path / "out" / "summary.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split(":")[0] for line in summary] == [f"== {part}" for part in PARTS]
    for part in PARTS:
        log = (tmp_path / "out" / f"{part}.log").read_text(encoding="utf-8")
        assert ("--device cuda:1" in log) == (part != "tests")


@pytest.mark.parametrize("broken", ["benchmarks exactness", "benchmarks epochs", "hw_tests"])
def test_a_part_that_fails_is_counted_and_keeps_no_other_from_running(
    tmp_path: Path, broken: str
) -> None:
    status, output = check(tmp_path, broken, SIZE="tiny")
    assert status == 1
    assert output.count("failed with status 3") == 1
    assert output.count(": ok, ") == len(PARTS) - 1


def test_the_parts_have_five_minutes_together() -> None:
    script = (ROOT / "benchmarks" / "gpu_check.sh").read_text(encoding="utf-8")
    limits = [
        int(line.split()[2]) for line in map(str.strip, script.splitlines())
        if line.startswith("part ")
    ]  # fmt: skip
    assert len(limits) == len(PARTS)
    # The third is that of a network's steps, of which there are three; a killed part may take 5 s.
    assert sum(limits) + 2 * limits[2] + 8 * 5 <= 305


def test_another_size_is_refused(tmp_path: Path) -> None:
    status, output = check(tmp_path, SIZE="huge")
    assert status == 1
    assert "SIZE is huge; allowed are full and tiny" in output
