"""What a worker process can import, and from where."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tandem_hw.sim.child.environment import worker_command

#: Says where modules and distributions come from; "-" where there is none.
_WORKER = """
import importlib, importlib.metadata, json, sys

def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "-"

def place(name):
    try:
        return getattr(importlib.import_module(name), "__file__", None)
    except ImportError:
        return "-"

def main(folder):
    asked = json.loads((folder / "asked.json").read_text())
    places = {name: place(name) for name in asked["modules"]}
    versions = {name: version(name) for name in asked["distributions"]}
    answer = {"path": sys.path, "places": places, "versions": versions, "flags": sys.flags.isolated}
    (folder / "answer.json").write_text(json.dumps(answer))
"""


def write(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return folder


def ask(folder: Path, *supplied: Path, modules: list[str], distributions: Any = ()) -> Any:
    """Return what a worker finds that has folders in PYTHONPATH."""
    (folder / "worker_of_this_test.py").write_text(_WORKER)
    content = {"modules": modules, "distributions": list(distributions)}
    (folder / "asked.json").write_text(json.dumps(content))
    path = os.pathsep.join(map(str, [*supplied, "", folder]))
    command = worker_command("worker_of_this_test", folder, {"PYTHONPATH": path})
    result = subprocess.run(
        command, cwd=supplied[0] if supplied else folder, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return json.loads((folder / "answer.json").read_text())


def test_pythonpath_supplies_what_is_missing_and_replaces_nothing(tmp_path: Path) -> None:
    one = write(tmp_path / "one", "only_there.py", "queue.py", "click/__init__.py", "_winapi.py")
    (one / "found-1.5.dist-info").mkdir()
    (one / "found-1.5.dist-info" / "METADATA").write_text("Name: found\nVersion: 1.5\n")
    names = ["only_there", "queue", "click", "tandem_hw", "_winapi", "nowhere"]
    answer = ask(tmp_path, one, modules=names, distributions=["found", "click", "lost"])
    places = answer["places"]
    assert places["only_there"] == str(one / "only_there.py")
    assert not places["queue"].startswith(str(tmp_path))
    assert not places["click"].startswith(str(tmp_path))
    assert places["tandem_hw"] == str(Path(worker_command.__code__.co_filename).parents[2]
                                      / "__init__.py")  # fmt: skip
    assert (places["_winapi"], places["nowhere"]) == ("-", "-")
    assert answer["versions"]["found"] == "1.5"
    assert answer["versions"]["click"] not in ("-", "1.5")
    assert answer["versions"]["lost"] == "-"
    assert answer["flags"] == 1
    assert str(one) not in answer["path"]


def test_a_namespace_is_completed_and_no_package_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The user's site-packages stand for the interpreter's own here.
    own = write(tmp_path / "own", "space/inner/thing.py", "space/whole/__init__.py")
    part = write(tmp_path / "part", "space/inner/thing.py", "space/inner/more.py",
                 "space/whole/extra.py", "space/new/thing.py")  # fmt: skip
    package = write(tmp_path / "package", "space/__init__.py", "space/inner/__init__.py",
                    "space/inner/fake.py")  # fmt: skip
    half = write(tmp_path / "half", "space/inner/__init__.py", "space/inner/fake.py")
    monkeypatch.setattr(site, "ENABLE_USER_SITE", True)
    monkeypatch.setattr(site, "getusersitepackages", lambda: str(own))
    monkeypatch.syspath_prepend(str(own))
    names = ["space.inner.thing", "space.inner.more", "space.whole", "space.whole.extra",
             "space.new.thing", "space.inner.fake"]  # fmt: skip
    answer = ask(tmp_path, package, half, part, modules=names)
    assert answer["places"] == {
        "space.inner.thing": str(own / "space/inner/thing.py"),
        "space.inner.more": str(part / "space/inner/more.py"),
        "space.whole": str(own / "space/whole/__init__.py"),
        "space.whole.extra": "-",
        "space.new.thing": str(part / "space/new/thing.py"),
        "space.inner.fake": "-",
    }
    before = [entry for entry in answer["path"] if entry.endswith("site-packages")]
    assert answer["path"].index(str(own)) < answer["path"].index(before[0])


def test_what_lies_beside_the_package_in_a_checkout_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = write(tmp_path / "checkout", "pyproject.toml", "click.py", "beside.py")
    package = Path(worker_command.__code__.co_filename).parents[2]
    (checkout / "tandem_hw").symlink_to(package)
    monkeypatch.setattr(site, "ENABLE_USER_SITE", True)
    monkeypatch.setattr(site, "getusersitepackages", lambda: str(checkout))
    monkeypatch.syspath_prepend(str(checkout))  # as an editable install does
    monkeypatch.setattr(
        "tandem_hw.sim.child.environment.__file__",
        str(checkout / "tandem_hw" / "sim" / "child" / "environment.py"),
    )
    answer = ask(tmp_path, modules=["click", "beside", "tandem_hw"])
    assert not answer["places"]["click"].startswith(str(tmp_path))
    assert answer["places"]["beside"] == str(checkout / "beside.py")
    assert answer["places"]["tandem_hw"] == str(checkout / "tandem_hw" / "__init__.py")


def test_an_interpreter_that_looks_at_no_variables_has_a_child_that_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def supplied() -> Any:
        command = worker_command("module", Path("folder"), {"PYTHONPATH": "/there"})
        return json.loads(command[-3])["supplied"]

    assert supplied() == ["/there"]

    class Flags:
        ignore_environment = 1

    monkeypatch.setattr(sys, "flags", Flags())
    assert supplied() == []
