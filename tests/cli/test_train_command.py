"""``tandem-hw train``: warm starts, schedules and the other options of a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tandem_hw.cli.work import train as train_command
from tandem_hw.conversion.convert import convert
from tandem_hw.data.datasets import load_dataset
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.training.loop import train as train_from_python
from tandem_hw.training.warm_start import calibrate_thresholds, load_parameters
from tandem_hw.zoo.models import build
from tests.helpers.command_line import run, succeed
from tests.helpers.row_images import SHAPE, trained_mlp, write_data
from tests.helpers.trainings import anonymous

OPTIONS = ("--model", "mlp", "--batch-size", 8, "--num-steps", 4, "--epochs", 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold data and an ordinary network that was trained on them by plain PyTorch."""
    folder = tmp_path_factory.mktemp("folder")
    write_data(folder / "data.npz")
    torch.save(trained_mlp(folder / "data.npz").state_dict(), folder / "ann.pt")
    succeed("train", f"npz:{folder / 'data.npz'}", *OPTIONS, "--out", folder / "tandem")
    return folder


def train(folder: Path, out: Path, *arguments: object) -> tuple[dict[str, Any], str]:
    """Run the command; return its metrics and what it printed."""
    result = succeed("train", f"npz:{folder / 'data.npz'}", *OPTIONS, *arguments, "--out", out)
    return json.loads((out / "metrics.json").read_text(encoding="utf-8")), result.output


def started_from(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> TandemNetwork:
    """Return the network with which the command begins to train."""
    found: list[TandemNetwork] = []

    def stop(model: TandemNetwork, *_: Any, **__: Any) -> None:
        found.append(model)
        raise KeyboardInterrupt

    monkeypatch.setattr(train_command, "train", stop)
    run("train", f"npz:{folder / 'data.npz'}", *OPTIONS, *arguments, "--out", folder / "none")
    (model,) = found
    return model


def test_a_state_dict_is_what_the_training_starts_from_with_calibrated_thresholds(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_dataset(f"npz:{folder / 'data.npz'}")
    ordinary = build("mlp", SHAPE, 3)
    load_parameters(ordinary, folder / "ann.pt")
    wanted = convert(ordinary, input_shape=SHAPE, num_steps=4)
    inputs = data.integers(data.x_train, wanted.architecture.input)
    ceilings = calibrate_thresholds(wanted, torch.from_numpy(inputs))
    model = started_from(folder, monkeypatch, "--init", folder / "ann.pt")
    assert model.training
    assert all(ceiling != 2.0 for ceiling in ceilings.values())
    for name, value in wanted.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_a_trained_network_is_better_from_the_first_epoch_on(folder: Path, tmp_path: Path) -> None:
    fresh, _ = train(folder, tmp_path / "fresh")
    warm, _ = train(folder, tmp_path / "warm", "--init", folder / "ann.pt")
    assert warm["epochs"][0]["loss"] < 0.7 * fresh["epochs"][0]["loss"]
    assert warm["epochs"][0]["spike_rate"] > 0
    assert warm["test_accuracy"] > 0.9


def test_a_tandem_checkpoint_is_taken_up_for_another_window_reset_and_width(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = load_checkpoint(folder / "tandem" / "checkpoint.pt").model
    arguments = ("--init", folder / "tandem" / "checkpoint.pt", "--num-steps", 3,
                 "--reset", "zero", "--weight-bits", 4)  # fmt: skip
    with monkeypatch.context() as patched:
        model = started_from(folder, patched, *arguments)
    assert model.architecture.options.num_steps == 3
    assert model.architecture.options.weight_bits == 4
    for name, value in trained.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    metrics, _ = train(folder, tmp_path, *arguments)
    assert metrics["epochs"][0]["spike_rate"] > 0


def test_an_ordinary_training_is_what_a_spiking_one_starts_from(
    folder: Path, tmp_path: Path
) -> None:
    ordinary, printed = train(folder, tmp_path / "ann", "--schedule", "ordinary")
    assert [epoch["spiking_layers"] for epoch in ordinary["epochs"]] == [0, 0]
    assert [epoch["spike_rate"] for epoch in ordinary["epochs"]] == [0, 0]
    assert "0 layers spike" in printed
    assert "of the ordinary network (24 samples)" in printed
    assert ordinary["test_accuracy"] > 0.6  # chance is 1/3
    spiking, printed = train(folder, tmp_path / "snn", "--init", tmp_path / "ann" / "checkpoint.pt")
    fresh, _ = train(folder, tmp_path / "fresh")
    assert [epoch["spiking_layers"] for epoch in spiking["epochs"]] == [None, None]
    assert "layers spike" not in printed
    assert "of the integer network (24 samples)" in printed
    assert spiking["epochs"][0]["loss"] < fresh["epochs"][0]["loss"]
    assert spiking["epochs"][0]["spike_rate"] > 0


def test_a_progressive_training_reports_its_stages_and_ends_with_all_layers(
    folder: Path, tmp_path: Path
) -> None:
    metrics, printed = train(
        folder, tmp_path, "--schedule", "progressive", "--epochs", 5, "--learn-thresholds"
    )
    # Three layers over the first three of five epochs.
    stages = [epoch["spiking_layers"] for epoch in metrics["epochs"]]
    assert stages == [0, 1, 2, None, None]
    rates = [epoch["spike_rate"] for epoch in metrics["epochs"]]
    assert rates[0] == 0
    assert all(rate > 0 for rate in rates[1:])
    lines = [line for line in printed.splitlines() if line.startswith("epoch ")]
    ends = ["0 layers spike", "1 layer spikes", "2 layers spike"]
    assert [line.rsplit(", ")[-1] for line in lines[:3]] == ends
    assert not any("layer" in line for line in lines[3:])
    model = load_checkpoint(tmp_path / "checkpoint.pt").model
    assert model.tandem_layers[0].activation_max.item() != 2.0
    succeed("export", tmp_path / "checkpoint.pt", "--out", tmp_path / "model.net")
    succeed(
        *("verify", tmp_path / "model.net", "--data", f"npz:{folder / 'data.npz'}"),
        *("--backends", "reference", "--checkpoint", tmp_path / "checkpoint.pt"),
    )


@pytest.mark.parametrize("schedule", ["progressive", "ordinary"])
def test_a_schedule_can_be_resumed(folder: Path, tmp_path: Path, schedule: str) -> None:
    arguments = ("--schedule", schedule, "--epochs", 4, "--augmentation", "mnist")
    whole, _ = train(folder, tmp_path / "whole", *arguments)
    interrupted = []

    def stop_after(epoch: dict[str, Any], _: float) -> str:
        interrupted.append(epoch["epoch"])
        if len(interrupted) == 2:
            raise KeyboardInterrupt
        return ""

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(train_command, "describe_epoch", stop_after)
        result = run(
            "train", f"npz:{folder / 'data.npz'}", *OPTIONS, *arguments, "--out", tmp_path / "cut"
        )
    assert result.exit_code == 130
    cut, _ = train(folder, tmp_path / "cut", *arguments, "--resume")
    assert interrupted == [1, 2]
    assert anonymous(cut) == anonymous(whole)


def test_fewer_samples_and_mixed_precision_are_passed_on(folder: Path, tmp_path: Path) -> None:
    metrics, _ = train(
        folder, tmp_path, "--samples", 20, "--mixed-precision", "--label-smoothing", 0.1
    )
    options = metrics["options"]
    found = {name: options[name] for name in ("samples", "mixed_precision", "label_smoothing")}
    assert found == {"samples": 20, "mixed_precision": True, "label_smoothing": 0.1}
    assert load_checkpoint(tmp_path / "last.pt").training["schedule"]["T_max"] == 2 * 2


def test_python_m_runs_the_command_line(capfd: pytest.CaptureFixture[str]) -> None:
    import runpy
    import sys

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["tandem_hw", "train", "--help"])
        with pytest.raises(SystemExit) as left:
            runpy.run_module("tandem_hw", run_name="__main__")
    assert left.value.code == 0
    assert "--recipe" in capfd.readouterr().out


def test_every_way_to_train_reaches_the_training_and_is_resumed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = folder / "tandem" / "checkpoint.pt"
    ways = (
        *("--optimizer", "sgd", "--learning-rate", 0.05, "--weight-decay", 5e-4, "--warm-up", 1),
        *("--clip-gradient", 5, "--mix", "mixup", "--ema", 0.9, "--teacher", teacher),
        *("--teacher-weight", 0.3, "--temperature", 2, "--label-smoothing", 0.1),
        *("--weight-bits", "dense1=8,others=4", "--thresholds-per-channel", "--learn-thresholds"),
        *("--learning-rate-schedule", "one-cycle"),
    )
    whole, _ = train(folder, tmp_path / "whole", *ways)
    options = whole["options"]
    assert {
        name: options[name] for name in ("optimizer", "warm_up", "mix", "ema", "temperature")
    } == {
        "optimizer": "sgd",
        "warm_up": 1,
        "mix": "mixup",
        "ema": 0.9,
        "temperature": 2.0,
    }
    assert options["teacher"] == str(teacher)
    widths = [layer.get("weight_bits") for layer in whole["architecture"]["layers"]]
    assert widths == [8, None, None]
    assert whole["architecture"]["options"]["weight_bits"] == 4
    thresholds = [layer.activation_max for layer in parted(tmp_path / "whole")]
    assert [one.dim() for one in thresholds] == [1, 1, 0]
    assert len(thresholds[0].unique()) > 1  # they were learnt
    done = train_from_python
    monkeypatch.setattr(
        train_command, "train", lambda *given, **how: done(*given, **how | {"epoch_done": stop})
    )
    run("train", f"npz:{folder / 'data.npz'}", *OPTIONS, *ways, "--out", tmp_path / "cut")
    assert len(load_checkpoint(tmp_path / "cut" / "last.pt").metrics) == 1
    monkeypatch.undo()
    cut, _ = train(folder, tmp_path / "cut", *ways, "--resume")
    assert anonymous(cut) == anonymous(whole)
    found, wanted = (
        load_checkpoint(tmp_path / name / "last.pt").model.state_dict() for name in ("cut", "whole")
    )
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
    failed = run("train", *OPTIONS, "--weight-bits", 8, "--out", tmp_path / "cut", "--resume")
    assert failed.exit_code == 2
    assert "holds another network" in failed.stderr


def stop(_: Any) -> None:
    raise KeyboardInterrupt


def parted(folder: Path) -> list[Any]:
    return list(load_checkpoint(folder / "checkpoint.pt").model.tandem_layers)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--teacher", "none.pt"), "none.pt: does not exist; give a checkpoint"),
        (("--temperature", 2), "temperature is 2.0, but there is no teacher"),
        (("--weight-bits", "8,4"), "weight_bits has 2 numbers, and the network 3 layers"),
        (("--weight-bits", "8,x"), 'weight_bits is "8,x"; give one number'),
        (("--weight-bits", "conv1=4"), "weight_bits names conv1, which is no layer with weights"),
        (("--warm-up", 2), "warm_up is 2 and epochs 2"),
        (("--augmentation", "cifar+mnist"), "says twice what shift is"),
        (("--augmentation", "cifar+soup"), "'soup' is not one of 'none', 'shift', 'mnist'"),
    ],
)
def test_what_cannot_be_is_refused_before_the_training(
    folder: Path, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    out = tmp_path / "run"
    result = run("train", f"npz:{folder / 'data.npz'}", *OPTIONS, *arguments, "--out", out)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not out.exists()


def test_the_teacher_is_not_written_over(folder: Path, tmp_path: Path) -> None:
    teacher = folder / "tandem" / "checkpoint.pt"
    before = teacher.read_bytes()
    result = run("train", f"npz:{folder / 'data.npz'}", *OPTIONS, "--teacher", teacher,
                 "--out", folder / "tandem", "--overwrite")  # fmt: skip
    assert "would be written over" in result.stderr
    assert teacher.read_bytes() == before
