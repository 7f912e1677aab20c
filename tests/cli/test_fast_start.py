"""Help, completion, refused arguments and inspect come without PyTorch, most without NumPy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import tandem_hw
from tandem_hw.cli import main
from tandem_hw.cli.group import COMMANDS
from tandem_hw.data.datasets import load_dataset
from tandem_hw.errors import DataError
from tandem_hw.export.net_file import write_net
from tandem_hw.sim.registry import BACKENDS, make_backend
from tandem_hw.training.objective_names import ObjectiveName
from tandem_hw.training.objectives import make_objective
from tandem_hw.zoo.catalogue import MODELS
from tandem_hw.zoo.models import build
from tests.helpers.recordings import small_network

ROOT = str(Path(tandem_hw.__file__).parents[1])
HEAVY = ("torch", "sklearn", "scipy", "h5py", "numpy", "lava")
#: Runs commands one after another in one child; says after each which packages are loaded.
CHILD = """
import contextlib, io, json, os, sys
sys.path.insert(0, sys.argv[1])
from tandem_hw.cli import main
told = []
for case in json.loads(sys.argv[2]):
    os.environ.update(case["environment"])
    out, err = (io.TextIOWrapper(io.BytesIO(), write_through=True) for _ in range(2))
    status = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(case["arguments"], prog_name="tandem-hw")
        except SystemExit as error:
            status = error.code
    loaded = [name for name in json.loads(sys.argv[3]) if name in sys.modules]
    texts = [stream.buffer.getvalue().decode() for stream in (out, err)]
    told.append([status or 0, *texts, loaded])
print(json.dumps(told))
"""
#: Exit status, standard output, standard error, and which of ``HEAVY`` are loaded by then.
Told = tuple[int, str, str, list[str]]


def run_in_a_child(folder: Path, *lines: str, **environment: str) -> list[Told]:
    cases: list[dict[str, Any]] = [
        {"arguments": line.split(), "environment": environment} for line in lines
    ]
    child = subprocess.run(
        [sys.executable, "-c", CHILD, ROOT, json.dumps(cases), json.dumps(HEAVY)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    told = json.loads(child.stdout)
    assert len(told) == len(cases)
    return [(status, out, err, loaded) for status, out, err, loaded in told]


def test_the_child_sees_what_is_loaded(tmp_path: Path) -> None:
    # A checkpoint is read by PyTorch.
    ((status, _, err, loaded),) = run_in_a_child(tmp_path, "export missing.pt --out a.net")
    assert status == 2
    assert "missing.pt: does not exist" in err
    assert {"torch", "numpy"} <= set(loaded)


def test_help_of_every_command_loads_nothing_heavy(tmp_path: Path) -> None:
    lines = ["--help", *(f"{name} --help" for name in COMMANDS)]
    for line, told in zip(lines, run_in_a_child(tmp_path, *lines), strict=True):
        status, out, err, loaded = told
        assert (status, err, loaded) == (0, "", []), line
        assert out.startswith(f"Usage: tandem-hw {line.removesuffix('--help')}"), line


REFUSALS = {
    "trian": "No such command 'trian'. Did you mean 'train' or 'trace'?",
    "train --modle lenet --out a": "No such option '--modle'",
    "train --model lenot --out a": "'lenot' is not one of 'mlp', 'lenet'",
    "train --model none.py:Net --out a": "none.py: there is no such file; --model takes FILE.py:NA",
    "train --model net.py --out a": "net.py: the name of a network is missing; give --model net.p",
    "train --model wrong.py:Net --out a": "wrong.py:2: ",
    "train --config a.toml --out a": 'a.toml: train has no option "epoch"; did you mean epochs?',
    "verify --config a.toml": 'a.toml: verify has no option "epoch"',
    "train --reset none --out a": "'none' is not one of 'subtract', 'zero'",
    "train --augmentation much --out a": "'much' is not one of 'none', 'shift', 'mnist', 'cifar'",
    "train --recipe soup --out a": "'soup' is not one of 'mnist'",
    "train --resume --overwrite --out a": "--resume keeps a training and --overwrite replaces it",
    "train --out full": "full: holds a training already",
    "train --objective regression --label-smoothing 0.1 --out a": "label_smoothing is for labels",
    "train --learning-rate 0 --out a": "learning_rate is 0.0; give a positive number",
    "train --num-steps 5000 --out a": "num_steps is 5000; allowed are 1 to 4096",
    "train --weight-bits 9 --out a": "9 is not in the range 2<=x<=8",
    "train --activation-max 0 --out a": "activation_max must be a positive number, found 0.0",
    "train --voltage-decay 5 --out a": "voltage_decay 5 are not possible with reset",
    "train npz: --out a": 'data set "npz:" names no file',
    "sweep --out a --vary steps=2": "is no option of train that can be varied",
    "sweep --out a --vary num-steps=0": "0 is not in the range",
    "sweep --out a --variant b=--reset=zero --firing-delay 1": "no combination can be trained",
    "convert a.pt": "Missing option '--out'",
    "convert a.pt --num-steps 5000 --out b.net": "5000 is not in the range 1<=x<=4096",
    "convert a.pt --out a.pt": "a.pt: would be written over a.pt",
    "export a.pt": "Missing option '--out'",
    "simulate": "Missing argument 'NET'",
    "simulate a.net --report-sample 3": "--report-sample names what a report shows",
    "trace a.net --neurons one": "'one' names no neurons",
    "trace a.net --neurons 1": "--neurons are of a layer",
    "trace a.net --backends lava": 'backend "lava" is not known',
    "trace a.net --backends c,c": "has an empty name or one twice",
    "report": "Missing argument 'FOLDER'",
    "simulate a.net --backend lava": "'lava' is not one of 'reference', 'lava-cpu'",
    "simulate a.net --early-exit=1,x": "'x' is no margin",
    "simulate a.net --final-states": "--final-states keeps states in a recording",
    "verify a.net --backends reference,lav": 'backend "lav" is not known',
    "verify a.net --json a.net": "a.net: would be written over a.net",
    "deploy a.net --loihi-gen N9": "'N9' is not one of",
    "deploy a.net --profile heat": "'heat' is not one of 'time', 'power'",
    "inspect": "Missing argument 'NET'",
}


def test_refused_arguments_load_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "last.pt").touch()
    for name in ("a.net", "a.pt"):
        (tmp_path / name).touch()
    (tmp_path / "net.py").write_text("raise SystemExit(9)\n", encoding="utf-8")  # it is not run
    (tmp_path / "a.toml").write_text("epoch = 1\n", encoding="utf-8")
    (tmp_path / "wrong.py").write_text("\nclass\n", encoding="utf-8")
    results = run_in_a_child(tmp_path, *REFUSALS)
    for (line, reason), (status, out, err, loaded) in zip(REFUSALS.items(), results, strict=True):
        assert (status, out, loaded) == (2, "", []), (line, err)
        assert reason in err, line


#: Refusals that take NumPy, or h5py to see that a file is none.
LATER_REFUSALS = {
    "deploy a.net --partition oheogulch": "Error: backend loihi2: ",
    "deploy a.net": "Error: backend loihi2: ",
    "sweep --out a --plot a.jpg": "give a name that ends in .png",
    "simulate a.net --plot a.jpg": "give a name that ends in .png",
    "simulate none.net": "none.net: there is no such file",
    "verify none.net": "none.net: there is no such file",
    "export a.pt --out b.net --tandem-only": "--tandem-only is for .nir files",
    "inspect a.net": "Error: a.net: ",
}


def test_a_missing_board_and_unreadable_files_are_found_without_pytorch(tmp_path: Path) -> None:
    (tmp_path / "a.net").write_bytes(b"no network")
    results = run_in_a_child(tmp_path, *LATER_REFUSALS)
    for (line, reason), told in zip(LATER_REFUSALS.items(), results, strict=True):
        status, out, err, loaded = told
        assert (status, out) == (2, ""), (line, err)
        assert reason in err, line
        assert not {"torch", "sklearn"} & set(loaded), line


def test_inspect_takes_numpy_and_h5py_alone_and_scipy_for_a_chip(tmp_path: Path) -> None:
    write_net(small_network(), tmp_path / "a.net")
    lines = ("inspect a.net", "inspect a.net --json a.json", "inspect a.net --chip")
    *plain, chip = run_in_a_child(tmp_path, *lines)
    for status, out, err, loaded in plain:
        assert (status, err, loaded) == (0, "", ["h5py", "numpy"])
        assert "hidden" in out
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["num_steps"] == 4
    status, out, err, loaded = chip
    assert (status, err, loaded) == (0, "", ["scipy", "h5py", "numpy"])
    assert "SynOps a sample" in out


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("tandem-hw ", [*COMMANDS]),
        ("tandem-hw ver", ["verify"]),
        ("tandem-hw train --mod", ["--model"]),
        ("tandem-hw train --model res", ["resnet20", "resnet18"]),
        ("tandem-hw simulate a.net --backend lava", ["lava-cpu", "lava-stock"]),
        ("tandem-hw simulate example:d", ["example:digits"]),
        ("tandem-hw verify a.net --backends c,lava", ["c,lava-cpu", "c,lava-stock"]),
    ],
)
def test_completion_loads_nothing_heavy(tmp_path: Path, words: str, wanted: list[str]) -> None:
    ((_, out, err, loaded),) = run_in_a_child(
        tmp_path,
        "",
        _TANDEM_HW_COMPLETE="zsh_complete",  # bash is asked for its version
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split(" ")) - 1),
    )
    assert (err, loaded) == ("", [])
    assert out.splitlines()[1::3] == wanted


@pytest.mark.parametrize(
    ("given", "proposed"),
    [("trian", "'train' or 'trace'"), ("exprot", "'export'"), ("simulation", "'simulate'")],
)
def test_a_misspelt_command_gets_a_proposal(given: str, proposed: str) -> None:
    result = CliRunner().invoke(main, [given])
    assert result.exit_code == 2
    assert f"Error: No such command '{given}'. Did you mean {proposed}?\n" in result.output


def test_what_is_like_no_command_gets_none() -> None:
    result = CliRunner().invoke(main, ["zzz"])
    assert result.exit_code == 2
    assert result.output.endswith("Error: No such command 'zzz'.\n")


# The tables that stand for what is imported later ------------------------------------------------


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_has_the_name_that_it_is_made_by(name: str) -> None:
    assert make_backend(name).name == name


@pytest.mark.parametrize("name", MODELS)
def test_a_network_of_the_zoo_is_built_by_the_function_of_its_name(name: str) -> None:
    assert MODELS[name].__name__ == name
    shape = (1, 16) if name == "signalnet" else (1, 16, 16)
    built = MODELS[name](shape, 256)
    assert str(built) == str(build(name, shape, 256))
    assert sum(parameter.numel() for parameter in built.parameters()) > 1000


def test_the_name_of_every_objective_makes_it() -> None:
    names: tuple[ObjectiveName, ...] = ("classification", "regression", "reconstruction")
    assert [make_objective(name).name for name in names] == list(names)


def test_the_data_sets_of_the_catalogue_are_those_that_are_known() -> None:
    with pytest.raises(DataError, match=r"known are digits, diabetes, mnist, .*, events:PATH$"):
        load_dataset("digit")
