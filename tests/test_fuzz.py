"""Damaged files are refused in a line, or hold what all agree on; ``make fuzz`` tries more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.fuzz import case
from tests.helpers.fuzz.formats import FORMATS
from tests.helpers.project import ROOT

#: Cases of each format.
_CASES = 40


@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_file_is_read(name: str, tmp_path: Path) -> None:
    for path in case.seeds(name):
        copy = tmp_path / path.name
        copy.write_bytes(path.read_bytes())
        FORMATS[name].read(copy)


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_refused_in_a_line_or_used(name: str, tmp_path: Path) -> None:
    messages = []
    for number in range(_CASES):
        folder = tmp_path / str(number)
        folder.mkdir()
        messages.append(case.run(name, number, folder))
    refused = [message for message in messages if message is not None]
    assert len(refused) > _CASES // 4
    assert len(set(refused)) > 3


@pytest.mark.exhaustive
def test_commands_refuse_damaged_files_in_a_line() -> None:
    program = [sys.executable, "-m", "tests.helpers.fuzz.at_command_line", "--cases", "36"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("'fault': 0") == len(FORMATS)
