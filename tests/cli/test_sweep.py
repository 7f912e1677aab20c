"""``tandem-hw sweep``: every combination is trained once and measured, whatever happens between."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import click
import numpy as np
import pytest
from click.testing import Result

from tandem_hw.chip.timing import board_period, default_period
from tandem_hw.cli import main
from tandem_hw.data.datasets import load_dataset
from tandem_hw.export.net_file import read_net
from tandem_hw.network.inputs import quantize_inputs
from tandem_hw.sim.child.watched_process import group_members
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.training.run_files import LAST_NAME
from tests.helpers.command_line import run, succeed, written_json
from tests.helpers.kills import take_signals
from tests.helpers.labels import labels_of
from tests.helpers.row_images import write_data
from tests.helpers.sweeps import SHARED, InProcess, in_process
from tests.helpers.trainings import anonymous
from tests.helpers.waiting import wait_for


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> InProcess:
    return in_process(monkeypatch)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with data."""
    write_data(tmp_path / "data.npz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arguments(*more: object) -> tuple[object, ...]:
    return ("sweep", "npz:data.npz", *SHARED, "--out", "out", "--jobs", 1, *more)


def sweep(*more: object) -> Result:
    return succeed(*arguments(*more))


def told(folder: Path = Path("out")) -> Any:
    return written_json(folder / "sweep.json")


def finished_files(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Return when the results were written, and what they are."""
    results = folder.glob("runs/*/result.json")
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in results}


# What is trained and measured --------------------------------------------------------------------


def test_every_combination_is_trained_and_its_integers_are_measured(
    here: Path, trainer: InProcess
) -> None:
    result = sweep("--vary", "firing-delay=0,phased", "--vary", "reset=subtract,zero", "--seeds", 2)
    content = told()
    assert [one["labels"] for one in content["trainings"]] == [
        {"firing-delay": "0", "reset": "subtract", "seed": "0"},
        {"firing-delay": "0", "reset": "subtract", "seed": "1"},
        {"firing-delay": "0", "reset": "zero", "seed": "0"},
        {"firing-delay": "0", "reset": "zero", "seed": "1"},
        {"firing-delay": "phased", "reset": "subtract", "seed": "0"},
        {"firing-delay": "phased", "reset": "subtract", "seed": "1"},
    ]
    assert result.output.count("skipped firing-delay phased, reset zero: firing_delay is 6") == 1
    assert len(content["skipped"]) == 2
    data = load_dataset("npz:data.npz")
    labels = labels_of(data)
    for one in content["trainings"]:
        network = read_net(Path("out") / one["folder"] / "model.net")
        inputs = quantize_inputs(data.x_test, network.input.bits, network.input.scale)
        recording = ReferenceBackend().run(network, inputs, labels)
        assert one["metrics"] == {"accuracy": recording.accuracy}
        assert one["neurobench"]["classification_accuracy"] == recording.accuracy
        assert recording.synops_per_sample > 0
        assert one["synops_per_sample"] == pytest.approx(recording.synops_per_sample, rel=1e-12)
        spikes = sum(recording.spikes_by_layer().values())
        assert one["spikes_per_sample"] == spikes / 24 > 0
        assert one["test_samples"] == 24
        assert (one["latency"], one["network_digest"]) == (network.latency, network.digest)
        periods = (default_period(network), board_period(network))
        assert (one["period"], one["board_period"]) == periods
        assert (one["training_seconds"] > 0, one["interruptions"]) == (True, 0)
        assert network.reset == one["labels"]["reset"]
        assert network.firing_delay == (6 if one["labels"]["firing-delay"] == "phased" else 0)
    rows = content["rows"]
    assert [row["trainings"] for row in rows] == [2, 2, 2]
    accuracies = [one["metrics"]["accuracy"] for one in content["trainings"][:2]]
    assert rows[0]["statistics"]["accuracy"]["mean"] == pytest.approx(np.mean(accuracies))
    assert rows[0]["statistics"]["accuracy"]["deviation"] == pytest.approx(
        np.std(accuracies, ddof=1)
    )
    with Path("out/sweep.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["accuracy"]) for line in lines[:2]] == accuracies
    assert f"{100 * np.mean(accuracies):.2f} ± " in result.output
    assert "wrote out/sweep.json\nwrote out/sweep.csv\n" in result.output


def test_a_network_of_a_file_is_another_training_with_another_content(
    here: Path, trainer: InProcess
) -> None:
    text = (
        "from torch import nn\n"
        "def net():\n"
        "    body = nn.Linear(36, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)\n"
        "    return nn.Sequential(nn.Flatten(), *body)\n"
    )
    Path("own.py").write_text(text, encoding="utf-8")
    for content, trained in ((text, 1), (text, 1), (text.replace("8", "9"), 2)):
        Path("own.py").write_text(content, encoding="utf-8")
        sweep("--model", "own.py:net")
        assert len(trainer.trained) == trained
    networks = [read_net(path) for path in Path("out").glob("runs/*/model.net")]
    assert sorted(network.layers[0].num_neurons for network in networks) == [8, 9]


def test_a_training_of_a_sweep_is_the_one_that_train_gives(here: Path, trainer: InProcess) -> None:
    sweep("--weight-bits", 4, "--learn-thresholds", "--vary", "seed=3,5")
    succeed("train", "npz:data.npz", *SHARED, "--weight-bits", 4, "--learn-thresholds", "--seed", 5,
            "--out", "alone")  # fmt: skip
    of_sweep = Path("out") / told()["trainings"][1]["folder"]
    alone, found = (
        anonymous(written_json(folder / "metrics.json")) for folder in (Path("alone"), of_sweep)
    )
    assert found == alone


def test_variants_recipes_and_first_trainings(here: Path, trainer: InProcess) -> None:
    result = sweep(
        *("--recipe", "diabetes", "--objective", "classification"),
        *("--variant", "ReLU=--schedule ordinary"),
        *("--variant", "tuned=--schedule ordinary then --weight-bits 4"),
        *("--variant", "fresh=--weight-bits 4"),
    )  # fmt: skip
    relu, tuned, fresh = told()["trainings"]
    assert relu["settings"]["initial_potential"] == 0.5  # the recipe's
    assert relu["settings"]["epochs"] == 1  # what is given wins
    assert tuned["after"] == Path(relu["folder"]).name
    assert (relu["after"], fresh["after"], len(trainer.trained)) == (None, None, 3)
    assert tuned["settings"] == fresh["settings"]
    assert tuned["network_digest"] != fresh["network_digest"]
    absent = ("network_digest", "num_steps", "latency", "period", "synops_per_sample")
    assert [relu[name] for name in absent] == [None] * 5
    assert relu["macs_per_sample"] == fresh["macs_per_sample"] > 0
    metrics = written_json(Path("out") / relu["folder"] / "metrics.json")
    assert relu["metrics"] == {"accuracy": metrics["test_accuracy"]}
    assert relu["neurobench"] == {"classification_accuracy": metrics["test_accuracy"]}
    assert "│ ReLU " in result.output


def test_a_regression_has_its_own_numbers(here: Path, trainer: InProcess) -> None:
    result = succeed("sweep", "diabetes", "--objective", "regression", *SHARED, "--batch-size", 64,
                     "--out", "out", "--jobs", 1, "--vary", "num-steps=3,4")  # fmt: skip
    first = told()["trainings"][0]
    assert {"mse", "mae", "r2"} <= first["metrics"].keys()
    assert first["neurobench"]["r2"] == first["metrics"]["r2"]
    assert "r2" in result.output


def test_a_plot_is_drawn(here: Path, trainer: InProcess) -> None:
    pytest.importorskip("matplotlib")
    sweep("--vary", "num-steps=2,3", "--plot", "plots/sweep.png")
    assert Path("plots/sweep.png").read_bytes()[:4] == b"\x89PNG"


def test_no_plot_is_begun_without_matplotlib(
    here: Path, trainer: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run(*arguments("--plot", "a.png"))
    assert result.exit_code == 2
    assert "plots need matplotlib" in result.output
    assert not Path("out").exists()
    sweep()


# What is done again and what is not --------------------------------------------------------------


def test_what_is_finished_is_not_trained_again_and_another_grid_adds(
    here: Path, trainer: InProcess
) -> None:
    sweep("--vary", "num-steps=3,4")
    before, began = finished_files(Path("out")), list(trainer.trained)
    result = sweep("--vary", "num-steps=3,4")
    assert "2 of 2 trainings were finished" in result.output
    assert trainer.trained == began
    sweep("--vary", "num-steps=4,5", "--seeds", 1)
    assert len(trainer.trained) == len(began) + 1
    after = finished_files(Path("out"))
    assert before.items() < after.items()
    assert [one["status"] for one in told()["trainings"]] == ["finished"] * 2


def test_a_damaged_result_is_measured_anew_without_another_training(
    here: Path, trainer: InProcess
) -> None:
    sweep()
    (first,) = finished_files(Path("out"))
    whole = json.loads(first.read_text(encoding="utf-8"))
    first.write_bytes(first.read_bytes()[:-100])
    last = first.with_name(LAST_NAME)
    trained = last.stat().st_mtime_ns
    sweep()
    again = json.loads(first.read_text(encoding="utf-8"))
    times = ("training_seconds", "interruptions")
    assert {name: again[name] for name in again if name not in times} == {
        name: whole[name] for name in whole if name not in times
    }
    assert again["interruptions"] == 1
    assert last.stat().st_mtime_ns == trained


def test_the_same_training_is_trained_once(here: Path, trainer: InProcess) -> None:
    sweep("--num-steps", 2, "--vary", "firing-delay=1,phased")
    assert len(trainer.trained) == 1
    first, second = told()["trainings"]
    assert first["folder"] == second["folder"]
    assert len(told()["rows"]) == 2


# What fails --------------------------------------------------------------------------------------


def test_one_that_fails_is_named_and_the_others_go_on(here: Path, trainer: InProcess) -> None:
    result = run(*arguments("--variant", "bad=--init missing.pt", "--variant", "good="))
    assert result.exit_code == 1
    assert "FAILED variant bad (" in result.output
    assert "missing.pt: " in result.output
    bad, good = told()["trainings"]
    assert (bad["status"], good["status"]) == ("failed", "finished")
    assert "missing.pt: " in bad["failure"]
    assert len(trainer.trained) == 2


def test_what_ends_without_a_result_has_failed(here: Path, trainer: InProcess) -> None:
    trainer.after = lambda folder: (folder / "result.json").unlink()
    result = run(*arguments())
    assert result.exit_code == 1
    assert "ended without a result that can be read" in result.output


REFUSALS = {
    "--vary steps=2": '--vary: "steps" is no option of train that can be varied',
    "--vary num-steps": "has no values",
    "--vary num-steps=0,4": "Invalid value for '--num-steps': 0 is not in the range",
    "--vary objective=love": "'love' is not one of 'classification'",
    "--vary num-steps=3 --vary num-steps=4": "num-steps is varied twice; give all its values",
    "--vary num-steps=3,4 --num-steps 2": "num-steps is both given and varied; give it once",
    "--vary seed=1 --seeds 2": "seed is varied twice; give all its values together",
    "--seeds 2 --seed 4294967295": "the last seed would be 4294967296; give fewer",
    "--seeds 0": "0 is not in the range x>=1",
    "--variant a=--weight-bits": "Option '--weight-bits' requires an argument",
    "--variant a=--weight-bitz=4": "No such option '--weight-bitz'",
    "--variant a=--out=b": "are the sweep's, not a training's",
    "--variant a=--overwrite": "are the sweep's, not a training's",
    "--variant a=digits": "Got unexpected extra argument (digits) (of: npz:data.npz",
    "--vary voltage-decay=5": "no combination can be trained; the first one cannot because",
    "--learning-rate 0": "learning_rate is 0.0; give a positive number",
    "--resume": "No such option '--resume'",
    "--plot a.jpg": "give a name that ends in .png",
    "--plot data.npz": "data.npz: would be written over data.npz, which is read",
}


@pytest.mark.parametrize("line", REFUSALS)
def test_what_cannot_be_is_refused_before_any_work(
    here: Path, trainer: InProcess, line: str
) -> None:
    result = run(*arguments(), *line.split())
    assert result.exit_code == 2, result.output
    assert REFUSALS[line] in result.output
    assert trainer.trained == []
    assert [path.name for path in here.iterdir()] == ["data.npz"]


def test_a_result_of_other_settings_is_refused(here: Path, trainer: InProcess) -> None:
    sweep()
    (path,) = finished_files(Path("out"))
    content = json.loads(path.read_text(encoding="utf-8"))
    content["settings"]["num_steps"] = 3
    path.write_text(json.dumps(content), encoding="utf-8")
    result = run(*arguments())
    assert result.exit_code == 2
    assert "was measured with num_steps 3, not 7; give the sweep another folder" in result.output


def test_without_dask_a_cluster_is_refused(
    here: Path, trainer: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = run(*arguments("--scheduler", "tcp://127.0.0.1:8786"))
    assert result.exit_code == 2
    assert "--scheduler needs Dask, which cannot be imported" in result.output
    assert "pip install '.[cluster]'" in result.output
    assert not Path("out").exists()


def test_all_options_of_train_are_options_of_a_sweep() -> None:
    assert isinstance(main, click.Group)
    names = {}
    for name in ("train", "sweep"):
        command = main.get_command(click.Context(main), name)
        assert command is not None
        names[name] = {option for one in command.params for option in one.opts}
    assert names["train"] - names["sweep"] == {"--resume", "--overwrite", "--log", "--verbose"}
    assert names["sweep"] - names["train"] == {
        *("--vary", "--variant", "--seeds", "--jobs", "--threads", "--scheduler", "--plot")
    }


# Processes of their own --------------------------------------------------------------------------


def start(here: Path, *more: object) -> subprocess.Popen[str]:
    """Start a sweep in a process of its own."""
    words = [str(word) for word in arguments(*more)]
    return subprocess.Popen(
        [sys.executable, "-m", "tandem_hw", *words],
        cwd=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=take_signals,
    )


def children(of: int) -> list[int]:
    """Return the processes that a process has started and that are alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, *_ = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(parent) == of and state not in "ZX":
            found.append(int(stat.parent.name))
    return found


def wait_until_ended(groups: Sequence[int]) -> None:
    wait_for(lambda: not any(group_members(one) for one in groups))


def outcome(folder: Path) -> list[Any]:
    """Return what must not depend on breaks."""
    times = ("training_seconds", "interruptions", "files", "machine")
    return [
        {name: value for name, value in one.items() if name not in times}
        for one in told(folder)["trainings"]
    ]


GRID = ("--vary", "num-steps=3,4", "--epochs", 3)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_a_sweep_that_is_killed_ends_its_trainings_and_goes_on(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(here, *GRID)
    wait_for(lambda: bool(finished_files(here / "out")), 120)
    wait_for(lambda: bool(children(process.pid)), 120)
    trainings = children(process.pid)
    process.kill()
    process.communicate()
    wait_until_ended(trainings)
    before = finished_files(here / "out")
    assert len(before) == 1
    trainer = in_process(monkeypatch)
    sweep(*GRID)
    assert len(trainer.trained) == 1
    assert before.items() < finished_files(here / "out").items()
    whole = outcome(Path("out"))
    succeed(*arguments(*GRID, "--out", "whole"))
    assert outcome(Path("whole")) == whole


@pytest.mark.exhaustive
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("seed", range(3))
def test_a_sweep_that_is_killed_at_random_moments_ends_as_without(here: Path, seed: int) -> None:
    random, kills = Random(seed), 0
    grid = (*GRID, "--seeds", 2, "--jobs", 2)
    while True:
        before = finished_files(here / "out")
        process = start(here, *grid)
        wait_for_progress(process, here / "out", random.choice([0, 1, 2, 4]))
        time.sleep(random.choice([0, 0.01, random.uniform(0, 2)]))
        trainings = children(process.pid)
        process.send_signal(random.choice([signal.SIGKILL, signal.SIGTERM]))
        process.communicate()
        wait_until_ended(trainings)
        assert before.items() <= finished_files(here / "out").items()
        if process.returncode == 0:
            break
        assert process.returncode in (-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM)
        kills += 1
    assert kills > 1
    with pytest.MonkeyPatch.context() as patched:
        in_process(patched)
        succeed(*arguments(*grid, "--jobs", 1, "--out", "whole"))
    assert outcome(Path("whole")) == outcome(Path("out"))
    left = [path.name for path in here.glob("out/**/*") if ".tmp" in path.name]
    assert left == []


def wait_for_progress(process: subprocess.Popen[str], folder: Path, wanted: int) -> None:
    """Wait until so many files that tell of progress have been replaced, or all is done."""

    def files() -> set[tuple[str, int]]:
        names = (LAST_NAME, "result.json")
        found = [path for name in names for path in folder.glob(f"runs/*/{name}")]
        return {(str(path), path.stat().st_mtime_ns) for path in found}

    seen, replaced = files(), 0
    deadline = time.monotonic() + 300
    while replaced < wanted and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
        now = files()
        replaced, seen = replaced + len(now - seen), now


@pytest.mark.exhaustive
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_ctrl_c_ends_the_trainings(here: Path) -> None:
    process = start(here, "--vary", "num-steps=3,4", "--epochs", 5000, "--jobs", 2)
    wait_for(lambda: len(list(here.glob(f"out/runs/*/{LAST_NAME}"))) == 2, 120)
    trainings = children(process.pid)
    assert len(trainings) == 2
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert time.monotonic() - began < 30
    assert process.returncode == 130
    assert "Interrupted." in output
    assert not any(group_members(one) for one in trainings)
