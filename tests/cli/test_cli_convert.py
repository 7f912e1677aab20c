"""``tandem-hw convert``, and what the command line says of networks and data that do nothing."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tandem_hw.cli.group import _warnings_in_a_line
from tandem_hw.conversion.convert import convert
from tandem_hw.export.net_file import read_net
from tandem_hw.learning.checkpoint import Checkpoint, save_checkpoint
from tandem_hw.zoo.models import build
from tests.helpers.command_line import run, succeed, written_json
from tests.helpers.row_images import SHAPE, trained_mlp, write_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold data, an ordinary network trained on them, and a checkpoint of it."""
    folder = tmp_path_factory.mktemp("folder")
    write_data(folder / "data.npz")
    network = trained_mlp(folder / "data.npz")
    torch.save(network.state_dict(), folder / "ann.pt")
    model = convert(network.eval(), input_shape=SHAPE, num_steps=5, weight_bits=6)
    save_checkpoint(Checkpoint(model), folder / "tandem.pt")
    dark = {"x_train": np.eye(6, dtype=np.uint8)[None].repeat(9, 0), "y_train": np.arange(9) % 3}
    np.savez(folder / "mask.npz", **dark, x_test=dark["x_train"], y_test=dark["y_train"])
    faint = dark | {"x_train": dark["x_train"] * 0.02}
    np.savez(folder / "faint.npz", **faint, x_test=faint["x_train"], y_test=dark["y_train"])
    return folder


def converted(folder: Path, out: Path, *arguments: object) -> tuple[Any, str]:
    """Run the command; return its JSON and what it printed."""
    result = succeed(
        *("convert", *arguments, "--data", f"npz:{folder / 'data.npz'}"),
        *("--out", out / "new.net", "--json", out / "new.json", "--overwrite"),
    )
    assert result.stderr == ""
    return written_json(out / "new.json"), result.stdout


def test_a_state_dict_becomes_a_file_with_a_table_of_where_accuracy_goes(
    folder: Path, tmp_path: Path
) -> None:
    content, output = converted(
        folder, tmp_path, folder / "ann.pt", "--model", "mlp", "--num-steps", 31
    )
    network = read_net(tmp_path / "new.net")
    assert (network.num_steps, network.reset, network.input.bits) == (31, "subtract", 4)
    assert content["network_digest"] == network.digest
    assert [stage["spiking_layers"] for stage in content["stages"]] == [0, 0, 0, 1, 2, 3]
    assert [stage["name"] for stage in content["stages"]] == [
        *("ordinary network", "inputs of 4 bits", "activations up to activation_max"),
        *("dense1 on integers", "dense2 on integers", "dense3 on integers: what is written"),
    ]
    assert all(stage["accuracy"] > 0.9 for stage in content["stages"])
    for stage in content["stages"]:
        assert re.search(rf"{stage['name']} +│ +{stage['accuracy']:.2%}", output), stage
    first, _, last = content["layers"]
    assert first["activation_max"] > 0
    assert 0 <= first["cut_off"] < 0.1
    assert 0 < first["spike_rate"] < 1
    assert 0 < last["largest_state"] < last["state_limit"] == 1 << 17
    assert last["spike_rate"] is None
    assert content["silent_layers"] == []
    assert f"wrote {tmp_path / 'new.net'}" in output
    assert "SILENT" not in output
    simulated = tmp_path / "simulated.json"
    succeed(
        *("simulate", tmp_path / "new.net", "--data", f"npz:{folder / 'data.npz'}"),
        *("--json", simulated),
    )
    assert written_json(simulated)["accuracy"] == content["stages"][-1]["accuracy"]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold an ordinary network of random weights, and data that it labels itself."""
    folder = tmp_path_factory.mktemp("untrained")
    images = np.random.default_rng(0).integers(0, 256, (160, 6, 6), dtype=np.uint8)
    real = torch.from_numpy(images).float()[:, None] / 255
    torch.manual_seed(1)
    network = build("mlp", SHAPE, 3)
    network(real)  # statistics
    network.eval()
    with torch.no_grad():
        network[-1].bias -= network(real).mean(0)
        labels = network(real).argmax(1).numpy()
    parts = {"train": slice(100), "test": slice(100, None)}
    arrays = {f"x_{name}": images[part] for name, part in parts.items()}
    arrays |= {f"y_{name}": labels[part] for name, part in parts.items()}
    np.savez(folder / "data.npz", **arrays)
    torch.save(network.state_dict(), folder / "ann.pt")
    return folder


def test_a_loss_of_more_than_a_point_is_said_with_what_brings_it_back(
    untrained: Path, tmp_path: Path
) -> None:
    folder = untrained
    arguments = (folder / "ann.pt", "--model", "mlp")
    content, output = converted(folder, tmp_path, *arguments, "--num-steps", 1)
    first, *_, last = content["stages"]
    assert first["accuracy"] - last["accuracy"] > 0.01
    assert content["lost"] is True
    assert (
        f"LOST: what is written has accuracy {last['accuracy']:.2%}, the ordinary network accuracy "
        f"{first['accuracy']:.2%}; "
    ) in output
    assert f"train npz:{folder / 'data.npz'} --init {folder / 'ann.pt'} --model mlp" in output
    (tried,) = content["tried"]
    assert (tried["num_steps"], tried["firing_delay"]) == (3, "phased")
    assert f"accuracy {tried['accuracy']:.2%}" in output
    again, output = converted(
        *(folder, tmp_path, *arguments, "--num-steps", 3, "--firing-delay", "phased")
    )
    assert again["stages"][-1]["accuracy"] == tried["accuracy"]


def test_a_checkpoint_keeps_its_options_but_for_those_that_are_given(
    folder: Path, tmp_path: Path
) -> None:
    content, _ = converted(folder, tmp_path, folder / "tandem.pt", "--samples", 30)
    network = read_net(tmp_path / "new.net")
    assert (network.num_steps, network.reset, network.input.encoding) == (
        5,
        "subtract",
        "first_step",
    )
    assert {layer.synapses[0].weight_bits for layer in network.layers} == {6}
    assert content["stages"][0]["name"] == "inputs of 4 bits"
    assert content["stages"][-1]["accuracy"] > 0.9
    content, _ = converted(
        *(folder, tmp_path, folder / "tandem.pt", "--reset", "zero", "--num-steps", 16),
        *("--weight-bits", 8, "--input-bits", 5, "--test-samples", 10, "--percentile", 99),
    )
    network = read_net(tmp_path / "new.net")
    assert (network.num_steps, network.reset, network.input.encoding) == (16, "zero", "constant")
    assert {layer.synapses[0].weight_bits for layer in network.layers} == {8}
    assert network.input.bits == 5
    assert network.input.scale == 1 / 31
    assert content["samples"] == 10
    assert content["stages"][-1]["accuracy"] >= 0.9


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((), (5, 4)),
        (("--num-steps", 9), (9, 8)),  # it stays phased
        (("--firing-delay", 2), (5, 2)),
        (("--firing-delay", "phased", "--num-steps", 3), (3, 2)),
        (("--reset", "zero", "--firing-delay", 0), (5, 0)),
    ],
    ids=str,
)
def test_a_checkpoint_that_waits_goes_on_waiting_where_it_can(
    folder: Path, tmp_path: Path, given: tuple[object, ...], wanted: tuple[int, int]
) -> None:
    network = trained_mlp(folder / "data.npz").eval()
    model = convert(network, input_shape=SHAPE, num_steps=5, firing_delay="phased")
    save_checkpoint(Checkpoint(model), tmp_path / "tandem.pt")
    content, _ = converted(folder, tmp_path, tmp_path / "tandem.pt", "--samples", 30, *given)
    found = read_net(tmp_path / "new.net")
    assert (found.num_steps, found.firing_delay) == wanted
    assert content["stages"][-1]["accuracy"] > 0.9


def test_a_reset_to_zero_drops_no_delay_silently(folder: Path, tmp_path: Path) -> None:
    network = trained_mlp(folder / "data.npz").eval()
    model = convert(network, input_shape=SHAPE, num_steps=5, firing_delay=2)
    save_checkpoint(Checkpoint(model), tmp_path / "tandem.pt")
    result = run(
        *("convert", tmp_path / "tandem.pt", "--data", f"npz:{folder / 'data.npz'}"),
        *("--reset", "zero", "--out", tmp_path / "new.net"),
    )
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert 'wait with firing_delay 2, which neurons with reset "zero" cannot; give --firing' in line
    assert not (tmp_path / "new.net").exists()


def test_a_reset_by_subtraction_says_that_a_leak_is_left_out(folder: Path, tmp_path: Path) -> None:
    network = trained_mlp(folder / "data.npz").eval()
    model = convert(network, input_shape=SHAPE, num_steps=5, reset="zero", voltage_decay=200)
    save_checkpoint(Checkpoint(model), tmp_path / "tandem.pt")
    given = (folder, tmp_path, tmp_path / "tandem.pt", "--samples", 30)
    remark = 'its neurons leak (current_decay 4096, voltage_decay 200); with reset "subtract" none'
    _, output = converted(*given, "--reset", "subtract")
    assert remark in output
    assert not read_net(tmp_path / "new.net").layers[0].neurons.leaks
    _, output = converted(*given, "--simulation-only")
    assert "its neurons leak" not in output
    assert read_net(tmp_path / "new.net").layers[0].neurons.leaks


def test_the_neurons_of_a_max_pooling_are_shown_though_no_sample_sets_them(
    folder: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(36, 3)),
    )
    model = convert(network.eval(), input_shape=SHAPE, num_steps=3, firing_delay="phased")
    save_checkpoint(Checkpoint(model), tmp_path / "pooled.pt")
    content, output = converted(folder, tmp_path, tmp_path / "pooled.pt", "--samples", 30)
    first, *pooling, last = content["layers"]
    assert first["activation_max"] > 0
    assert pooling
    assert all(layer["activation_max"] is None for layer in (*pooling, last))
    assert all(layer["spike_rate"] > 0 for layer in (first, *pooling))
    assert f"{first['spike_rate']:.4f}" in output


def test_a_state_dict_becomes_a_network_that_waits(folder: Path, tmp_path: Path) -> None:
    arguments = (folder / "ann.pt", "--model", "mlp", "--num-steps", 4, "--firing-delay")
    content, _ = converted(folder, tmp_path, *arguments, "phased")
    assert read_net(tmp_path / "new.net").firing_delay == 3
    assert content["stages"][-1]["accuracy"] > 0.9
    succeed("inspect", tmp_path / "new.net", "--json", tmp_path / "inspected.json")
    inspected = written_json(tmp_path / "inspected.json")
    assert inspected["firing_delay"] == 3
    # The first layer's input comes at once, and the readout does not fire.
    assert [layer["firing_delay"] for layer in inspected["layers"]] == [0, 3, 0]
    shown = " ".join(succeed("inspect", tmp_path / "new.net").stdout.split())
    assert "num_steps 4, firing_delay 3 (phased), reset subtract" in shown
    converted(folder, tmp_path, *arguments, 1)
    simulated = tmp_path / "simulated.json"
    succeed(
        *("simulate", tmp_path / "new.net", "--data", f"npz:{folder / 'data.npz'}"),
        *("--json", simulated),
    )
    assert written_json(simulated)["firing_delay"] == 1
    assert "firing_delay 1, reset" in " ".join(
        succeed("inspect", tmp_path / "new.net").stdout.split()
    )


def test_a_regression_is_judged_by_its_error(tmp_path: Path) -> None:
    succeed(
        *("train", "diabetes", "--objective", "regression", "--model", "mlp", "--epochs", 3),
        *("--schedule", "ordinary", "--twin", "relu", "--out", tmp_path / "run"),
    )
    result = succeed(
        *("convert", tmp_path / "run" / "checkpoint.pt", "--data", "diabetes"),
        *("--num-steps", 31, "--out", tmp_path / "new.net", "--json", tmp_path / "new.json"),
    )
    content = written_json(tmp_path / "new.json")
    assert content["objective"] == "regression"
    first, *_, last = content["stages"]
    assert last["mse"] < 1.1 * first["mse"] + 1e-3
    assert f"{last['mse']:.4g}" in result.stdout


MISTAKES = {
    "ann.pt": "ann.pt: holds parameters without their network; say with --model which of mlp",
    "tandem.pt --model mlp": "tandem.pt: is a checkpoint, which knows its network; leave --model",
    "ann.pt --model lenet": "ann.pt: holds parameters of another network",
    "none.pt --model mlp": "none.pt: is no file",
    "tandem.pt --data npz:mask.npz": "x_train is uint8 and reaches 1 of 255, which is almost black",
    "tandem.pt --data digits": r"samples have shape \(1, 8, 8\); the network takes \(1, 6, 6\)",
    "tandem.pt --initial-potential 0.5 --reset zero": "initial_potential",
    "tandem.pt --firing-delay 5": "firing_delay is 5; allowed are 0 to 4",
    "tandem.pt --firing-delay 1 --reset zero": 'firing_delay is 1 with reset "zero"',
    "tandem.pt --test-samples 1000": "has 24 test samples, 1000 were asked for",
    "tandem.pt --json tandem.pt": "tandem.pt: would be written over tandem.pt, which is read",
    "tandem.pt --device nothing": "device nothing cannot be used",
}


@pytest.mark.parametrize("arguments", MISTAKES)
def test_a_mistake_gives_one_clear_line_and_no_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: str
) -> None:
    monkeypatch.chdir(folder)
    data = [] if "--data" in arguments else ["--data", "npz:data.npz"]
    result = run("convert", *arguments.split(), *data, "--out", "new.net")
    assert result.exit_code == 2
    line, *names = result.stderr.splitlines()
    assert re.search(MISTAKES[arguments], line), line
    assert bool(names) == ("another network" in line)  # each that does not fit in a line
    assert not Path("new.net").exists()


def test_a_warning_is_one_line_and_no_error(folder: Path, tmp_path: Path) -> None:
    result = succeed("export", folder / "tandem.pt", "--out", tmp_path / "new.net")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Warning: no sample has passed this network")
    assert "wrote" in result.stdout
    with pytest.warns(DeprecationWarning, match="not ours"), _warnings_in_a_line():
        warnings.warn("not ours", DeprecationWarning, stacklevel=1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("mask", "x_train is uint8 and reaches 1 of 255, which is almost black; multiply it"),
        ("faint", "x_train reaches 0.02, which is 0 in 4 bits, so nothing would reach the network"),
    ],
)
def test_images_of_which_nothing_is_left_are_refused(
    folder: Path, tmp_path: Path, data: str, message: str
) -> None:
    spec = f"npz:{folder / data}.npz"
    result = run("train", spec, "--model", "mlp", "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "run").exists()
    succeed("export", folder / "tandem.pt", "--out", tmp_path / "new.net")
    result = run("simulate", tmp_path / "new.net", "--data", spec)
    assert result.exit_code == 2
    assert message.replace("x_train", "x_test") in result.stderr


def test_a_training_that_ends_with_silent_layers_names_them(folder: Path, tmp_path: Path) -> None:
    arguments = ("train", f"npz:{folder / 'data.npz'}", "--model", "mlp", "--batch-size", 8,
                 "--epochs", 1, "--num-steps", 4)  # fmt: skip
    result = succeed(*arguments, "--activation-max", 1e6, "--out", tmp_path / "silent")
    assert "SILENT: dense1, dense2 never fired on the test samples" in result.stdout
    assert written_json(tmp_path / "silent" / "metrics.json")["silent_layers"] == [
        "dense1",
        "dense2",
    ]
    result = succeed(*arguments, "--out", tmp_path / "firing")
    assert "SILENT" not in result.stdout
    assert written_json(tmp_path / "firing" / "metrics.json")["silent_layers"] == []
    result = succeed(*arguments, "--schedule", "ordinary", "--out", tmp_path / "ordinary")
    assert "silent_layers" not in written_json(tmp_path / "ordinary" / "metrics.json")


def test_a_conversion_with_silent_layers_names_them(folder: Path, tmp_path: Path) -> None:
    state = torch.load(folder / "ann.pt", weights_only=True)
    state["2.bias"].fill_(-100)  # of the first normalisation
    torch.save(state, tmp_path / "dead.pt")
    result = succeed(
        *("convert", tmp_path / "dead.pt", "--model", "mlp"),
        *("--data", f"npz:{folder / 'data.npz'}", "--out", tmp_path / "new.net"),
    )
    assert "SILENT: dense1" in result.stdout
    assert result.stderr.startswith("Warning: dense1")
