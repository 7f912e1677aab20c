"""``--config``: every option of every command out of a file, and what a run leaves for another."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest

from tandem_hw.cli import main
from tandem_hw.cli.given.config_file import (
    is_given,
    parse_toml,
    read_options,
    used_options,
    write_options,
)
from tandem_hw.cli.group import COMMANDS
from tandem_hw.cli.options import is_output
from tandem_hw.errors import FileFormatError
from tandem_hw.training.run_files import OPTIONS_NAME
from tests.helpers.command_line import run, succeed, written_json
from tests.helpers.row_images import save_model, write_data
from tests.helpers.sweeps import in_process
from tests.helpers.trainings import anonymous

#: What each command cannot do without.
NEEDED: dict[str, tuple[str, ...]] = {
    "train": ("--out", "a"),
    "sweep": ("--out", "a"),
    "export": ("a.pt", "--out", "a.net"),
    "convert": ("a.pt", "--out", "a.net"),
}
#: Options of all forms, beside what is needed.
GIVEN: dict[str, tuple[str, ...]] = {
    "train": (
        *("npz:x.npz", "--model", "mlp", "--weight-bits", "conv1=8,others=4", "--firing-delay"),
        *("phased", "--learn-thresholds", "--learning-rate", "0.1", "--augmentation", "cifar"),
        *("--init", "a.pt", "--samples", "7", "--seed", "4294967295", "--teacher", "b.pt"),
    ),
    "sweep": ("--vary", "num-steps=2,4", "--vary", "seed=1", "--weight-bits", "8,4", "--jobs", "2"),
    "convert": ("--model", "mlp", "--percentile", "99.9", "--initial-potential", "0.25"),
    "simulate": ("a.net", "--early-exit=0.5,1", "--stall-timeout", "2.5"),
    "verify": ("a.net", "--backends", "reference,c", "--checkpoint", "a.pt"),
    "export": ("--self-test", "3", "--tandem-only"),
    "trace": ("a.net", "--sample", "3", "--layer", "conv", "--neurons", "4,7"),
    "report": ("runs/a", "--data", "npz:x.npz", "--samples", "7"),
}


def context_of(name: str, *arguments: str) -> click.Context:
    """Return the context of a command as its arguments make it."""
    assert isinstance(main, click.Group)
    command = main.get_command(click.Context(main), name)
    assert command is not None
    return command.make_context(name, [*arguments])


def with_needed(name: str) -> list[str]:
    """Return arguments that a command takes, all that it needs among them."""
    given = [*NEEDED.get(name, ()), *GIVEN.get(name, ())]
    return given or (["a.net"] if name in ("inspect", "deploy") else [])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_given_by_a_file_what_it_was_given_on_its_line(
    tmp_path: Path, name: str
) -> None:
    arguments = with_needed(name)
    if name == "conformance":
        arguments = ["--backend", "reference", "--fail-fast"]
    context = context_of(name, *arguments)
    used = used_options(context, is_output)
    write_options(tmp_path / "run.toml", name, used)
    outputs = [word for word in NEEDED.get(name, ()) if word not in ("a.pt",)]
    again = context_of(name, "--config", str(tmp_path / "run.toml"), *outputs)
    assert again.params == context.params
    assert used_options(again, is_output) == used
    assert used or name in ("doctor", "examples")  # which have outputs alone
    # The same in the JSON of a command.
    (tmp_path / "a.json").write_text(
        json.dumps({"command": {"name": name, "options": used}}), encoding="utf-8"
    )
    from_json = context_of(name, "--config", str(tmp_path / "a.json"), *outputs)
    assert from_json.params == context.params


def test_what_is_left_out_of_a_file_is_what_is_written() -> None:
    context = context_of("convert", *with_needed("convert"))
    assert "out" not in used_options(context, is_output)
    assert used_options(context, lambda _: False)["out"] == "a.net"


@pytest.mark.parametrize("first", ["--recipe", "--config"])
def test_the_command_line_wins_over_a_file_and_a_file_over_a_recipe(
    tmp_path: Path, first: str
) -> None:
    file = tmp_path / "own.toml"
    file.write_text("epochs = 3\nbatch_size = 32\nlearning-rate = 1\n", encoding="utf-8")
    pairs = [["--recipe", "mnist"], ["--config", str(file)]]
    both = [word for pair in sorted(pairs, key=lambda one: one[0] != first) for word in pair]
    context = context_of("train", *both, "--batch-size", "16", "--out", "a")
    found = {name: context.params[name] for name in ("epochs", "batch_size", "model", "seed")}
    assert found == {"epochs": 3, "batch_size": 16, "model": "mnistnet", "seed": 0}
    assert context.params["learning_rate"] == 1.0
    given = [name for name in ("epochs", "batch_size", "model", "seed") if is_given(context, name)]
    assert given == ["epochs", "batch_size", "model"]


def test_a_file_may_name_a_recipe(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('recipe = "mnist"\nepochs = 3\n', encoding="utf-8")
    context = context_of("train", "--config", str(file), "--out", "a")
    assert (context.params["model"], context.params["epochs"]) == ("mnistnet", 3)


#: What a file says, and what is said of it.
FAULTS = {
    "epoch = 3": r'train has no option "epoch"; did you mean epochs\?$',
    "learning_rates = 3": r'has no option "learning_rates"; did you mean learning-rate',
    "zzz = 3": r'train has no option "zzz"; it has data, ',
    'config = "b.toml"': 'train has no option "config"',
    'help = "x"': 'train has no option "help"',
    "[train]\nepochs = 3": 'train has no option "train"',
    "batch-size = 3\nbatch_size = 3": "batch_size is given twice; give it once",
    "epochs = 3.5": "epochs is 3.5: '3.5' is not a valid integer",
    "epochs = 3.0": "epochs is 3.0: '3.0' is not a valid integer",
    "epochs = 0": "epochs is 0: 0 is not in the range",
    "epochs = true": "epochs is True: true and false are for options without a value",
    "epochs = [3, 4]": r"epochs is \[3, 4\]: '3,4' is not a valid integer",
    "epochs = 2024-01-01": "'2024-01-01' is not a valid integer",
    "seed = 99999999999999999999": "is not in the range",
    "learning-rate = nan\nsynop-weight = nan": "synop-weight is nan: nan is not a number",
    'learn-thresholds = "yes"': "learn-thresholds is 'yes': give true or false",
    "learn-thresholds = 1": "learn-thresholds is 1: give true or false",
    'reset = "none"': "reset is 'none': 'none' is not one of 'subtract', 'zero'",
    "weight-bits = [8, [4]]": "weight-bits is .*: it holds a list within a list",
    "weight-bits = 9": "weight-bits is 9: 9 is not in the range",
    "weight-bits = {conv1 = 9}": "weight-bits is .*: weight_bits of conv1 is 9",
    'model = "lenot"': "model is 'lenot': 'lenot' is not one of 'mlp'",
    'model = "none.py:Net"': r"none\.py: there is no such file",
    "seed = 3\nepochs = ?": r"is no TOML \(.*line 2",
    "\x00": r"is no TOML \(",
    f"a = {'[' * 5000}{']' * 5000}": r"is no TOML \(",
    "#" * ((1 << 20) + 1): "is larger than 1048576 bytes, and no file of options",
    '"\\u001b[31m" = 1': r'has no option "\\x1b\[31m"',
}


@pytest.mark.parametrize("text", FAULTS)
def test_what_an_option_does_not_take_is_said_with_file_and_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(text, encoding="utf-8")
    result = run("train", "--config", file, "--out", tmp_path / "a")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert re.search(FAULTS[text], line)
    assert str(file) in line
    assert not (tmp_path / "a").exists()


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    context = context_of("train", "--out", "a")
    (tmp_path / "a.toml").write_bytes(b"epochs = 3 # \xff")
    (tmp_path / "b.json").write_text("{", encoding="utf-8")
    (tmp_path / "c.json").write_text('{"command": {"options": []}}', encoding="utf-8")
    other = {"command": {"name": "verify", "options": {}}}
    (tmp_path / "d.json").write_text(json.dumps(other), encoding="utf-8")
    (tmp_path / "e.json").write_text("[1]", encoding="utf-8")
    for name, message in {
        "none.toml": "there is no such file",
        "a.toml": "is no TOML .*utf-8",
        "b.json": "is no JSON",
        "c.json": "does not say the options of a command; give the JSON that tandem-hw train",
        "d.json": "has the options of verify, not of train",
        "e.json": "does not say the options of a command",
    }.items():
        with pytest.raises(FileFormatError, match=rf"{re.escape(name)}: {message}"):
            read_options(tmp_path / name, context)


# What is left for another run --------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with data and a network."""
    write_data(tmp_path / "data.npz")
    save_model(tmp_path / "model.pt", seed=1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def metrics(folder: str) -> Any:
    return anonymous(written_json(Path(folder, "metrics.json")))


def test_a_training_is_repeated_by_what_it_wrote(here: Path) -> None:
    arguments = ("--model", "mlp", "--batch-size", 8, "--epochs", 2, "--seed", 5)
    succeed("train", "npz:data.npz", *arguments, "--weight-bits", "8,4,8", "--out", "one")
    told = parse_toml(Path("one", OPTIONS_NAME).read_text(encoding="utf-8"))
    assert (told["data"], told["seed"], told["weight-bits"]) == ("npz:data.npz", 5, [8, 4, 8])
    assert not {"out", "resume", "overwrite", "verbose", "config"} & told.keys()
    succeed("train", "--config", "one/run.toml", "--out", "two")
    assert metrics("two") == metrics("one")
    assert Path("two/run.toml").read_bytes() == Path("one/run.toml").read_bytes()
    succeed("train", "--config", "one/run.toml", "--seed", 6, "--out", "three")
    assert metrics("three") != metrics("one")
    result = run("train", "--config", "one/run.toml", "--overwrite", "--out", "one")
    assert result.exit_code == 2
    assert "one/run.toml: would be written over one/run.toml, which is read" in result.stderr


def test_results_as_json_repeat_a_run(here: Path) -> None:
    succeed("export", "model.pt", "--out", "model.net")
    arguments = ("simulate", "model.net", "--data", "npz:data.npz", "--samples", 9)
    succeed(*arguments, "--json", "one.json", "--recording", "one.npz")
    one = written_json(Path("one.json"))
    assert one["command"]["name"] == "simulate"
    assert one["command"]["options"]["samples"] == 9
    assert not {"json", "recording", "config"} & one["command"]["options"].keys()
    succeed("simulate", "--config", "one.json", "--json", "two.json")
    two = written_json(Path("two.json"))
    for told in (one, two):
        del told["seconds"], told["samples_per_second"]
    assert two == one
    result = run("simulate", "--config", "one.json", "--json", "one.json")
    assert result.exit_code == 2
    assert "one.json: would be written over one.json, which is read" in result.stderr


def test_a_sweep_takes_from_a_file_what_it_takes_from_its_line(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = in_process(monkeypatch)
    arguments = ("npz:data.npz", "--model", "mlp", "--batch-size", 80, "--epochs", 1)
    succeed("sweep", *arguments, "--vary", "num-steps=2,3", "--jobs", 1, "--out", "out")
    assert len(trainer.trained) == 2
    again = succeed("sweep", "--config", "out/run.toml", "--out", "out")
    assert "2 of 2 trainings were finished" in again.output
    assert len(trainer.trained) == 2
    assert len(list(Path("out/runs").glob("*/run.toml"))) == 2
    file = here / "own.toml"
    file.write_text('data = "npz:data.npz"\nvary = ["num-steps=2"]\nepochs = 1\nmodel = "mlp"\n')
    succeed("sweep", "--config", file, "--batch-size", 80, "--jobs", 1, "--out", "out")
    assert len(trainer.trained) == 2
    succeed("sweep", "--config", file, "--batch-size", 70, "--jobs", 1, "--out", "out")
    assert len(trainer.trained) == 3
    refused = run("sweep", "--config", file, "--vary", "epochs=1,2", "--out", "out")
    assert "epochs is both given and varied; give it once" in refused.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epochs = 0x" + "F" * 5000, "is no TOML (an integer has more than 300 digits)"),
        ('out = "a\\u0000b"', "embedded null"),
        ('report = "a\\u0000.html"', "embedded null"),
    ],
)
def test_what_no_command_line_can_hold_is_refused_in_a_line(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "own.toml"
    file.write_text(text, encoding="utf-8")
    result = run("train", "digits", "--config", file)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert said in line
