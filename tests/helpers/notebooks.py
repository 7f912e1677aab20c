"""The tutorials, executed: by the tests, and by ``make notebooks`` to store what comes out."""

# mypy: disable-error-code="no-untyped-call"
# nbformat carries no types for some of its functions.

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import nbformat
from nbclient import NotebookClient

from tests.helpers.project import ROOT

NOTEBOOKS: Final = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))
#: Runs before a notebook and is not part of it. The kernel asks programs for colours and progress
#: bars, which a text that is stored cannot have; and warnings of libraries are not of interest.
_BEFORE: Final = """
import os, sys, warnings
os.environ.pop("FORCE_COLOR", None)
os.environ.update({"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "80"})
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
warnings.simplefilter("ignore")
"""
_SECONDS: Final = 120
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?(e[-+]?\d+)?")
_SPACE: Final = re.compile(r"[\s┏━┳┓┃┡╇┩│└─┴┘]+")


def executed(path: Path, folder: Path) -> Any:
    """Return a notebook with the text that it puts out; an error in a cell is raised.

    Args:
        path: of the notebook, which is left as it is.
        folder: where it runs.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(_BEFORE))
    client = NotebookClient(
        notebook,
        timeout=_SECONDS,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env={**os.environ, "IPYTHONDIR": str(folder / ".ipython")})
    notebook.cells.pop(0)
    for number, cell in enumerate(code_cells(notebook), start=1):
        cell.execution_count = number
        cell.outputs = list(stored_outputs(cell.outputs))
    return notebook


def stored_outputs(outputs: list[Any]) -> Iterator[Any]:
    """Yield what is stored of a cell's outputs: standard output, and the text of a result.

    Empty lines are left out: a progress bar leaves them behind where it is not shown.
    """
    streams = [one for one in outputs if one.output_type == "stream" and one.name == "stdout"]
    text = "".join(one.text for one in streams)
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    if lines:
        yield nbformat.v4.new_output("stream", name="stdout", text="\n".join(lines) + "\n")
    for one in outputs:
        if one.output_type == "execute_result":
            data = {"text/plain": one.data["text/plain"]}
            yield nbformat.v4.new_output("display_data", data=data)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def words(cell: Any) -> list[str]:
    """Return what a cell puts out but for numbers and the widths of tables, which may differ."""
    texts = [output.get("text") or output["data"]["text/plain"] for output in cell.outputs]
    return _SPACE.sub(" ", _NUMBER.sub("#", "".join(texts))).split()


def store() -> None:
    """Execute all notebooks and write what they put out into them."""
    for path in NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            notebook = executed(path, Path(folder))
        nbformat.validate(notebook)
        nbformat.write(notebook, path)
        print(path, file=sys.stderr)


if __name__ == "__main__":
    store()
