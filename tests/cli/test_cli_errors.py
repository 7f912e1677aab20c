"""Mistakes at the command line: one clear line, exit status 2, and no file touched."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from tandem_hw.cli import main
from tandem_hw.cli.work import train as train_command
from tandem_hw.export.freezing import freeze
from tandem_hw.export.net_file import write_net
from tandem_hw.sim.lava_cpu import backend as lava_cpu
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.zoo.models import build
from tests.helpers.row_images import SHAPE, save_model


def save_arrays(path: Path, sample: tuple[int, ...]) -> None:
    images, labels = np.full((4, *sample), 90, np.uint8), np.arange(4) % 3
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with good files and with one of every bad kind."""
    folder = tmp_path_factory.mktemp("originals")
    save_arrays(folder / "data.npz", (6, 6))
    save_arrays(folder / "features.npz", (36,))
    (folder / "damaged.npz").write_bytes((folder / "data.npz").read_bytes()[:400])
    write_net(freeze(save_model(folder / "model.pt", seed=0)), folder / "model.net")
    save_model(folder / "other.pt", seed=1)
    content = torch.load(folder / "model.pt", weights_only=True)
    torch.save(content | {"format_version": 99}, folder / "version.pt")
    (folder / "truncated.net").write_bytes((folder / "model.net").read_bytes()[:3000])
    shutil.copy(folder / "model.net", folder / "edited.net")
    with h5py.File(folder / "edited.net", "r+") as file:
        file["layer/2/weight"][0, 0] ^= 2
    torch.save(build("mlp", SHAPE, 4).state_dict(), folder / "four.pt")
    torch.save([1, 2], folder / "list.pt")
    bright = build("mlp", SHAPE, 3).state_dict()
    bright["1.weight"].fill_(float("nan"))
    torch.save(bright, folder / "nan.pt")
    flipped = bytearray((folder / "four.pt").read_bytes())
    flipped[len(flipped) // 2] ^= 1
    (folder / "flipped.pt").write_bytes(flipped)
    (folder / "text.txt").write_text("a text")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "circle").symlink_to("circle")
    (folder / "run").mkdir()
    shutil.copy(folder / "model.pt", folder / "run" / "last.pt")
    return folder


@pytest.fixture
def here(originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a copy of the folder, and let nothing that takes long begin."""

    def begin(*_: Any, **__: Any) -> None:
        raise AssertionError("the long run has begun")

    folder = tmp_path / "work"
    shutil.copytree(originals, folder, symlinks=True, ignore=shutil.ignore_patterns("pipe"))
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)
    for owner in (ReferenceBackend, LavaCpuBackend):
        monkeypatch.setattr(owner, "simulate", begin)
        monkeypatch.setattr(owner, "simulate_in_parts", begin)
    monkeypatch.setattr(train_command, "train", begin)
    return folder


def content_of(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def run(arguments: str) -> Result:
    return CliRunner().invoke(main, arguments.split())


def error_of(folder: Path, arguments: str) -> str:
    """Run a command that must fail, and return its one line."""
    before = content_of(folder)
    assert before
    result = run(arguments)
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert content_of(folder) == before
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("Error: ")
    return lines[0]


SIMULATE = "simulate model.net --data npz:data.npz"
VERIFY = "verify model.net --data npz:data.npz --backends reference --checkpoint model.pt"
TRAIN = "train npz:data.npz --model mlp --out new"

BAD_INPUTS = {
    # What is no ordinary file, and names of folders
    "inspect pipe": "pipe: is not an ordinary file",
    "inspect circle": r"circle: cannot be read \(Too many levels of symbolic links\)",
    "simulate model.net --data npz:pipe": "pipe: is not an ordinary file",
    "simulate model.net --data npz:/dev/zero": "/dev/zero: is not an ordinary file",
    "simulate model.net --data npz:circle": "circle: there is no such file",
    "export pipe --out new.net": "pipe: is not a file",
    f"{TRAIN} --init pipe": "pipe: is no file",
    f"{TRAIN} --init circle": "circle: is no file",
    "inspect model.net --json pipe": "pipe: is not an ordinary file",
    "inspect model.net --json circle": r"circle: cannot be written \(Too many levels of",
    "inspect model.net --json circle/new": r"new: cannot be written \(Too many levels of",
    f"{TRAIN.replace('new', 'circle')}": r"checkpoint\.pt: cannot be written \(Too many levels of",
    # Networks
    f"{SIMULATE} --final-states": r"--final-states keeps states in a recording; give --recording",
    "inspect missing.net": r"missing\.net: there is no such file",
    "simulate missing.net": r"missing\.net: there is no such file",
    "verify missing.net --backends reference": r"missing\.net: there is no such file",
    "inspect folder": "folder: is a folder, not a file",
    "inspect truncated.net": r"truncated\.net: the HDF5 file is damaged or truncated",
    "simulate truncated.net --data npz:data.npz": r"truncated\.net: the HDF5 file is damaged",
    "inspect edited.net": r"edited\.net: the content does not match its checksum",
    "inspect model.pt": r"model\.pt: a zip archive \(a PyTorch checkpoint",
    "inspect text.txt": r"text\.txt: not an HDF5 file",
    # Checkpoints
    "export missing.pt --out new.net": r"missing\.pt: does not exist",
    "export version.pt --out new.net": r"version\.pt: checkpoint of format version 99; this",
    "export data.npz --out new.net": r"data\.npz: ",
    f"{VERIFY.replace('model.pt', 'version.pt')}": r"version\.pt: checkpoint of format version 99",
    f"{VERIFY.replace('--backends reference', '--backends reference,,lava-cpu')}": (
        r'--backends "reference,,lava-cpu" has an empty name; give names with one comma between'
    ),
    f"{VERIFY.replace('model.pt', 'other.pt')}": "the checkpoint holds another network than the",
    # Data
    f"{SIMULATE}x": r"data\.npzx: there is no such file",
    "simulate model.net --data nothing": 'data set "nothing" is unknown; known are digits',
    "simulate model.net --data digits": r"samples have shape \(1, 8, 8\); the network takes \(1, 6"
    r", 6\); give the data that it was made for \(--data at the command line\)",
    "simulate model.net --data npz:features.npz": r"samples have shape \(36,\); the network takes",
    "simulate model.net --data npz:damaged.npz": r"damaged\.npz: ",
    "simulate model.net --data npz:text.txt": r"text\.txt: ",
    f"{SIMULATE} --samples 5": r"has 4 test samples, 5 were asked for; give fewer",
    f"{VERIFY} --samples 5": r"has 4 test samples, 5 were asked for; give fewer",
    "train nothing --out new": 'data set "nothing" is unknown',
    "train npz:damaged.npz --out new": r"damaged\.npz: ",
    "train npz:features.npz --model lenet --out new": r"model lenet takes images.*use --model mlp",
    f"{TRAIN} --learning-rate 1e38": r"is 1e\+38; give a positive number up to 1e\+06",
    f"{TRAIN} --learning-rate nan": "learning_rate is nan; give a positive number",
    f"{TRAIN} --num-steps 5000": "num_steps is 5000; allowed are 1 to 4096",
    # What a training starts from
    f"{TRAIN} --init missing.pt": r"missing\.pt: is no file; give what torch\.save",
    f"{TRAIN} --init folder": "folder: is no file; give what torch",
    f"{TRAIN} --init text.txt": r"text\.txt: cannot be read as parameters; save them with",
    f"{TRAIN} --init model.net": r"model\.net: cannot be read as parameters; save them with",
    f"{TRAIN} --init flipped.pt": r"flipped\.pt: cannot be read as parameters; save them with",
    f"{TRAIN} --init list.pt": r"list\.pt: holds list, no parameters; save them with",
    f"{TRAIN} --init nan.pt": r"nan\.pt: 1\.weight holds values that are infinite or not a number",
    f"{TRAIN} --init four.pt": r"four\.pt: holds parameters of another network \(of another "
    r"shape: .* \[4, \d+\] instead of \[3, \d+\], .*the same --model .* tandem_hw\.convert$",
    f"{TRAIN} --init version.pt": r"version\.pt: checkpoint of format version 99; this",
    f"{TRAIN.replace('mlp', 'lenet')} --init model.pt": r"model\.pt: its network has other layers",
    # What does not go together
    f"{TRAIN} --label-smoothing 0.1 --objective regression": "label_smoothing is for labels",
    f"{TRAIN} --activation-max 0": "activation_max must be a positive number",
    f"{TRAIN} --initial-potential 1": "initial_potential is 1",
    f"{TRAIN} --initial-potential 0.5 --reset zero": "initial_potential",
    f"{TRAIN} --voltage-decay 5": "voltage_decay",
    f"{TRAIN} --num-steps 4 --firing-delay 4": "firing_delay is 4; allowed are 0 to 3",
    f"{TRAIN} --firing-delay 1 --reset zero": 'firing_delay is 1 with reset "zero"',
    "train npz:features.npz --model resnet20 --out new": r"model resnet20 takes images",
    "train npz:features.npz --model autoencoder --out new": r"model autoencoder takes images",
    "train npz:features.npz --model vgg16 --out new": r"model vgg16 takes images",
    # Backends and devices
    "verify model.net --backends reference,nothing": 'backend "nothing" is not known; there are',
    "verify model.net --data npz:data.npz --backends reference": "two or more different backends",
    "verify model.net --data npz:data.npz --backends ,": '--backends "," has an empty name',
    f"{SIMULATE} --device nothing": "device nothing cannot be used .*; use --device cpu",
    f"{SIMULATE} --device cuda:99": "device cuda:99 cannot be used .*; use --device cpu",
    f"{SIMULATE} --device meta": "device meta cannot be used .*; use --device cpu",
    f"{VERIFY} --device nothing": "device nothing cannot be used .*; use --device cpu",
    f"{TRAIN} --device nothing": "device nothing cannot be used .*; use --device cpu",
    # Outputs
    f"{SIMULATE} --json folder": "folder: is a folder; give the name of a file to write",
    f"{SIMULATE} --recording folder": "folder: is a folder; give the name of a file to write",
    f"{SIMULATE} --recording text.txt/run.npz": r"text\.txt/run\.npz: cannot be written",
    f"{SIMULATE} --recording new --json new": "new: is given twice",
    f"{SIMULATE} --json model.net": r"would be written over model\.net, which is read",
    f"{VERIFY} --json folder": "folder: is a folder; give the name of a file to write",
    f"{VERIFY} --json model.pt": r"would be written over model\.pt, which is read",
    f"{VERIFY} --json text.txt/new/verify.json": r"verify\.json: cannot be written",
    "inspect model.net --json folder": "folder: is a folder; give the name of a file to write",
    "inspect model.net --json ./model.net": r"would be written over model\.net, which is read",
    "export model.pt --out folder": "folder: is a folder; give the name of a file to write",
    "export model.pt --out text.txt/model.net": r"text\.txt/model\.net: cannot be written",
    "export model.pt --out model.pt": r"would be written over model\.pt, which is read",
    TRAIN.replace("new", "text.txt"): r"text\.txt/checkpoint\.pt: cannot be written",
    TRAIN.replace("new", "text.txt/new"): r"text\.txt/new/checkpoint\.pt: cannot be written",
    TRAIN.replace("new", "run"): "run: holds a training already; continue it with --resume",
    f"{TRAIN} --resume --overwrite": "new: --resume keeps a training and --overwrite replaces it",
}


@pytest.mark.parametrize("arguments", BAD_INPUTS)
def test_a_mistake_gives_one_clear_line(here: Path, arguments: str) -> None:
    message = error_of(here, arguments)
    assert re.search(BAD_INPUTS[arguments], message), message


def test_there_is_nothing_to_resume_in_an_empty_folder(
    originals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(originals)
    assert "new/last.pt: does not exist" in error_of(
        originals, f"{TRAIN} --resume --batch-size 2 --validation 0"
    )


SMALL = f"{TRAIN} --batch-size 2 --validation 0"
UNFIT = {
    TRAIN: "less than one batch of 64",
    f"{SMALL} --samples 5": "has 4 training samples beside the validation data; 5 were asked for",
    f"{SMALL} --objective regression": "has labels of 3 classes and no real targets; train with",
    f"{SMALL} --encoding events": "holds images, and the network takes events; give event data",
    f"{SMALL.replace('data.npz', 'features.npz')} --augmentation mnist": "images .* are needed",
}


@pytest.mark.parametrize("arguments", UNFIT)
def test_a_training_that_does_not_suit_the_data_is_refused(
    originals: Path, monkeypatch: pytest.MonkeyPatch, arguments: str
) -> None:
    monkeypatch.chdir(originals)
    message = error_of(originals, arguments)
    assert re.search(UNFIT[arguments], message), message


@pytest.mark.parametrize(
    "arguments",
    [
        "simulate model.net --data npz:data.npz --backend lava-cpu",
        "verify model.net --data npz:data.npz --backends reference,lava-cpu",
        "verify model.net --data npz:data.npz --backends lava-cpu,reference",
    ],
)
def test_lava_that_is_not_installed_is_said_before_anything_runs(
    here: Path, monkeypatch: pytest.MonkeyPatch, arguments: str
) -> None:
    monkeypatch.setattr(lava_cpu, "_lava_is_installed", lambda: False)
    message = error_of(here, arguments)
    assert "backend lava-cpu: Lava is not installed" in message
    assert "or use the backend reference, which gives the same counts" in message


@pytest.mark.parametrize(
    "arguments",
    [
        "simulate model.net --data npz:data.npz --backend lava-cpu --period 3",
        "verify model.net --data npz:data.npz --backends reference,lava-cpu --period 3",
    ],
)
def test_an_impossible_period_is_refused_before_anything_runs(
    here: Path, monkeypatch: pytest.MonkeyPatch, arguments: str
) -> None:
    monkeypatch.setattr(lava_cpu, "_lava_is_installed", lambda: True)
    assert "a period of 3 steps is too short" in error_of(here, arguments)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("simulate model.net --backend nothing", "'nothing' is not one of 'reference', 'lava-cpu'"),
        ("simulate model.net --samples 0", "0 is not in the range"),
        ("simulate", "Missing argument 'NET'"),
        ("train --model nothing --out new", "'nothing' is not one of"),
        ("train --seed 99999999999999999999 --out new", "is not in the range"),
        ("train", "Missing option '--out'"),
        ("nothing", "No such command 'nothing'"),
        ("inspect model.net --json new/", "'new/' names a folder: give the name of a file"),
        ("simulate model.net --recording new/", "'new/' names a folder: give the name of a file"),
        ("simulate model.net --plot new/", "'new/' names a folder: give the name of a file"),
        ("export model.pt --out new.net/", "'new.net/' names a folder: give the name of a file"),
        ("convert model.pt --out new.net/", "'new.net/' names a folder: give the name of a file"),
        ("simulate model.net --stall-timeout nan", "nan is not a number"),
        ("deploy model.net --run-timeout nan", "nan is not a number"),
        ("train --weight-decay nan --out new", "nan is not a number"),
        ("train --weight-decay 1e308 --out new", "is not in the range"),
        ("train --synop-weight inf --out new", "is not in the range"),
    ],
)
def test_a_mistyped_command_names_its_mistake_once(here: Path, arguments: str, reason: str) -> None:
    before = content_of(here)
    result = run(arguments)
    assert result.exit_code == 2
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert reason in errors[0]
    assert "Traceback" not in result.output
    assert content_of(here) == before


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


def test_ctrl_c_ends_a_run_quietly_and_leaves_no_file(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content_of(here)
    monkeypatch.setattr(ReferenceBackend, "simulate_in_parts", failing(KeyboardInterrupt()))
    result = run(f"{SIMULATE} --recording new.npz --json new.json")
    assert result.exit_code == 130
    assert result.stderr.split() == ["Interrupted."]
    assert content_of(here) == before


def test_a_defect_of_ours_is_not_dressed_up_as_the_user_s_mistake(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReferenceBackend, "simulate_in_parts", failing(ZeroDivisionError("ours")))
    result = run(SIMULATE)
    assert result.exit_code == 2  # Python's own would be 1, a mismatch
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1] == "ZeroDivisionError: ours"
