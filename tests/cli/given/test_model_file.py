"""``--model FILE.py:NAME``: what a file makes, and what is said of one that makes nothing."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tandem_hw.cli.given.model_file import build_model, located
from tandem_hw.cli.given.model_name import ModelName, model_file_of
from tandem_hw.errors import ConversionError, FileFormatError, TandemError
from tandem_hw.learning.checkpoint import load_checkpoint
from tests.helpers.command_line import run, succeed, written_json
from tests.helpers.row_images import SHAPE, write_data

NETS = """\
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from blocks import hidden


@dataclass
class Sizes:
    width: int = 8


class Net(nn.Module):
    def __init__(self, input_shape, *, num_classes, width=Sizes().width):
        super().__init__()
        self.shape = input_shape
        self.stem = nn.Sequential(nn.Flatten(), *hidden(36, width))
        self.head = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.head(self.stem(x))


def small():
    return nn.Sequential(nn.Flatten(), *hidden(36, 7), nn.Linear(7, 3))


ready = small()


class Broken(Net):
    def forward(self, x):
        return self.head(self.steam(x))


class Maximum(Net):
    def forward(self, x):
        return torch.tanh(self.head(self.stem(x)))


class Deep(Net):
    def __init__(self, input_shape, num_classes, depth, width):
        super().__init__(input_shape, num_classes)


class Plain:
    pass


def fails():
    return {}["key"]


def empty():
    return None


number = 3
_hidden = small()

if __name__ == "__main__":
    raise SystemExit("it was run as a program")
"""
BLOCKS = """\
from torch import nn


def hidden(inputs, width):
    return nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU()
"""
TRAINING = ("--batch-size", 8, "--num-steps", 8, "--epochs", 1)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with data and with networks."""
    write_data(tmp_path / "data.npz")
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    (tmp_path / "blocks.py").write_text(BLOCKS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in ("blocks", "tandem_hw_model_file_nets"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "kind", "width"), [("Net", "Net", 8), ("small", "Sequential", 7), ("ready", "Seq", 7)]
)
def test_a_class_a_function_and_a_module_make_a_network(
    here: Path, name: str, kind: str, width: int
) -> None:
    network = build_model(f"nets.py:{name}", SHAPE, 3)
    assert type(network).__name__.startswith(kind)
    layers = [one for one in network.modules() if isinstance(one, nn.Linear)]
    assert [(one.in_features, one.out_features) for one in layers] == [(36, width), (width, 3)]
    if name == "Net":
        assert vars(network)["shape"] == SHAPE


def test_a_network_of_a_file_is_trained_and_needs_the_file_no_more(here: Path) -> None:
    result = succeed("train", "npz:data.npz", "--model", "nets.py:Net", *TRAINING, "--out", "run")
    assert result.stderr.splitlines()[0] == "running the code of nets.py, which --model names"
    (here / "nets.py").unlink()
    model = load_checkpoint("run/checkpoint.pt").model
    weights = [value for value in model.state_dict().values() if value.dim() == 2]
    assert [weight.shape for weight in weights] == [(8, 36), (3, 8)]
    succeed("export", "run/checkpoint.pt", "--out", "run.net")
    succeed(
        *("verify", "run.net", "--data", "npz:data.npz", "--backends", "reference"),
        *("--checkpoint", "run/checkpoint.pt"),
    )


@pytest.mark.exhaustive
def test_the_same_seed_gives_the_same_network(here: Path) -> None:
    for name in ("one", "two"):
        torch.rand(7)
        arguments = ("train", "npz:data.npz", "--model", "nets.py:ready", *TRAINING)
        succeed(*arguments, "--seed", 3, "--out", name)
    one, two = (load_checkpoint(f"{name}/checkpoint.pt").model for name in ("one", "two"))
    assert all(
        torch.equal(two.state_dict()[key], one.state_dict()[key]) for key in one.state_dict()
    )


def test_parameters_of_a_network_of_a_file_are_converted(here: Path) -> None:
    torch.manual_seed(1)
    network = build_model("nets.py:Net", SHAPE, 3)
    torch.save(network.state_dict(), "ann.pt")
    arguments = ("convert", "ann.pt", "--data", "npz:data.npz", "--json", "new.json")
    result = succeed(*arguments, "--model", "nets.py:Net", "--out", "new.net")
    assert "running the code of nets.py" in result.stderr
    stages = written_json(Path("new.json"))["stages"]
    assert stages[0]["name"] == "ordinary network"
    refused = run(*arguments, "--out", "new.net", "--overwrite")
    assert refused.exit_code == 2
    assert "or FILE.py:NAME it is" in refused.stderr
    started = succeed(
        *("train", "npz:data.npz", "--model", "nets.py:Net", "--init", "ann.pt"),
        *(*TRAINING, "--out", "run"),
    )
    assert "epoch 1: " in started.output


#: Names, and what is said of them; with a line where code of the file was running.
FAULTS = {
    "Nett": r'^nets\.py: has no "Nett"; did you mean Net\?$',
    "zzz": r'^nets\.py: has no "zzz"; it has Sizes, Net, small, ready, Broken, Maximum, Deep, ',
    "Deep": r"^nets\.py:Deep: needs depth, width, and only input_shape and num_classes are given; ",
    "Plain": r"^nets\.py:Plain: is a class, and no torch\.nn\.Module; let it inherit from it$",
    "number": r"^nets\.py:number: is 3; a subclass of torch\.nn\.Module is needed, a function ",
    "empty": r"^nets\.py:empty: gives None; a subclass of torch\.nn\.Module is needed, a function ",
    "fails": rf"^nets\.py:{NETS[: NETS.index('key')].count(chr(10)) + 1}: KeyError: 'key'$",
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_makes_no_network_is_said_with_its_place(here: Path, name: str) -> None:
    with pytest.raises(ConversionError) as caught:
        build_model(f"nets.py:{name}", SHAPE, 3)
    assert re.search(FAULTS[name], str(caught.value))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import torch\nclass Net(:\n", r"^nets\.py:2: .*in: class Net\(:$"),
        ("x = 'a\0b'\n", r"^nets\.py(:1)?: .*null bytes"),
        (
            "import torch\n\nimport not_there\n",
            r"^nets\.py:3: ModuleNotFoundError: No module",
        ),
        ("def f():\n    exit_now()\nf()\n", r"^nets\.py:2: NameError: name 'exit_now' is not"),
        ("import sys\nsys.exit(4)\n", r"^nets\.py:2: SystemExit 4 ends the program; put what"),
        ("import broken\n", r"^[^ ]*broken\.py:2: .* in: return return$"),
        ("raise ValueError\n", r"^nets\.py:1: ValueError$"),
    ],
)
def test_a_file_that_cannot_be_run_is_said_with_its_line(
    here: Path, source: str, message: str
) -> None:
    (here / "nets.py").write_text(source, encoding="utf-8")
    (here / "broken.py").write_text("def f():\n    return return\n", encoding="utf-8")
    with pytest.raises(ConversionError) as caught:
        build_model("nets.py:Net", SHAPE, 3)
    assert re.search(message, str(caught.value))


def test_a_forward_pass_that_fails_or_is_refused_is_said_with_its_line(here: Path) -> None:
    lines = NETS.splitlines()
    for name, text in (("Broken", "self.steam"), ("Maximum", "torch.tanh")):
        result = run("train", "npz:data.npz", "--model", f"nets.py:{name}", "--out", "run")
        assert result.exit_code == 2
        error = result.stderr.splitlines()[-1]
        if name == "Broken":
            line = 1 + next(number for number, one in enumerate(lines) if text in one)
            assert error.startswith(f"Error: nets.py:{line}: the network does not take samples of")
        assert text.partition(".")[2] in error


def test_other_errors_stay_what_they_are(here: Path) -> None:
    for error in (ConversionError("layer 2 is unknown"), RuntimeError("of ours")):
        with pytest.raises(type(error), match=f"^{error}$"), located("nets.py:Net"):
            raise error
    with pytest.raises(ZeroDivisionError), located("lenet"):
        raise ZeroDivisionError
    with pytest.raises(KeyboardInterrupt), located("nets.py:Net"):
        raise KeyboardInterrupt


#: What is refused before anything is run, with PyTorch not even loaded.
UNREAD = {
    "missing.py:Net": (FileFormatError, r"missing\.py: there is no such file; --model takes FILE"),
    "nets.py": (ConversionError, "the name of a network is missing; .*it has Sizes, Net, Broken, "),
    "nets.py:a-b": (ConversionError, '"a-b" is no name in a file; give --model nets.py:NAME'),
    "wrong.py:Net": (ConversionError, r"^wrong\.py:1: .*in: def$"),
}


@pytest.mark.parametrize("model", UNREAD)
def test_a_name_without_a_file_or_a_network_is_refused(here: Path, model: str) -> None:
    (here / "wrong.py").write_text("def\n", encoding="utf-8")
    kind, message = UNREAD[model]
    assert issubclass(kind, TandemError)
    with pytest.raises(kind, match=message):
        ModelName().convert(model, None, None)
    for command in (("train", "npz:data.npz"), ("sweep", "npz:data.npz"), ("convert", "a.pt")):
        result = run(*command, "--model", model, "--out", "new.net")
        assert result.exit_code == 2
        assert re.search(message.lstrip("^").rstrip("$"), result.stderr)
        assert len(result.stderr.splitlines()) == 1


def test_a_model_is_a_file_by_its_suffix_alone() -> None:
    assert model_file_of("lenet") is None
    assert model_file_of("a:b.py") == (Path("a:b.py"), "")
    assert model_file_of("a:b.py:Net") == (Path("a:b.py"), "Net")


def test_a_file_is_not_written_over(here: Path) -> None:
    (here / "run").mkdir()
    (here / "run" / "metrics.json").symlink_to(here / "nets.py")
    result = run(
        *("train", "npz:data.npz", "--model", "nets.py:Net", "--overwrite", "--out", "run")
    )
    assert result.exit_code == 2
    assert "would be written over nets.py, which is read" in result.stderr


def test_files_beside_it_stand_for_no_library_that_is_imported_later(here: Path) -> None:
    (here / "tomli_w.py").write_text("raise SystemExit('of the user')\n", encoding="utf-8")
    build_model("nets.py:Net", SHAPE, 3)
    assert sys.path[-1] == str(here.resolve())
    assert sys.path.count(str(here.resolve())) == 1


ODD: dict[str, tuple[str, str]] = {
    "an error beside Exception": ("raise BaseException('x')", "odd.py:3: BaseException: x"),
    "an error that cannot say itself": (
        "class Mute(Exception):\n    def __str__(self):\n        return 3\nraise Mute",
        "odd.py:6: Mute",
    ),
    "an end without a word": ("raise SystemExit", "odd.py:3: SystemExit ends the program"),
    "no super().__init__()": (
        "class Net(nn.Module):\n    def __init__(self):\n        pass",
        "does not call super().__init__()",
    ),
    "a module within itself": (
        "Net = nn.Sequential()\nNet.add_module('own', Net)",
        "has a module within itself",
    ),
    "a layer of no outputs": ("Net = nn.Linear(36, 0)", "holds nothing"),
    "nesting": ("x = " + "-" * 100_000 + "1", "is nested too deeply"),
}


@pytest.mark.parametrize("case", ODD)
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_odd_code_is_refused_in_a_line(tmp_path: Path, case: str) -> None:
    code, said = ODD[case]
    write_data(tmp_path / "data.npz")
    (tmp_path / "odd.py").write_text(f"import torch\nfrom torch import nn\n{code}\n")
    data, model = f"npz:{tmp_path / 'data.npz'}", f"{tmp_path / 'odd.py'}:Net"
    result = run("train", data, "--model", model, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert said in result.stderr.splitlines()[-1]


def test_what_a_file_says_of_gradients_ends_with_it(tmp_path: Path) -> None:
    file = tmp_path / "without.py"
    file.write_text(
        "import torch\nfrom torch import nn\ntorch.set_grad_enabled(False)\n"
        "shared = nn.Linear(4, 4)\nNet = nn.Sequential(nn.Sequential(shared), shared)\n"
    )
    build_model(f"{file}:Net", (4,), 4)
    assert torch.is_grad_enabled()
