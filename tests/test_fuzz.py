"""Damaged files are refused in a line, or hold what all agree on; ``make fuzz`` tries more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.fuzz import at_command_line, case
from tests.helpers.fuzz.formats import FORMATS

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
@pytest.mark.parametrize("name", at_command_line.COMMANDS)
def test_commands_refuse_damaged_files_in_a_line(name: str) -> None:
    results = [at_command_line.faults_of(name, number) for number in range(4)]
    assert "refused" in {outcome for outcome, _ in results}
    assert [fault for _, faults in results for fault in faults] == []
