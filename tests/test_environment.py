"""The pinned versions and their lock, how an environment is made of them, what is said of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.project import ROOT

ENVIRONMENT = ROOT / "environment"
VERSIONS = ("3.10", "3.11")
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def pinned(text: str) -> dict[str, str]:
    """Return the versions by the names of packages."""
    found = re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


# The lock -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_the_lock_has_the_pinned_versions_each_with_the_hashes_of_its_files(version: str) -> None:
    pins = pinned((ENVIRONMENT / f"python{version}.txt").read_text(encoding="utf-8"))
    text = (ENVIRONMENT / f"python{version}.lock").read_text(encoding="utf-8")
    locked = pinned(text)
    assert len(pins) > 50
    assert {name: locked.get(name) for name in pins} == pins
    entries = re.split(r"\n(?=\w)", text)[1:]
    assert len(entries) == len(locked)
    entry = re.compile(r"[\w.-]+==\S+( ; [^\\\n]+)? \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n?)+")
    assert [one for one in entries if not entry.fullmatch(one)] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_the_lock_has_all_that_is_needed_and_what_builds_the_package(version: str) -> None:
    locked = pinned((ENVIRONMENT / f"python{version}.lock").read_text(encoding="utf-8"))
    needed = re.findall(r'"([a-z][\w-]+)[\[>=]', PYPROJECT)
    # With the extras that dev leaves out.
    own = {"tandem-hw", "distributed", "snntorch", "spikingjelly", "sanafe"}
    wanted = set(needed) - own - ({"lava-nc", "lava-dl", "tomli"} if version == "3.11" else set())
    assert wanted > {"setuptools", "torch", "h5py", "norse", "hypothesis"}
    assert wanted - set(locked) == set()


# How an environment is made -----------------------------------------------------------------------

#: Stands for Python, with pip: says where pip is set to, and writes down what it was asked for.
FAKE = """#!/bin/sh
case "$*" in
    *version_info*) echo 3.10 ;;
    *"-m venv"*) mkdir -p env/bin && cp "$0" env/bin/python ;;
    *"config list"*) echo "$SETTINGS" ;;
    *"pip install"*)
        echo "$*" >> asked
        case "$*" in *"$REFUSED"*) [ -z "$REFUSED" ] || exit 1 ;; esac ;;
esac
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "environment").symlink_to(ENVIRONMENT)
    (tmp_path / "pyproject.toml").symlink_to(ROOT / "pyproject.toml")
    (tmp_path / "python").write_text(FAKE)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def set_up(place: Path, **settings: str) -> tuple[int, list[str], str]:
    """Return the exit status of the set-up, what pip was asked to install, and what was said."""
    (place / "asked").write_text("")
    environment = {"PYTHON": str(place / "python"), "SETTINGS": "", "REFUSED": "", "HASHES": ""}
    done = subprocess.run(
        ["environment/make-venv.sh", "3.10", "env"],
        cwd=place,
        env=os.environ | environment | settings,
        capture_output=True,
        text=True,
    )
    return done.returncode, (place / "asked").read_text().splitlines(), done.stdout + done.stderr


def test_with_the_public_index_nothing_is_installed_but_the_files_of_the_lock(place: Path) -> None:
    status, (locked, package), _ = set_up(place, SETTINGS="global.timeout='180'")
    assert status == 0
    assert "--no-deps --require-hashes --requirement environment/python3.10.lock" in locked
    assert package.endswith("--no-deps --no-build-isolation --editable .")
    assert set_up(place)[:2] == (0, [])  # it is up to date
    assert set_up(place, HASHES="yes")[:2] == (0, [])


@pytest.mark.parametrize(
    "setting", ["global.extra-index-url='a'", ":env:.find-links='a'", "user.index-url='a'"]
)
def test_with_other_indices_the_versions_are_pinned_alone(place: Path, setting: str) -> None:
    status, (asked,), said = set_up(place, SETTINGS=setting)
    assert status == 0
    assert asked.endswith("--constraint environment/python3.10.txt --editable .[dev]")
    assert "versions are pinned, their files are not" in said
    assert set_up(place, SETTINGS=setting)[:2] == (0, [])
    status, asked_again, _ = set_up(place, SETTINGS=setting, HASHES="yes")
    assert status == 0
    assert "--require-hashes" in asked_again[0]


def test_files_that_are_not_those_of_the_lock_are_refused(place: Path) -> None:
    status, asked, said = set_up(place, REFUSED="--require-hashes")
    assert (status, len(asked)) == (1, 1)
    assert "has other files than environment/python3.10.lock" in said
    assert "make setup HASHES=no" in said
    assert not (place / "env" / "installed-from").exists()
    status, (asked_again,), _ = set_up(place, HASHES="no")
    assert status == 0
    assert "--constraint" in asked_again


# What is said of it -------------------------------------------------------------------------------

#: Stands for the Python of an environment: its pip and its pip-audit say what they are told to.
TELLING = f"""#!{sys.executable}
import os, sys
line = " ".join(sys.argv)
if "index versions" in line:
    sys.exit(0 if os.environ["OUTDATED"] else 1)
if "list --outdated" in line:
    print(os.environ["OUTDATED"])
if "import pip_audit" in line:
    sys.exit(0 if os.environ["AUDIT"] else 1)
if "-m pip_audit" in line:
    print(os.environ["AUDIT"])
    print("told more\\nno route to it", file=sys.stderr)
"""
OLD = {"name": "torch", "version": "2.3.1", "latest_version": "2.14.1"}
FAULT = {"id": "CVE-2025-0000", "fix_versions": ["2.6.0"]}
SOUND = {"name": "six", "version": "1.17.0", "vulns": []}
FAULTY = {"name": "torch", "version": "2.3.1", "vulns": [FAULT]}
SKIPPED = {"name": "tqdm", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("outdated", "packages", "status", "lines"),
    [
        ([], [SOUND], 0, ["outdated: nothing", "known faults: 0; 1 of 1 looked up"]),
        (
            [OLD],
            [SOUND, FAULTY],
            1,
            [
                "outdated: torch 2.3.1, the newest is 2.14.1",
                "known fault: torch 2.3.1: CVE-2025-0000, mended in 2.6.0",
                "known faults: 1; 2 of 2 looked up",
            ],
        ),
        ([], [SKIPPED, SOUND], 2, ["nothing is known of tqdm", "0; 1 of 2 looked up"]),
        ([], [SKIPPED, FAULTY], 1, ["nothing is known of tqdm", "1; 1 of 2 looked up"]),
        (None, [SOUND], 2, ["outdated: nothing is known, the index of packages could not"]),
        ([], "no JSON", 2, ["the index of advisories could not be reached (no route to it)"]),
        ([], None, 2, ["nothing is known, pip-audit is not installed"]),
    ],
)
def test_outdated_packages_and_known_faults_are_told_and_what_is_not_known_is_too(
    tmp_path: Path, outdated: object, packages: object, status: int, lines: list[str]
) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(TELLING)
    python.chmod(0o755)
    audit = json.dumps({"dependencies": packages}) if isinstance(packages, list) else packages
    told: dict[str, str] = {
        "OUTDATED": "" if outdated is None else json.dumps(outdated),
        "AUDIT": str(audit or ""),
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(
        [sys.executable, ENVIRONMENT / "check_dependencies.py", "3.10", tmp_path],
        capture_output=True,
        text=True,
        env=os.environ | told,
    )
    assert (done.returncode, done.stderr) == (status, "")
    for line in lines:
        assert line in done.stdout
