"""The tutorials are notebooks that run, and say what they said when they were stored."""

# mypy: disable-error-code="no-untyped-call"
# nbformat carries no types for some of its functions.

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from tandem_hw.sim.c.backend import CBackend
from tests.helpers.notebooks import NOTEBOOKS, code_cells, executed, words

#: Bytes of the largest notebook: text alone.
LARGEST = 40_000
#: On a cell whose output another machine may have another of.
VARIES = "depends-on-the-machine"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_was_run_from_top_to_bottom_without_an_error(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < LARGEST
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert any(cell.outputs for cell in cells)
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert kinds <= {"stream", "display_data"}


@pytest.mark.exhaustive
@pytest.mark.skipif(CBackend().why_unavailable() is not None, reason="no C compiler")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_puts_out_what_is_stored(path: Path, tmp_path: Path) -> None:
    stored, found = (
        code_cells(one) for one in (nbformat.read(path, as_version=4), executed(path, tmp_path))
    )
    assert len(stored) == len(found) > 1
    for before, now in zip(stored, found, strict=True):
        if VARIES not in before.metadata.get("tags", ()):
            assert words(now) == words(before), f"run make notebooks: {before.source}"
