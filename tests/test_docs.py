"""The Python in the documents runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.project import ROOT

BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCKS = {document: BLOCK.findall(document.read_text(encoding="utf-8")) for document in DOCUMENTS}


def test_the_readme_holds_a_block_of_python() -> None:
    assert BLOCKS[ROOT / "README.md"]


@pytest.mark.parametrize(
    "document", [document for document in DOCUMENTS if BLOCKS[document]], ids=lambda path: path.name
)
def test_the_blocks_of_a_document_run_one_after_another(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "document"}
    for number, block in enumerate(BLOCKS[document], start=1):
        exec(compile(block, f"{document.name}, block {number}", "exec"), names)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_within_the_repository_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text(encoding="utf-8"))
    missing = [
        target
        for target in targets
        if "://" not in target and not (document.parent / target).exists()
    ]
    assert not missing
