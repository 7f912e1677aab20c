"""What a package index and an installation show of the project."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from tandem_hw.errors import how_to_install
from tests.helpers.project import ROOT

LINK = re.compile(r"\]\(([^)]+)\)")
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
#: What tells a reader to install something.
SPEAKING = [
    path.read_text(encoding="utf-8")
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("tandem_hw/**/*.py")]
]


def test_the_readme_of_a_release_has_absolute_links_only(tmp_path: Path) -> None:
    """The commands of CONTRIBUTING.md, run as they stand there."""
    (script,) = re.findall(r"```sh\n(.*?)```", CONTRIBUTING, re.DOTALL)
    (tmp_path / "README.md").write_bytes((ROOT / "README.md").read_bytes())
    subprocess.run(["sh", "-euc", script], cwd=tmp_path, check=True, timeout=30)
    before, after = (
        LINK.findall((folder / "README.md").read_text(encoding="utf-8"))
        for folder in (ROOT, tmp_path)
    )
    assert any("://" not in link for link in before)
    assert len(after) == len(before)
    assert all(link.startswith("https://") for link in after)
    assert [link for link in after if "/raw/" in link] == [
        next(link for link in after if link.endswith("/docs/pipeline.svg"))
    ]
    for old, new in zip(before, after, strict=True):
        assert new.endswith(old)


def test_every_extra_that_is_advised_exists() -> None:
    table = PYPROJECT.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    extras = set(re.findall(r"^(\w+) = \[", table, re.MULTILINE))
    advised = {
        extra
        for text in SPEAKING
        for found in re.findall(r"'\.\[(\w+)\]'|how_to_install\(['\"](\w+)['\"]\)", text)
        for extra in found
        if extra
    }
    assert advised >= {"vision", "events", "nir", "plots"}
    assert advised - {"extra"} <= extras


def test_what_is_cited_is_what_is_released() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    project = PYPROJECT.partition("[project]")[2].partition("\n[")[0]
    for key, of_project in (("title", "name"), ("version", "version"), ("license", "license")):
        (said,) = re.findall(rf"^{key}: (.+)$", citation, re.MULTILINE)
        assert f'\n{of_project} = "{said}"\n' in project
    (address,) = re.findall(r"^repository-code: (.+)$", citation, re.MULTILINE)
    assert f'\nRepository = "{address}"\n' in PYPROJECT


def test_placeholders_are_called_so() -> None:
    """Fails at the first release, which settles both and then changes this test."""
    addresses = set(re.findall(r"https://([^/\"]+)/", PYPROJECT.partition("[project.urls]")[2]))
    assert addresses == {"repository.invalid"}
    assert "`repository.invalid`" in CONTRIBUTING
    assert how_to_install("nir") == "in the folder of tandem-hw's sources, pip install '.[nir]'"


def test_whatever_is_no_module_is_named_for_the_wheel() -> None:
    (named,) = re.findall(r"^tandem_hw = (\[.*\])$", PYPROJECT, re.MULTILINE)
    package = ROOT / "tandem_hw"
    files = [path for path in package.rglob("*") if path.is_file()]
    others = {
        path.relative_to(package).as_posix()
        for path in files
        if path.suffix not in (".py", ".pyc") and "__pycache__" not in path.parts
    }
    assert others >= {"py.typed", "report/page/template.html"}
    found = {
        name: {path for path in others if Path(path).match(name)} for name in json.loads(named)
    }
    assert all(found.values())
    assert set().union(*found.values()) == others
