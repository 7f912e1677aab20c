"""What the command writes that trains the networks of the package."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import examples
from tandem_hw.examples.catalogue import EXAMPLES
from tandem_hw.export.net_file import read_net


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave one example, which is trained for an epoch."""
    monkeypatch.setattr(examples, "EXAMPLES", {"digits": EXAMPLES["digits"]})
    settings = examples._TRAININGS["digits"].settings
    monkeypatch.setitem(settings, "epochs", 1)


@pytest.mark.usefixtures("short")
def test_files_and_record_are_written_together(tmp_path: Path) -> None:
    result = CliRunner().invoke(examples.command, ["--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))["digits"]
    path = tmp_path / "digits.net"
    assert record["digest"] == read_net(path).digest
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert 0 < record["metrics"]["accuracy"] < 1
    assert record["machine"]["torch"]


@pytest.mark.usefixtures("short")
def test_a_file_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "LARGEST", 1000)
    result = CliRunner().invoke(examples.command, ["--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "digits.net: is larger than 1000 bytes" in result.output
    assert not (tmp_path / "record.json").exists()
