"""No command writes over what it reads, whatever the file is called, nor two outputs into one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import run, succeed

from tandem_hw.cli.options import check_outputs
from tandem_hw.cli.work import train as train_command
from tandem_hw.conversion.convert import convert
from tandem_hw.data import catalogue
from tandem_hw.data.catalogue import data_source
from tandem_hw.errors import FileFormatError
from tandem_hw.export.freezing import freeze
from tandem_hw.export.net_file import write_net
from tandem_hw.learning.checkpoint import Checkpoint, save_checkpoint
from tandem_hw.sim.loihi2.backend import Loihi2Backend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.zoo.models import build

SHAPE = (1, 6, 6)
INPUTS = ("model.net", "data.npz", "model.pt")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    images, labels = np.full((4, *SHAPE[1:]), 200, np.uint8), np.arange(4) % 3
    np.savez(folder / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    torch.manual_seed(0)
    model = convert(build("mlp", SHAPE, 3), input_shape=SHAPE, num_steps=4).eval()
    save_checkpoint(Checkpoint(model), folder / "model.pt")
    write_net(freeze(model), folder / "model.net")
    return folder


@pytest.fixture
def here(originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a copy of the folder, and let no work begin."""

    def begin(*_: Any, **__: Any) -> None:
        raise AssertionError("the work has begun")

    folder = tmp_path / "work"
    shutil.copytree(originals, folder)
    (tmp_path / "way").symlink_to(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(Loihi2Backend, "why_unavailable", lambda _: None)
    for owner in (ReferenceBackend, Loihi2Backend):
        monkeypatch.setattr(owner, "run", begin)
    for name in ("train", "load_dataset"):
        monkeypatch.setattr(train_command, name, begin)
    return folder


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


#: How a file that is read can be named as an output. Each returns the output's name.
WAYS: dict[str, Callable[[Path], str]] = {
    "its name": lambda file: file.name,
    "an absolute path": lambda file: str(file),
    "a way around": lambda file: f"../{file.parent.name}/./{file.name}",
    "a linked folder": lambda file: f"../way/{file.name}",
    "a symbolic link": lambda file: linked(file, os.symlink),
    "a hard link": lambda file: linked(file, os.link),
}


def linked(file: Path, link: Callable[[Path, Path], None]) -> str:
    link(file, file.parent / "other.name")
    return "other.name"


#: Every option that names an output, with the files that the command reads.
COMMANDS = {
    "simulate model.net --data npz:data.npz --recording OUT": ("model.net", "data.npz"),
    "simulate model.net --data npz:data.npz --json OUT": ("model.net", "data.npz"),
    "simulate model.net --data npz:data.npz --plot OUT": ("model.net", "data.npz"),
    "simulate model.net --data events:data.npz --json OUT": ("model.net", "data.npz"),
    "verify model.net --data npz:data.npz --backends reference --checkpoint model.pt --json OUT": (
        INPUTS
    ),
    "deploy model.net --data npz:data.npz --board b --recording OUT": ("model.net", "data.npz"),
    "deploy model.net --data npz:data.npz --board b --json OUT": ("model.net", "data.npz"),
    "export model.pt --out OUT": ("model.pt",),
    "inspect model.net --json OUT": ("model.net",),
}
CASES = [(command, file) for command, files in COMMANDS.items() for file in files]


@pytest.mark.parametrize(("command", "file"), CASES)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_read_is_not_written_over(here: Path, command: str, file: str, way: str) -> None:
    out = WAYS[way](here / file)
    before = content_of(here)
    result = run(*command.replace("OUT", out).split())
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith(
        f"Error: {Path(out)}: would be written over {file}, which is read; give the"
    )
    assert content_of(here) == before


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("written", ["checkpoint.pt", "last.pt", "metrics.json"])
@pytest.mark.parametrize("read", ["--init", "data"])
def test_a_training_does_not_write_over_what_it_starts_from(
    here: Path, way: str, written: str, read: str
) -> None:
    file = here / written
    shutil.copy(here / ("model.pt" if read == "--init" else "data.npz"), file)
    named = WAYS[way](file)
    before = content_of(here)
    data = f"npz:{named}" if read == "data" else "npz:data.npz"
    init = ("--init", named) if read == "--init" else ()
    result = run("train", data, "--model", "mlp", *init, "--out", ".", "--overwrite")
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: {written}: would be written over {Path(named)}, which is")
    assert content_of(here) == before


OUTPUTS = {
    "the same name": ("new.x", "new.x"),
    "a way around": ("new.x", "../work/new.x"),
    "a linked folder": ("new.x", "../way/new.x"),
    "a folder that is not there yet": ("far/away/new.x", "far/../far/away/new.x"),
    "a link to nothing": ("new.x", "to-new"),
    "a file that is there": ("old.x", "../way/old.x"),
    "a hard link": ("old.x", "old-too.x"),
}


@pytest.mark.parametrize("case", OUTPUTS)
@pytest.mark.parametrize("backend", ["simulate", "deploy --board b"])
def test_two_outputs_are_two_files(here: Path, backend: str, case: str) -> None:
    (here / "old.x").write_text("old")
    os.link(here / "old.x", here / "old-too.x")
    (here / "to-new").symlink_to("new.x")
    before = content_of(here)
    recording, report = OUTPUTS[case]
    command, *options = backend.split()
    result = run(command, "model.net", *options, "--data", "npz:data.npz",
                 "--recording", recording, "--json", report)  # fmt: skip
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: {report}: is given twice; give every output a file of its own\n"
    )
    assert content_of(here) == before


def test_outputs_that_are_files_of_their_own_are_written(
    originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(originals, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    before = content_of(tmp_path)
    for _ in range(2):  # the second time over its own results
        succeed("simulate", "model.net", "--data", "npz:data.npz", "--recording", "run/data.npz",
                "--json", "run/model.net")  # fmt: skip
    after = content_of(tmp_path)
    assert len(after) == len(before) + 2
    assert before.items() <= after.items()


def test_downloaded_data_are_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "downloads", lambda: tmp_path / "cache")
    images = tmp_path / "cache" / "MNIST" / "images"
    images.parent.mkdir(parents=True)
    images.write_text("pixels")
    check_outputs(images, data="digits")
    check_outputs(images.parent / "new", tmp_path / "new", data="mnist")
    for spec in ("mnist", "nmnist"):
        with pytest.raises(FileFormatError, match=r"images: would be written over .*cache, which"):
            check_outputs(images, data=spec)


@pytest.mark.parametrize("spec", ["digits", "diabetes", "moving-digits", "nothing"])
def test_data_that_are_made_or_installed_have_no_file_of_the_user_s(spec: str) -> None:
    assert data_source(spec) is None


def test_links_that_lead_round_in_a_circle_are_no_file_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "input").write_text("")
    check_outputs(tmp_path / "a", inputs=[tmp_path / "input"])
