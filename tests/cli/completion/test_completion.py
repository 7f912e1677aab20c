"""What the Tab key completes, as the shells ask for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ZshComplete

from tandem_hw.cli import main
from tandem_hw.cli.completion.shells import BashWithWholeWords, FishWithWholeValues, joined
from tandem_hw.cli.completion.values import Completer, data_sets, names_with_commas, networks
from tandem_hw.examples.catalogue import EXAMPLES
from tandem_hw.sim.registry import BACKENDS

EXAMPLE_SPECS = [example.spec for example in EXAMPLES.values()]
VARIABLE = "_TANDEM_HW_COMPLETE"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with files, whose home folder it is as well."""
    for name in ("exact.net", "b c.npz", ".hidden", "bell\a.npz", "pets/cat/1.png", "other.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def completed(complete: Completer, incomplete: str) -> list[str]:
    context: Any = None
    return [f"{one.type} {one.value}" for one in complete(context, context, incomplete)]


def plain(*values: str) -> list[str]:
    return [f"plain {value}" for value in values]


def test_the_word_behind_the_last_comma_is_completed() -> None:
    complete = names_with_commas(BACKENDS)
    assert completed(complete, "") == plain(*BACKENDS)
    assert completed(complete, "lava") == plain("lava-cpu", "lava-stock")
    assert completed(complete, "c,lava") == plain("c,lava-cpu", "c,lava-stock")
    assert completed(complete, "c,lava-cpu,la") == plain("c,lava-cpu,lava-stock")
    rest = [name for name in BACKENDS if name not in ("c", "reference")]
    assert completed(complete, "c,reference,") == plain(*(f"c,reference,{name}" for name in rest))
    assert completed(complete, "c,none") == []


@pytest.mark.usefixtures("here")
def test_a_network_is_an_example_or_a_file() -> None:
    files = ["b c.npz", "exact.net", "other.txt", "pets/"]
    assert completed(networks, "") == plain(*EXAMPLE_SPECS, *files)
    assert completed(networks, "ex") == plain(*EXAMPLE_SPECS, "exact.net")
    assert completed(networks, "exac") == ["file exac"]
    assert completed(networks, "example:m") == plain("example:moving-digits")
    assert completed(networks, "example:x") == []


def test_data_are_a_name_or_a_path_behind_a_prefix(here: Path) -> None:
    assert completed(data_sets, "m") == plain("mnist", "moving-digits")
    assert completed(data_sets, "np") == plain("npz:", "npy:")
    assert completed(data_sets, "npz:") == plain(
        *(f"npz:{name}" for name in ("b c.npz", "exact.net", "other.txt", "pets/"))
    )
    assert completed(data_sets, "folder:pe") == plain("folder:pets/")
    assert completed(data_sets, "folder:pets/c") == plain("folder:pets/cat/")
    assert completed(data_sets, "folder:~/pets/") == plain("folder:~/pets/cat/")
    assert completed(data_sets, f"npz:{here}/.h") == plain(f"npz:{here}/.hidden")
    assert completed(data_sets, "events:none/") == []
    assert completed(data_sets, "other:pe") == []


@pytest.mark.parametrize(
    ("words", "whole", "cut"),
    [
        (["simulate", "exa"], ["simulate", "exa"], 0),
        (["simulate", "example", ":", "d"], ["simulate", "example:d"], 8),
        (["simulate", "example", ":"], ["simulate", "example:"], 8),
        (["simulate", "example:d"], ["simulate", "example:d"], 0),
        (["a", "x", ":", "y", "--data", "npz", ":", "p"], ["a", "x:y", "--data", "npz:p"], 4),
        (["a", "x", ":", "y", "--da"], ["a", "x:y", "--da"], 0),
        (["a", "C", ":", "b", ":", "c"], ["a", "C:b:c"], 4),
        (["a", "--data", "=", "npz", ":", "p"], ["a", "--data=npz:p"], 4),
        (["a", "--backends", "=", "c,la"], ["a", "--backends=c,la"], 0),
        (["a", "--backends", "="], ["a", "--backends="], 0),
        (["a", "npz", ":", "p,size", "=", "3"], ["a", "npz:p,size=3"], 11),
        ([":", "a"], [":", "a"], 0),
        ([""], [""], 0),
    ],
)
def test_words_that_bash_cuts_are_joined(words: list[str], whole: list[str], cut: int) -> None:
    assert joined(words) == (whole, cut)


def asked(cls: type[Any], monkeypatch: pytest.MonkeyPatch, words: str, place: str) -> list[str]:
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", place)
    return str(cls(main, {}, "tandem-hw", VARIABLE).complete()).splitlines()


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("export example:m", ["example:moving-digits"]),
        ("inspect example:a", ["example:autoencoder"]),
        ("trace a.net --backends ref", ["reference"]),
        ("deploy a.net --data mo", ["moving-digits"]),
        ("convert a.pt --data mo", ["moving-digits"]),
        ("report run --data mo", ["moving-digits"]),
        ("export a.pt --data mo", ["moving-digits"]),
        ("train di", ["digits", "diabetes"]),
        ("train digits --log csv,t", ["csv,tensorboard"]),
        ("sweep f", ["fashion-mnist", "folder:"]),
    ],
)
def test_every_command_completes(
    line: str, wanted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = line.split()
    found = asked(ZshComplete, monkeypatch, f"tandem-hw {line}", str(len(words)))
    assert found[1::3] == wanted


def test_fish_gets_whole_values(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "tandem-hw verify example:digits --backends c,lav"
    found = asked(FishWithWholeValues, monkeypatch, line, "c,lav")
    assert found == ["plain,c,lava-cpu", "plain,c,lava-stock"]
    source = FishWithWholeValues(main, {}, "tandem-hw", VARIABLE).source()
    assert 'string split -m 1 ","' in source
    assert f"env {VARIABLE}=fish_complete" in source
    found = asked(FishWithWholeValues, monkeypatch, "tandem-hw simulate example:a", "example:a")
    assert found == ["plain,example:autoencoder"]


def test_bash_gets_what_it_takes_as_it_is(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "tandem-hw\nsimulate\nexample\n:\na"
    assert asked(BashWithWholeWords, monkeypatch, words, "4") == ["plain,autoencoder"]
    words = "tandem-hw\ntrain\nnpz\n:\nb"
    assert asked(BashWithWholeWords, monkeypatch, words, "4") == [r"plain,b\ c.npz"]
    assert asked(BashWithWholeWords, monkeypatch, "tandem-hw\nsimulate\nexac", "2") == ["file,exac"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes(here: Path) -> None:
    """The function that the start-up file evaluates, as bash calls it."""
    program = here / "bin" / "tandem-hw"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nfrom tandem_hw.cli import main\nmain(prog_name='tandem-hw')\n"
    )
    program.chmod(0o755)
    script = f"""
compopt() {{ printf 'compopt %s %s\\n' "$@"; }}
eval "$({VARIABLE}=bash_source tandem-hw)"
try() {{
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    _tandem_hw_completion tandem-hw
    printf '<%s>' "${{COMPREPLY[@]}}"; echo
}}
try tandem-hw simulate exam
try tandem-hw simulate example : dig
try tandem-hw verify a.net --backends = c,la
try tandem-hw train folder : pe
"""
    paths = (str(program.parent), os.environ["PATH"])
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=here,
        env=os.environ | {"PATH": os.pathsep.join(paths), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"<{'><'.join(EXAMPLE_SPECS)}>",
        "<digits>",
        "<c,lava-cpu><c,lava-stock>",
        "compopt -o nospace",
        "<pets/>",
    ]
