"""The site has the pages of the repository's root too, and every link leads where it does there.

Pages are written for a repository's own view: links lead from file to file. Here what lies at the
root becomes a page, a notebook the page that is made of it, and what is no page is looked up in the
repository.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[2]
#: Files of the root by the name of their page.
PAGES: Final = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
}
_LINK: Final = re.compile(r"(?<=\]\()([^)\s:#]+)(?=[)#])")
_ADDRESS: Final = re.compile(r'^Repository = "([^"]+)"$', re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let the links of a page lead to pages of the site."""
    uri = page.file.src_uri
    source = PAGES.get(uri, posixpath.join("docs", uri))
    return _LINK.sub(lambda link: moved(link.group(), source, uri, files), markdown)


def moved(link: str, source: str, uri: str, files: Files) -> str:
    """Return where a link of the repository leads on the site.

    Args:
        link: as it stands in a file, without a part behind #.
        source: the file that it stands in, from the root.
        uri: the page of that file.
        files: of the site.
    """
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    inside = posixpath.relpath(target, "docs")
    pages = {**{file: page for page, file in PAGES.items()}, target: _page_of(inside)}
    if files.get_file_from_path(pages[target]):
        return posixpath.relpath(pages[target], posixpath.dirname(uri))
    if not os.path.exists(ROOT / target):
        return link  # which a strict build then names
    return f"{_repository()}/blob/main/{target}"


def _page_of(path: str) -> str:
    """Return the page of a file in docs/."""
    return posixpath.splitext(path)[0] + ".md" if path.endswith(".ipynb") else path


def _repository() -> str:
    """Return the address of the repository, of which there is one definition."""
    (address,) = _ADDRESS.findall((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(address)
