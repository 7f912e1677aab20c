"""When a training is finished: its result is whole, of the same settings, and of these files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tandem_hw.errors import FileFormatError
from tandem_hw.sweep.run_files import (
    RESULT_NAME,
    RUN_NAME,
    clean,
    folder_of,
    read_result,
    read_run,
    write_result,
    write_run,
)
from tests.helpers.sweeps import RESULT, RUN


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Hold a finished training."""
    (tmp_path / "checkpoint.pt").write_bytes(b"weights")
    (tmp_path / "model.net").write_bytes(b"integers")
    write_run(tmp_path, RUN)
    write_result(tmp_path, RESULT)
    return tmp_path


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / RESULT_NAME
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_what_is_written_is_read(folder: Path) -> None:
    found = read_result(folder, RUN)
    assert found is not None
    assert found["files"].keys() == {"checkpoint.pt", "model.net"}
    assert {name: found[name] for name in RESULT} == RESULT
    told = read_run(folder)
    assert (told["arguments"], told["settings"], told["after"]) == (
        ["digits", "--a", "2"],
        dict(RUN.settings),
        None,
    )
    assert folder_of(Path("sweep"), RUN) == Path("sweep") / "runs" / RUN.name


def test_a_network_that_does_not_spike_has_no_integers(folder: Path) -> None:
    (folder / "model.net").unlink()
    assert read_result(folder, RUN) is None
    spiking = ("network_digest", "num_steps", "latency", "period", "board_period")
    write_result(folder, {**RESULT, **dict.fromkeys(spiking)})
    found = read_result(folder, RUN)
    assert found is not None
    assert found["files"].keys() == {"checkpoint.pt"}


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no result": lambda folder: (folder / RESULT_NAME).unlink(),
    "half a result": lambda folder: (folder / RESULT_NAME).write_bytes(
        (folder / RESULT_NAME).read_bytes()[:-40]
    ),
    "no text": lambda folder: (folder / RESULT_NAME).write_bytes(b"\xff\xfe"),
    "no object": lambda folder: (folder / RESULT_NAME).write_text("[1]"),
    "another version": lambda folder: edit(folder, lambda one: one.update(format_version=2)),
    "a missing field": lambda folder: edit(folder, lambda one: one.pop("macs_per_sample")),
    "another type": lambda folder: edit(folder, lambda one: one.update(latency="3")),
    "a truth value": lambda folder: edit(folder, lambda one: one.update(latency=True)),
    "no number": lambda folder: edit(folder, lambda one: one.update(synops_per_mac=float("nan"))),
    "no metrics": lambda folder: edit(folder, lambda one: one["metrics"].clear()),
    "words for metrics": lambda folder: edit(
        folder, lambda one: one["metrics"].update(accuracy="")
    ),
    "words for operations": lambda folder: edit(
        folder, lambda one: one["neurobench"]["synaptic_operations"].update(Dense="7")
    ),
    "no checkpoint": lambda folder: (folder / "checkpoint.pt").unlink(),
    "another checkpoint": lambda folder: (folder / "checkpoint.pt").write_bytes(b"other"),
    "another network": lambda folder: (folder / "model.net").write_bytes(b"other"),
    "a file of no digest": lambda folder: edit(folder, lambda one: one["files"].clear()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_whole_is_not_finished(folder: Path, damage: str) -> None:
    DAMAGES[damage](folder)
    assert read_result(folder, RUN) is None


def test_a_result_of_other_settings_is_refused(folder: Path) -> None:
    other = replace(RUN, settings={**RUN.settings, "b": 1})
    with pytest.raises(FileFormatError, match=r"result.json: was measured with b None, not 1;"):
        read_result(folder, other)
    with pytest.raises(FileFormatError, match=f"was measured with after None, not {RUN.name};"):
        read_result(folder, replace(RUN, after=RUN))
    edit(folder, lambda one: one["settings"].pop("a"))
    with pytest.raises(FileFormatError, match="was measured with a None, not 2; give the sweep an"):
        read_result(folder, RUN)


def test_an_option_that_came_later_has_its_default_in_an_older_result(folder: Path) -> None:
    later = replace(RUN, settings={**RUN.settings, "later": "off"})
    assert later.name == RUN.name
    assert read_result(folder, later) is not None
    with pytest.raises(FileFormatError, match="was measured with later None, not on"):
        read_result(
            folder,
            replace(RUN, settings={**RUN.settings, "later": "on"}, changed={"a": 2, "later": "on"}),
        )


def test_what_is_to_be_trained_has_to_be_there(folder: Path) -> None:
    (folder / RUN_NAME).write_text("{}")
    with pytest.raises(FileFormatError, match=r"run.json: is not of format version 1, the only"):
        read_run(folder)
    (folder / RUN_NAME).write_text("{")
    with pytest.raises(FileFormatError, match=r"run.json: is no JSON \(.*\); remove it"):
        read_run(folder)
    (folder / RUN_NAME).write_text('{"format_version": 1, "arguments": "a"}')
    with pytest.raises(FileFormatError, match=r"arguments is missing or of another type; remove"):
        read_run(folder)
    (folder / RUN_NAME).unlink()
    with pytest.raises(FileFormatError, match=r"run.json: cannot be read"):
        read_run(folder)


def test_what_is_half_written_is_removed(folder: Path) -> None:
    half = [
        folder / f".{name}.x.tmp{end}" for name, end in (("result", ".json"), ("model", ".net"))
    ]
    for path in half:
        path.touch()
    clean(folder)
    assert not any(path.exists() for path in half)
    assert read_result(folder, RUN) is not None
