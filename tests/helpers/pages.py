"""A report looked at as a browser, a reader without eyes and a machine without a network would."""

from __future__ import annotations

import re
from html.parser import HTMLParser

#: Elements of HTML that have no end.
VOID = {"meta", "link", "img", "br", "hr", "input"}
#: Attributes by which a page loads something, or leads somewhere.
LOADING = ("src", "href", "srcset", "data", "poster", "action", "xlink:href")


class Seen(HTMLParser):
    """What is in a page, and what is wrong with it.

    Attributes:
        faults: in words.
        texts: texts of the elements that are seen, in their order.
        headings: texts of h1 and h2.
        alternatives: titles of pictures and alt texts of images.
        tables: by caption, the texts of their cells row by row.
    """

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.texts: list[str] = []
        self.headings: list[str] = []
        self.alternatives: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.ids: list[str] = []
        self._named: list[str] = []
        self._open: list[str] = []
        self._titled: list[bool] = []
        self.feed(page)
        self.close()
        self._finish(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._look(tag, given)
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "svg":
            self._titled.append(False)
        elif tag == "title" and self._titled:
            self._titled[-1] = True

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._look(tag, {name: value or "" for name, value in attrs})

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.faults.append(f"</{tag}> ends {self._open[-3:]}")
        else:
            self._open.pop()
        if tag == "svg" and not self._titled.pop():
            self.faults.append("a picture has no title")

    def handle_data(self, data: str) -> None:
        text = data.strip()
        if not text or "style" in self._open:
            return
        self.texts.append(text)
        if self._open[-1] in ("h1", "h2"):
            self.headings.append(text)
        if self._open[-1] == "title" and "svg" in self._open:
            self.alternatives.append(text)
        if self._open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += text

    def _look(self, tag: str, given: dict[str, str]) -> None:
        if tag == "script" or any(name.startswith("on") for name in given):
            self.faults.append(f"<{tag}> runs code")
        if tag in ("iframe", "object", "embed", "form", "base"):
            self.faults.append(f"<{tag}> is there")
        for name in LOADING:
            value = given.get(name, "")
            if value and not value.startswith(("#", "data:")):
                self.faults.append(f"<{tag} {name}> loads {value}")
        if "url(" in given.get("style", "") and "url(#" not in given["style"]:
            self.faults.append(f"a style of <{tag}> loads something")
        if "id" in given:
            self.ids.append(given["id"])
        self._named += given.get("aria-labelledby", "").split()
        self._named += [value[1:] for value in [given.get("href", "")] if value.startswith("#")]
        self._named += re.findall(r"url\(#([^)]*)\)", " ".join(given.values()))
        if tag == "img":
            if not given.get("alt"):
                self.faults.append("an image has no alternative")
            self.alternatives.append(given.get("alt", ""))
        if tag == "svg" and given.get("role") != "img":
            self.faults.append("a picture has no role")
        if tag == "th" and given.get("scope") not in ("col", "row"):
            self.faults.append("a header of a table has no scope")

    def _finish(self, page: str) -> None:
        if self._open:
            self.faults.append(f"{self._open} have no end")
        if len(set(self.ids)) < len(self.ids):
            self.faults.append("an id is there twice")
        for name in self._named:
            if name not in self.ids:
                self.faults.append(f"#{name} is nowhere")
        style = page.partition("<style>")[2].partition("</style>")[0]
        if "url(" in style or "@import" in style:
            self.faults.append("the style loads something")
        for table in self.tables:
            if len({len(row) for row in table}) > 1:
                self.faults.append("rows of a table have unlike lengths")
        if len(page.encode()) > 3_000_000:
            self.faults.append("the page is too large")

    def table(self, header: str) -> list[list[str]]:
        """Return the rows of the first table that has a column of this name."""
        return next(table for table in self.tables if header in table[0])


def looked_at(page: str) -> Seen:
    """Return what is in a page that has no fault."""
    seen = Seen(page)
    assert not seen.faults, seen.faults
    return seen
