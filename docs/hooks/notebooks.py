"""A page of each notebook: its texts, its code, and the outputs that are stored in it."""

# mypy: disable-error-code="no-untyped-call"
# nbformat carries no types for some of its functions.

from __future__ import annotations

import posixpath
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page beside each notebook, which stays to be downloaded."""
    for file in [one for one in files if one.src_uri.endswith(".ipynb")]:
        notebook = nbformat.read(file.abs_src_path, as_version=4)
        page = posixpath.splitext(file.src_uri)[0] + ".md"
        name = posixpath.basename(file.src_uri)
        up = "../" if config.use_directory_urls else ""
        download = f'<p><a href="{up}{name}" download>Download this notebook</a></p>'
        content = "\n\n".join([*map(text_of, notebook.cells), download])
        files.append(File.generated(config, page, content=content + "\n"))
    return files


def text_of(cell: Any) -> str:
    """Return a cell as Markdown."""
    if cell.cell_type == "markdown":
        return str(cell.source)
    outputs = "".join(map(output_of, cell.outputs)).rstrip()
    is_shell = cell.source.startswith("!")
    code = "\n".join(line.removeprefix("!") for line in cell.source.splitlines())
    blocks = [fenced(code, "sh" if is_shell else "python")]
    return "\n\n".join([*blocks, fenced(outputs, "text")] if outputs else blocks)


def output_of(output: Any) -> str:
    """Return what is shown of an output: text alone."""
    if output.output_type == "stream":
        return str(output.text)
    return str(output.data["text/plain"]) + "\n"


def fenced(text: str, language: str) -> str:
    """Return a block of code."""
    return f"```{language}\n{text}\n```"
