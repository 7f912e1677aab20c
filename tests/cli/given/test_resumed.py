"""``train --resume DIR``: a training goes on by what its folder holds, and by nothing else."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tandem_hw.cli.given.config_file import parse_toml
from tandem_hw.cli.work import train as train_command
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.training.loop import train as train_from_python
from tests.helpers.command_line import run, succeed, written_json
from tests.helpers.row_images import write_data
from tests.helpers.trainings import anonymous

NET = """\
from torch import nn


def net(num_classes):
    body = nn.Linear(36, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, num_classes)
    return nn.Sequential(nn.Flatten(), *body)
"""
PLAIN = ("npz:data.npz", "--model", "mlp", "--batch-size", 8, "--epochs", 2)
WAYS: dict[str, tuple[object, ...]] = {
    "mlp": (
        *("npz:data.npz", "--model", "mlp", "--batch-size", 8, "--epochs", 2, "--num-steps", 4),
        *("--weight-bits", "dense1=8,others=4", "--thresholds-per-channel", "--learn-thresholds"),
        *("--optimizer", "sgd", "--learning-rate", 0.05, "--ema", 0.9, "--mix", "mixup"),
        *("--input-bits", 5, "--seed", 3, "--warm-up", 1, "--firing-delay", "phased"),
    ),
    "own": (
        *("npz:data.npz", "--model", "net.py:net", "--batch-size", 8, "--epochs", 2),
        *("--reset", "zero", "--voltage-decay", 100, "--readout", "count", "--init", "ann.pt"),
    ),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_data(tmp_path / "data.npz")
    (tmp_path / "net.py").write_text(NET, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def broken_off(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    """Train for one epoch."""

    def stopped(*given: Any, **how: Any) -> Any:
        def stop(epoch: dict[str, Any]) -> None:
            how["epoch_done"](epoch)
            raise KeyboardInterrupt

        return train_from_python(*given, **how | {"epoch_done": stop})

    with monkeypatch.context() as patched:
        patched.setattr(train_command, "train", stopped)
        assert run("train", *arguments).exit_code == 130


def told(folder: str) -> Any:
    return anonymous(written_json(Path(folder, "metrics.json")))


@pytest.mark.parametrize("way", WAYS)
def test_nothing_but_the_folder_is_needed(
    here: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "own":
        from tandem_hw.cli.given.model_file import build_model

        torch.save(build_model("net.py:net", (1, 6, 6), 3).state_dict(), "ann.pt")
    succeed("train", *WAYS[way], "--out", "whole")
    broken_off(monkeypatch, *WAYS[way], "--out", "cut")
    assert len(load_checkpoint("cut/last.pt").metrics) == 1
    before = Path("cut/run.toml").read_bytes()
    assert before == Path("whole/run.toml").read_bytes()
    for name in ("net.py", "ann.pt"):
        (here / name).unlink(missing_ok=True)
    shutil.copytree("cut", "other")
    result = succeed("train", "--resume", "cut")
    assert result.stderr.startswith("goes on after epoch 1 of 2\n")
    succeed("train", "--resume", "--out", "other")
    for folder in ("cut", "other"):
        assert told(folder) == told("whole")
        one, whole = (
            load_checkpoint(f"{name}/last.pt").model.state_dict() for name in (folder, "whole")
        )
        assert all(torch.equal(one[name], value) for name, value in whole.items())
        assert Path(folder, "run.toml").read_bytes() == before
    result = succeed("train", "--resume", "cut")
    assert result.stderr == "all 2 epochs are done; more are added by --epochs N, with N above 2\n"
    assert told("cut") == told("whole")


@pytest.mark.exhaustive
def test_the_same_options_may_be_given_again(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_off(monkeypatch, *WAYS["mlp"], "--out", "cut")
    shutil.copytree("cut", "other")
    succeed("train", *WAYS["mlp"], "--resume", "--out", "cut")
    succeed("train", "--config", "other/run.toml", "--resume", "--out", "other")
    assert told("cut") == told("other")


#: Options that are another training's, and what is said of them.
OTHERS = {
    "--num-steps 5": "holds another network, which was made with num_steps 7, not 5",
    "--reset zero": "holds another network, which was made with reset subtract, not zero",
    "--weight-bits 4": "made with weight_bits 8, not 4",
    "--weight-bits 8,8,4": "made with layer 2 with weight_bits None, not 4",
    "--weight-bits 8,8": "weight_bits has 2 numbers, and the network 3 layers",
    "--input-bits 6": "made with input bits 4, not 6",
    "--encoding constant": "made with input encoding first_step, not constant",
    "--readout count": "made with readout potential, not count",
    "--firing-delay phased": "made with firing_delay 0, not 6",
    "--thresholds-per-channel": "made with layer 0 with channel_thresholds False, not True",
    "--activation-max 3": "made with activation_max 2.0, not 3.0",
    "--voltage-decay 7": "voltage_decay 7 are not possible with reset",
    "--model lenet": "holds another network, which was made with layer 0 with kind linear, not",
    "--batch-size 9": "was trained with batch_size 8, not 9; a resumed training keeps its opti",
    "--epochs 1": r"was trained with epochs 2, not 1; .*\(more epochs can be added\)",
    "--objective regression": "objective classification, not regression",
    "--penalty busiest-core": 'penalty is "busiest-core", but synop_weight is 0',
}


def test_options_of_another_training_are_refused(here: Path) -> None:
    succeed("train", *PLAIN, "--out", "run")
    before = {path: path.read_bytes() for path in Path("run").iterdir()}
    for line, message in OTHERS.items():
        result = run("train", "--resume", "--out", "run", *line.split())
        assert result.exit_code == 2, line
        assert re.search(message, result.stderr), result.stderr
        assert len(result.stderr.splitlines()) == 1 or "model" in line
    shutil.copy("data.npz", "other.npz")
    result = run("train", "npz:other.npz", "--resume", "--out", "run")
    assert "was trained on npz:data.npz, not on npz:other.npz" in result.stderr
    assert {path: path.read_bytes() for path in Path("run").iterdir()} == before


def test_more_epochs_are_added_and_said_to_be(here: Path) -> None:
    succeed("train", *PLAIN, "--out", "run")
    result = succeed("train", "--resume", "run", "--epochs", 4)
    assert re.match(
        r"made longer after epoch 2: 4 epochs instead of 2\. The learning rate is that of 4 from "
        r"here on and starts at 0\.001, so the result is not that of 4 epochs from the first\n",
        result.stderr,
    )
    metrics = told("run")
    assert [epoch["epoch"] for epoch in metrics["epochs"]] == [1, 2, 3, 4]
    assert metrics["extensions"] == [[2, 2, 4]]
    text = Path("run/run.toml").read_text(encoding="utf-8")
    assert parse_toml(text)["epochs"] == 4
    assert "\n# It was begun with fewer epochs and made longer" in text
    result = succeed("train", "--resume", "run")
    assert result.stderr.startswith("all 4 epochs are done")
    failed = run("train", *PLAIN, "--schedule", "progressive", "--out", "stages", "--epochs", 1)
    assert failed.exit_code == 0
    failed = run("train", "--resume", "stages", "--epochs", 2)
    assert failed.exit_code == 2
    assert "is one plan for all of them and cannot be made longer" in failed.stderr


def test_a_training_without_a_file_of_options_is_resumed_and_gets_none(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_off(monkeypatch, *PLAIN, "--out", "run")
    Path("run/run.toml").unlink()
    succeed("train", "--resume", "run")
    assert len(told("run")["epochs"]) == 2
    assert not Path("run/run.toml").exists()
    Path("run/run.toml").write_text("epochs =", encoding="utf-8")
    result = run("train", "--resume", "run", "--epochs", 3)
    assert result.exit_code == 2
    assert re.search(r"run/run\.toml: is no TOML .*; mend or remove it", result.stderr)
    assert len(told("run")["epochs"]) == 2


def test_what_is_no_folder_of_a_training_is_refused(here: Path) -> None:
    (here / "empty").mkdir()
    for arguments, message in {
        ("--resume",): "Missing option '--out'. --resume needs the folder of a training: train --r",
        ("npz:data.npz", "--resume"): "npz:data.npz: is no folder; --resume needs that of a train",
        ("--resume", "empty"): "empty/last.pt: does not exist, so no epoch of a training in this",
        ("--resume", "empty", "--overwrite"): "empty: --resume keeps a training and --overwrite",
        ("npz:data.npz",): "Missing option '--out'.",
    }.items():
        result = run("train", *arguments)
        assert result.exit_code == 2
        assert message in result.stderr
    assert list((here / "empty").iterdir()) == []


@pytest.mark.parametrize("value", ["3", None, -1])
def test_damaged_options_are_no_traceback(here: Path, value: Any) -> None:
    succeed("train", *PLAIN, "--out", "run")
    content = torch.load("run/last.pt", weights_only=True)
    content["training"]["options"]["epochs"] = value
    torch.save(content, "run/last.pt")
    result = run("train", "--resume", "run")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("Error: ")


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_options_that_never_end_are_not_waited_for(here: Path, kind: str) -> None:
    succeed("train", *PLAIN, "--out", "out")
    file = here / "out" / "run.toml"
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to("/dev/zero")
    result = run("train", "--resume", "out", "--epochs", 3)
    assert result.exit_code == 2
    assert "run.toml: is not an ordinary file, and no file of options" in result.stderr
