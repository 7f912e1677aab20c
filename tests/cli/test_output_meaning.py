"""Commands judge a network by what it was trained for, and call its classes by their names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tandem_hw.cli.work import convert as convert_work
from tandem_hw.cli.work import samples as samples_work
from tandem_hw.cli.work import train as train_work
from tandem_hw.cli.work.samples import take_samples
from tandem_hw.data.dataset import Dataset, Labels
from tandem_hw.data.datasets import load_dataset
from tandem_hw.errors import DataError
from tandem_hw.export.files import read_network, write_network
from tandem_hw.network.output_meaning import OutputMeaning
from tests.helpers.command_line import run, succeed, written_json
from tests.helpers.row_images import trained_mlp, write_data

NAMES = ("top", "middle", "bottom \x1b[31m")
TRAINING = ("npz:data.npz", "--model", "mlp", "--batch-size", 8, "--epochs", 2)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_data(tmp_path / "data.npz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loading(names: tuple[str, ...] | None) -> Any:
    """Return a ``load_dataset`` whose classes have names."""

    def load(spec: str, **how: Any) -> Dataset:
        data = load_dataset(spec, **how)
        train, test = data.wanted_train, data.wanted_test
        assert isinstance(train, Labels)
        assert isinstance(test, Labels)
        return replace(
            data, wanted_train=replace(train, names=names), wanted_test=replace(test, names=names)
        )

    return load


def test_a_reconstruction_of_as_many_values_as_there_are_classes_is_judged_as_one(
    here: Path,
) -> None:
    with np.load("data.npz") as arrays:
        content = dict(arrays)
    for part in ("train", "test"):
        content[f"y_{part}"] = np.arange(len(content[f"y_{part}"])) % 36
    content["y_test"][-1] = content["y_train"][-1] = 35
    np.savez("pixels.npz", **content)
    text = (
        "from torch import nn\n"
        "def net():\n"
        "    body = nn.Linear(36, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 36)\n"
        "    return nn.Sequential(nn.Flatten(), *body)\n"
    )
    Path("net.py").write_text(text, encoding="utf-8")
    succeed(
        *("train", "npz:pixels.npz", "--model", "net.py:net", "--objective", "reconstruction"),
        *("--epochs", 2, "--batch-size", 8, "--out", "run"),
    )
    succeed("export", "run/checkpoint.pt", "--out", "run.net")
    network = read_network("run.net")
    assert network.meaning == OutputMeaning("reconstruction")
    data = ("--data", "npz:pixels.npz")
    succeed("simulate", "run.net", *data, "--json", "run.json")
    told = written_json(Path("run.json"))
    assert told["objective"] == "reconstruction"
    assert told["mse"] == pytest.approx(written_json(Path("run/metrics.json"))["test_mse"])
    assert "confusion" not in told
    succeed("verify", "run.net", *data, "--backends", "reference", "--json", "v.json",
            "--checkpoint", "run/checkpoint.pt")  # fmt: skip
    assert written_json(Path("v.json"))["objective"] == "reconstruction"
    refused = run("simulate", "run.net", *data, "--early-exit")
    assert "this is a reconstruction" in refused.output + refused.stderr
    # Without what the file says, the labels are what it is judged by.
    write_network(replace(network, meaning=None), "older.net")
    succeed("simulate", "older.net", *data, "--json", "older.json")
    assert written_json(Path("older.json"))["objective"] == "classification"
    shown = succeed("inspect", "run.net", "--json", "inspect.json")
    assert "trained for reconstruction\n" in shown.output
    assert written_json(Path("inspect.json"))["meaning"] == {"objective": "reconstruction"}


def test_data_of_another_kind_are_refused(here: Path) -> None:
    succeed("train", *TRAINING, "--out", "run")
    succeed("export", "run/checkpoint.pt", "--out", "run.net")
    with np.load("data.npz") as arrays:
        content = dict(arrays)
    for part in ("train", "test"):
        content[f"y_{part}"] = 0.5 * np.eye(3, dtype=np.float32)[content[f"y_{part}"]]
    np.savez("real.npz", **content)
    result = run("simulate", "run.net", "--data", "npz:real.npz")
    assert result.exit_code == 2
    assert "this network was trained for classification, so give data for that" in result.stderr


def test_classes_are_called_by_their_names(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_work, "load_dataset", loading(NAMES))
    succeed("train", *TRAINING, "--out", "run")
    succeed("export", "run/checkpoint.pt", "--out", "run.net")
    assert read_network("run.net").meaning == OutputMeaning("classification", NAMES)
    shown = succeed("inspect", "run.net").output
    assert "trained for classification; classes: top, middle, bottom \\x1b[31m\n" in shown
    arguments = ("simulate", "run.net", "--data", "npz:data.npz")
    result = succeed(*arguments, "--json", "run.json", "--plot", "run.png")
    told = written_json(Path("run.json"))
    assert told["confusion"]["classes"] == [*NAMES]
    counts = np.array(told["confusion"]["counts"])
    assert counts.shape == (3, 3)
    assert counts.sum(1).tolist() == [8, 8, 8]
    assert counts.trace() == 24 * told["accuracy"]
    assert "samples of a class (rows) taken for which (columns)" in result.output
    assert "bottom \\x1b[31m" in result.output
    assert "\x1b[31m" not in result.output
    # The same numbers with the classes in another order, found by their names.
    order = [2, 0, 1]
    monkeypatch.setattr(samples_work, "load_dataset", loading(tuple(NAMES[one] for one in order)))
    network = read_network("run.net")
    data = loading(tuple(NAMES[one] for one in order))("npz:data.npz")
    plain = take_samples(network, load_dataset("npz:data.npz"), None)
    assert plain.labels is not None
    by_name = take_samples(network, data, None)
    assert by_name.labels is not None
    assert by_name.labels.tolist() == np.array(order)[plain.labels].tolist()
    assert by_name.class_names(network) == NAMES
    monkeypatch.setattr(samples_work, "load_dataset", loading(("top", "middle", "left")))
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert "npz:data.npz: has the class 'left', and the network was trained for top, midd" in (
        refused.stderr
    )


def test_what_names_there_are_is_what_is_shown(here: Path) -> None:
    succeed("train", *TRAINING, "--out", "run")
    succeed("export", "run/checkpoint.pt", "--out", "run.net")
    network = read_network("run.net")
    assert network.meaning == OutputMeaning("classification")
    data = loading(NAMES)("npz:data.npz")
    assert take_samples(network, data, None).class_names(network) == NAMES
    without = succeed("simulate", "run.net", "--data", "npz:data.npz", "--json", "run.json")
    assert "taken for which" not in without.output
    assert written_json(Path("run.json"))["confusion"]["classes"] == ["0", "1", "2"]
    # A part of the data may lack classes.
    known = replace(network, meaning=OutputMeaning("classification", NAMES))
    data = replace(load_dataset("npz:data.npz"))
    two = Labels(np.arange(24) % 2, 2, ("top", NAMES[2]))
    part = replace(data, wanted_test=two, wanted_train=Labels(np.arange(96) % 2, 2, two.names))
    labels = take_samples(known, part, None).labels
    assert labels is not None
    assert labels[:4].tolist() == [0, 2, 0, 2]
    names = ("top", "side")
    train = Labels(np.arange(96) % 2, 2, names)
    other = replace(part, wanted_test=replace(two, names=names), wanted_train=train)
    with pytest.raises(DataError, match="has the class 'side', and the network was trained for"):
        take_samples(known, other, None)


def test_a_conversion_says_what_outputs_mean(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(trained_mlp(here / "data.npz").state_dict(), "ann.pt")
    monkeypatch.setattr(convert_work, "load_dataset", loading(NAMES))
    arguments = ("--data", "npz:data.npz", "--out", "new.net")
    succeed("convert", "ann.pt", "--model", "mlp", *arguments)
    assert read_network("new.net").meaning == OutputMeaning("classification", NAMES)
    monkeypatch.undo()
    monkeypatch.chdir(here)
    succeed("train", *TRAINING, "--schedule", "ordinary", "--out", "run")
    succeed("convert", "run/checkpoint.pt", *arguments, "--overwrite")
    assert read_network("new.net").meaning == OutputMeaning("classification")
