"""No command writes over what it reads, whatever the file is called, nor two outputs into one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from tandem_hw.cli import main
from tandem_hw.cli.group import COMMANDS
from tandem_hw.cli.options import check_outputs
from tandem_hw.cli.work import train as train_command
from tandem_hw.data import catalogue
from tandem_hw.data.catalogue import data_source
from tandem_hw.errors import FileFormatError
from tandem_hw.export.freezing import freeze
from tandem_hw.export.net_file import write_net
from tandem_hw.sim.loihi2.backend import Loihi2Backend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.training.run_files import WRITTEN_NAMES
from tests.helpers.command_line import run, succeed
from tests.helpers.row_images import SHAPE, save_model


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    images, labels = np.full((4, *SHAPE[1:]), 200, np.uint8), np.arange(4) % 3
    np.savez(folder / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    write_net(freeze(save_model(folder / "model.pt", seed=0)), folder / "model.net")
    (folder / "own.toml").write_text("# No option\n", encoding="utf-8")
    return folder


@pytest.fixture
def here(originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a copy of the folder, and let no work begin."""

    def begin(*_: Any, **__: Any) -> None:
        raise AssertionError("the work has begun")

    folder = tmp_path / "here"
    shutil.copytree(originals, folder)
    (tmp_path / "way").symlink_to(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(Loihi2Backend, "why_unavailable", lambda _: None)
    for owner in (ReferenceBackend, Loihi2Backend):
        monkeypatch.setattr(owner, "simulate", begin)
        monkeypatch.setattr(owner, "simulate_in_parts", begin)
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


#: What commands read, by their parameters. Every other path among their options is an output.
READ = {
    "network_path": "model.net",
    "model_path": "model.pt",
    "checkpoint": "model.pt",
    "init": "model.pt",
    "config": "own.toml",
}
#: Commands whose output is a folder, or that read one; what they write has tests of its own.
INTO_FOLDERS = ("train", "sweep", "report", "examples")
#: Outputs that are folders, likewise.
FOLDERS = ("failure_folder",)


def commands() -> Iterator[tuple[str, str]]:
    """Yield every command with each of its outputs, OUT, and each file that it reads."""
    for name in main.list_commands(click.Context(main)):
        command = main.get_command(click.Context(main), name)
        assert command is not None
        if name not in INTO_FOLDERS:
            yield from outputs_of(name, command)


def outputs_of(name: str, command: click.Command) -> Iterator[tuple[str, str]]:
    paths = {p.name: p for p in command.params if isinstance(p.type, click.Path)}
    outputs = [p for key, p in paths.items() if key not in READ and key not in FOLDERS]
    assert outputs, f"{name} writes nothing that is known here"
    given, read = [name], [READ[key] for key in paths if key in READ]
    for key in filter(READ.get, paths):  # in the order of the options, the same in every process
        flag = [paths[key].opts[0]] if isinstance(paths[key], click.Option) else []
        given += [*flag, READ[key]]
    if any(p.name == "data" for p in command.params):
        given += ["--data", "npz:data.npz"]
        read.append("data.npz")
    for output in outputs:
        others = [
            f"{p.opts[0]} {'new.net' if p in outputs else some_value(p)}"
            for p in command.params
            if p.required and isinstance(p, click.Option) and p is not output
        ]
        line = " ".join([*given, *others, output.opts[0], "OUT"])
        yield from ((line, file) for file in dict.fromkeys(read))


def some_value(param: click.Parameter) -> str:
    choices = param.type.choices if isinstance(param.type, click.Choice) else ("some",)
    return str(choices[0])


EVENTS = "simulate model.net --data events:data.npz --json OUT"
CASES = [*commands(), (EVENTS, "model.net"), (EVENTS, "data.npz")]


def test_every_command_and_output_is_among_the_cases() -> None:
    found = {(line.split()[0], line.split()[-2], file) for line, file in CASES}
    for name in ("simulate", "deploy", "verify", "convert"):
        assert (name, "--json", "data.npz") in found
    assert {("convert", "--out", "data.npz"), ("export", "--out", "model.pt")} <= found
    assert {name for name, _, _ in found} | {*INTO_FOLDERS} == set(COMMANDS)


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
@pytest.mark.parametrize("written", WRITTEN_NAMES)
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
    "a way around": ("new.x", "../here/new.x"),
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
    for overwrite in ((), ("--overwrite",)):  # the second time over its own results
        result = succeed(
            *("simulate", "model.net", "--data", "npz:data.npz", *overwrite),
            *("--recording", "run/data.npz", "--json", "run/model.json"),
        )
        assert "wrote run/data.npz\nwrote run/model.json\n" in result.stdout
    after = content_of(tmp_path)
    assert len(after) == len(before) + 2
    assert before.items() <= after.items()


def outputs_with_suffixes() -> Iterator[tuple[str, str]]:
    """Yield every command that writes files, with each of its outputs and that one's suffix."""
    suffixes = {"json_path": ".json", "recording_path": ".npz", "plot_path": ".png", "out": ".net"}
    suffixes["report"] = ".html"
    for line in {line for line, _ in commands()} | {
        "conformance --backend c --json OUT",
        "doctor --json OUT",
    }:
        command = main.get_command(click.Context(main), line.split()[0])
        assert command is not None
        (name,) = [one.name for one in command.params if line.split()[-2] in one.opts]
        assert name is not None
        yield line, suffixes[name]


NAMED = sorted(outputs_with_suffixes())


@pytest.mark.parametrize(("line", "suffix"), NAMED)
def test_what_is_there_is_replaced_only_where_that_is_asked_for(
    here: Path, line: str, suffix: str
) -> None:
    (here / f"there{suffix}").write_text("precious", encoding="utf-8")
    arguments = line.replace("OUT", f"there{suffix}").split()
    result = run(*arguments)
    assert result.exit_code == 2
    assert f"there{suffix}: is there already; replace it with --overwrite" in result.stderr
    assert (here / f"there{suffix}").read_text(encoding="utf-8") == "precious"
    command = main.get_command(click.Context(main), arguments[0])
    assert command is not None
    assert "--overwrite" in {option for one in command.params for option in one.opts}


@pytest.mark.parametrize(("line", "suffix"), NAMED)
def test_a_name_of_another_kind_of_files_is_refused(here: Path, line: str, suffix: str) -> None:
    before = content_of(here)
    result = run(*line.replace("OUT", "new.txt").split())
    assert result.exit_code == 2
    assert "Error: new.txt: " in result.stderr
    assert suffix in result.stderr or "--data is for .c files" in result.stderr
    assert content_of(here) == before


@pytest.mark.parametrize("words", ["inspect model.net", "simulate model.net", "verify model.net"])
def test_json_alone_is_on_standard_output_where_that_is_asked_for(
    originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    shutil.copytree(originals, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    before = content_of(tmp_path)
    arguments = words.split()
    if arguments[0] != "inspect":
        arguments += ["--data", "npz:data.npz"]
    if arguments[0] == "verify":
        arguments += ["--backends", "reference", "--checkpoint", "model.pt"]
    result = run(*arguments, "--json", "-")
    content = json.loads(result.stdout)
    assert content.get("network_digest", content.get("digest", content.get("backends")))
    assert "layer" in result.stderr
    assert content_of(tmp_path) == before


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
    with pytest.raises(
        FileFormatError, match=r"a: cannot be written \(Too many levels of symbolic"
    ):
        check_outputs(tmp_path / "a", inputs=[tmp_path / "input"])


@pytest.mark.parametrize("command", ["export model.pt", "convert model.pt --data npz:data.npz"])
@pytest.mark.parametrize("name", ["new.npz", "new.txt", "new"])
def test_a_network_is_written_under_no_other_kind_s_name(
    here: Path, command: str, name: str
) -> None:
    before = content_of(here)
    result = run(*command.split(), "--out", name)
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: {name}: networks are written as .net, .nir or .c; give such a name\n"
    )
    assert content_of(here) == before
