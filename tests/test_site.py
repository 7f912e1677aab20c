"""The documentation builds as a site, strictly, and nothing in it is fetched from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

import tandem_hw
from tandem_hw.cli.group import COMMANDS
from tests.helpers.notebooks import NOTEBOOKS
from tests.helpers.project import ROOT

#: What a browser fetches by itself.
FETCHED = re.compile(
    r"<(?:script|img|iframe|source|audio|video|embed)\b[^>]*?\bsrc=[\"']?([^\"' >]+)"
    r"|<link\b[^>]*?\bhref=[\"']?([^\"' >]+)"
)
IN_STYLES = re.compile(r"url\([\"']?([^)\"']+)|@import [\"']([^\"']+)")
IDENTIFIER = re.compile(r'id="([^"]+)"')


def version(package: str) -> tuple[int, ...]:
    return tuple(int(part) for part in metadata.version(package).split(".")[:3])


#: mkdocstrings that Python 3.10 has calls pymdown-extensions as it was before 12.
TOO_NEW = version("pymdown-extensions") >= (12,) and version("mkdocstrings") < (1, 0, 7)
pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(TOO_NEW, reason="mkdocstrings needs pymdown-extensions before 12 here"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


def texts(site: Path, suffix: str) -> Iterator[tuple[Path, str]]:
    for path in sorted(site.rglob(f"*{suffix}")):
        yield path, path.read_text(encoding="utf-8")


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    fetched = [
        (path.name, target)
        for suffix, pattern in ((".html", FETCHED), (".css", IN_STYLES))
        for path, text in texts(site, suffix)
        for found in pattern.findall(text)
        for target in found
        if target
    ]
    assert len(fetched) > 100
    assert [one for one in fetched if re.match(r"(https?:)?//", one[1])] == []


def test_the_reference_has_every_public_name_and_every_command(site: Path) -> None:
    api = (site / "reference" / "api" / "index.html").read_text(encoding="utf-8")
    assert {f"tandem_hw.{name}" for name in tandem_hw.__all__} <= set(IDENTIFIER.findall(api))
    assert "Args:" not in api  # sections of docstrings are tables and no text
    commands = (site / "reference" / "command-line" / "index.html").read_text(encoding="utf-8")
    assert set(COMMANDS) <= set(IDENTIFIER.findall(commands))


def test_every_page_and_every_notebook_is_there(site: Path) -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert len(pages) > 15
    assert [name for name in pages if not (site / name / "index.html").exists()] == []
    for path in NOTEBOOKS:
        page = site / "tutorials" / path.stem / "index.html"
        text = page.read_text(encoding="utf-8")
        (download,) = re.findall(r'<a href="([^"]+)" download', text)
        assert (page.parent / download).read_bytes() == path.read_bytes()


def test_links_lead_to_pages_of_the_site_or_to_the_repository(site: Path) -> None:
    """What mkdocs does not look at: links that our hooks have made."""
    start = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="arithmetic/"' in start
    assert 'href="contributing/"' in start
    assert re.search(r'href="https://repository\.invalid/tandem-hw/blob/main/LICENSE"', start)
    assert 'href="../tutorials/first-network/"' in (site / "start" / "index.html").read_text(
        encoding="utf-8"
    )
    assert not list(site.rglob("*.py"))
