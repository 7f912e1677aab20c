"""The networks that come with the package are what their record says, and commands run them."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.examples import LARGEST
from tandem_hw.cli.look.examples import lines_to_try
from tandem_hw.errors import FileFormatError
from tandem_hw.examples.catalogue import EXAMPLES, FOLDER, example_path, read_record
from tandem_hw.export.net_file import read_net
from tandem_hw.sim.c.backend import CBackend
from tests.helpers.command_line import run, succeed, written_json

#: What each has to reach on all test samples, so that nobody ships one that has learnt nothing.
LEVELS = {"digits": 0.97, "moving-digits": 0.96, "autoencoder": 24.0}
#: Decibels that the order of a sum of floats may change.
ROUNDING = 1e-6


def test_every_example_is_in_the_record_and_every_file_is_an_example() -> None:
    assert set(read_record()) == set(EXAMPLES) == set(LEVELS)
    assert {path.name for path in FOLDER.glob("*.net")} == {
        example.path.name for example in EXAMPLES.values()
    }


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_file_is_the_one_that_was_recorded_and_small(name: str) -> None:
    content, record = EXAMPLES[name].path.read_bytes(), read_record()[name]
    assert len(content) < LARGEST
    assert hashlib.sha256(content).hexdigest() == record["sha256"]
    assert read_net(EXAMPLES[name].path).digest == record["digest"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_as_good_as_its_record_says(name: str, tmp_path: Path) -> None:
    example, (metric, recorded) = EXAMPLES[name], list(read_record()[name]["metrics"].items())[-1]
    succeed("simulate", example.spec, "--data", example.data, "--json", tmp_path / "a.json")
    written = written_json(tmp_path / "a.json")
    found = written.get("metrics", written)[metric]
    assert found == pytest.approx(recorded, abs=0 if metric == "accuracy" else ROUNDING)
    assert found > LEVELS[name]


@pytest.mark.skipif(CBackend().why_unavailable() is not None, reason="no C compiler")
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_matches_on_c(name: str) -> None:
    line = ("verify", EXAMPLES[name].spec, "--data", EXAMPLES[name].data, "--samples", 4)
    assert "MATCH: every" in succeed(*line, "--backends", "reference,c").stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_lines_to_try_are_shown_and_work(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = succeed("examples").stdout
    inspect, *_, export = lines = lines_to_try(EXAMPLES[name])
    assert all(f"    tandem-hw {line}\n" in shown for line in lines)
    assert "static power" in succeed(*shlex.split(inspect)).stdout
    succeed(*shlex.split(export))
    assert list(tmp_path.glob("*.c"))


def test_an_example_in_place_of_a_file_is_not_written_over() -> None:
    target = EXAMPLES["digits"].path
    before = target.read_bytes()
    result = run("simulate", "example:digits", "--json", target)
    assert result.exit_code == 2
    assert "would be written over" in result.output
    assert target.read_bytes() == before


def test_an_unknown_example_is_refused() -> None:
    with pytest.raises(FileFormatError, match="example:soup: is no example; there are example:dig"):
        example_path("soup")
    result = run("inspect", "example:soup")
    assert (result.exit_code, result.output.startswith("Error: example:soup: is no")) == (2, True)


def test_copies_are_the_same_and_take_the_place_of_nothing(tmp_path: Path) -> None:
    line = ("examples", "--copy", tmp_path / "new")
    succeed(*line)
    for example in EXAMPLES.values():
        assert (tmp_path / "new" / example.path.name).read_bytes() == example.path.read_bytes()
    (tmp_path / "new" / "digits.net").write_bytes(b"mine")
    result = run(*line)
    assert result.exit_code == 2
    assert "new/digits.net: is there already; replace it with --overwrite" in result.output
    assert (tmp_path / "new" / "digits.net").read_bytes() == b"mine"
    succeed(*line, "--overwrite")
    assert (tmp_path / "new" / "digits.net").read_bytes() == example_path("digits").read_bytes()


def test_all_files_are_copied_or_none(tmp_path: Path) -> None:
    (tmp_path / "autoencoder.net").mkdir()  # the last one
    for line in ((), ("--overwrite",)):
        result = run("examples", "--copy", tmp_path, *line)
        assert result.exit_code == 2
        assert "autoencoder.net: is " in result.output
        assert [one.name for one in tmp_path.iterdir()] == ["autoencoder.net"]


def test_a_folder_with_an_odd_name_is_said_in_a_line(tmp_path: Path) -> None:
    output = succeed("examples", "--copy", tmp_path / "a\nb").output
    assert [line.startswith("wrote ") for line in output.splitlines()] == [True] * 3
    assert r"/a\nb/digits.net" in output


def test_the_module_is_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tandem_hw.examples"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert listed.stdout == succeed("examples").stdout
