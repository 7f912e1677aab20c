"""A report as one HTML file that loads nothing: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tandem_hw.atomic_write import write_whole
from tandem_hw.plain_text import plain
from tandem_hw.report.page.content import Page
from tandem_hw.version import installed_version

_TEMPLATE: Final = Path(__file__).with_name("template.html")


def write_page(page: Page, path: Path) -> None:
    """Write a report, whole or not at all.

    Args:
        page: what it says.
        path: an .html file (``require.require_report``).

    Raises:
        FileFormatError: the file cannot be written.
    """
    write_whole(path, rendered(page).encode())


def rendered(page: Page) -> str:
    """Return a report as HTML; every text in it is escaped, and shows in plain characters."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Texts come from files: what would steer a reader is shown as Python writes it.
        finalize=lambda value: plain(value, longest=None) if type(value) is str else value,
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    sections = [section for section in page.sections if not section.is_empty]
    return template.render(page=page, sections=sections, version=installed_version(), svg=Markup)
