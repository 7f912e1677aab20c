"""``tandem-hw doctor``: what works here, what is missing, and what to do about it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import pytest

from tandem_hw.cli.work.machine import extras, look
from tandem_hw.cli.work.machine.findings import CORE, Finding, Findings, line_of
from tandem_hw.errors import BackendError
from tandem_hw.sim.loihi2 import host
from tandem_hw.sim.registry import BACKENDS, make_backend
from tests.helpers.command_line import run, succeed


@pytest.fixture
def without_slow_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lava is missing, so that no process of its own is started."""

    def missing(self: Any) -> str:
        return f"backend {self.name}: not here; take another"

    for name in ("lava-cpu", "lava-stock", "c", "sana-fe"):
        monkeypatch.setattr(type(make_backend(name)), "why_unavailable", missing)


@pytest.mark.usefixtures("without_slow_backends")
def test_all_parts_are_told_and_the_core_works() -> None:
    result = succeed("doctor", "--json", "-")
    content = json.loads(result.stdout)
    assert content["core_works"] is True
    found = {one["name"]: one for one in content["findings"]}
    assert set(BACKENDS) <= found.keys()
    assert found["reference"]["state"] == "works"
    assert found["lava-cpu"]["state"] == "missing"
    assert found["lava-cpu"]["advice"] == "not here; take another"
    assert found["Python"]["found"]
    assert {"C compiler", "lava-nc", "lava-loihi", "cores", "memory", "temporary"} <= found.keys()
    for name in ("core", "backends", "extras", "machine", "  lava-cpu     missing: not here; take"):
        assert name in result.stderr


@pytest.mark.usefixtures("without_slow_backends")
def test_a_core_that_fails_is_status_2_and_what_else_fails_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise BackendError("the sums are wrong")

    monkeypatch.setattr(type(make_backend("reference")), "simulate", fail)
    result = run("doctor")
    assert result.exit_code == 2
    assert "reference    DOES NOT WORK: BackendError: the sums are wrong" in result.stdout
    assert "the core of tandem-hw does not work here" in result.stdout


def test_a_backend_that_is_there_runs_a_network() -> None:
    found = look._look_at_backend("backends", "c")
    assert found.state in ("works", "missing")
    assert ("a small network" in found.found) == (found.state == "works")


def test_a_board_that_could_be_named_is_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_why_not_installed", lambda: None)
    found = look._look_at_backend("backends", "loihi2")
    assert (found.state, found.found) == ("told", "installed; name a board to tandem-hw deploy")


def requirements(*lines: str) -> Any:
    return lambda _: list(lines)


def test_extras_are_those_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    said = ("torch>=2.3", 'torchvision; extra == "vision"', 'tonic>=1.7; extra == "events"')
    dev = ('ruff; extra == "dev"', 'lava-nc==0.10.0; python_version == "3.10"')
    monkeypatch.setattr(metadata, "requires", requirements(*said, *dev))
    assert extras.extras() == {"vision": ["torchvision"], "events": ["tonic"]}

    def missing(_: str) -> list[str]:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "requires", missing)
    assert extras.extras() == {}


def extra(monkeypatch: pytest.MonkeyPatch, package: str) -> Finding:
    monkeypatch.setattr(metadata, "requires", requirements(f'{package}>=1; extra == "nir"'))
    (found,) = extras.look_at_extras()
    return found


def test_an_extra_works_is_missing_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert extra(monkeypatch, "h5py").state == "works"
    found = extra(monkeypatch, "no-such-package")
    assert found.state == "missing"
    assert found.advice == (
        "no-such-package is not installed; in the folder of tandem-hw's sources, pip install "
        "'.[nir]'"
    )

    def broken(_: str) -> None:
        raise RuntimeError("built for another Python\nand more")

    monkeypatch.setattr(importlib, "import_module", broken)
    found = extra(monkeypatch, "h5py")
    assert found.state == "fails"
    expected = "h5py cannot be imported (RuntimeError: built for another Python); install it anew"
    assert found.advice.startswith(expected)


def findings(*states: str) -> Iterator[Finding]:
    for index, state in enumerate(states):
        yield Finding(CORE if not index else "x", f"part{index}", state, "1.0")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("states", "verdict"),
    [
        (("works",), "all that is installed works"),
        (("works", "missing"), "all that is installed works; 1 optional part is missing"),
        (("works", "fails"), "the core works, but not part1, though installed"),
        (("fails",), "the core of tandem-hw does not work here; see the lines above"),
        ((), "the core of tandem-hw does not work here; see the lines above"),
    ],
)
def test_the_verdict_says_what_it_comes_to(states: tuple[str, ...], verdict: str) -> None:
    assert Findings(list(findings(*states))).verdict == verdict


def test_a_line_has_name_version_state_and_advice() -> None:
    line = line_of(Finding("extras", "nir", "fails", "nir 1.0", "install it anew"))
    assert line == "  nir          nir 1.0, DOES NOT WORK: install it anew"
