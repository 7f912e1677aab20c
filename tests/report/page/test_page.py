"""A page holds what it is given, escaped, and leaves out what is empty."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tandem_hw.plain_text import plain
from tandem_hw.report.page.content import (
    Cell,
    Figure,
    Page,
    Picture,
    Sample,
    Section,
    Table,
    Verdict,
    cells,
)
from tandem_hw.report.page.page import rendered, write_page
from tandem_hw.report.page.svg import svg_of
from tests.helpers.pages import looked_at

HOSTILE = "</td><script>alert('x')</script><img src=x onerror=alert(1)>\x1b[2J\u202e{{ 7*7 }}"
#: The same as it is seen.
PLAIN = HOSTILE.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
PNG = "data:image/png;base64,iVBORw0KGgo="


def entitled(figure: Any) -> None:
    figure.suptitle(plain(HOSTILE))


def full_page() -> Page:
    """Return a page that has everything, every text of it hostile."""
    rows = ((Cell(HOSTILE), Cell("7", 0.5, True)),)
    table = Table(HOSTILE, (HOSTILE, "number"), rows, frozenset({1}), HOSTILE)
    svg = svg_of(entitled, "p", HOSTILE, HOSTILE)
    section = Section(
        "all", HOSTILE, [HOSTILE], [HOSTILE], [table], [Picture(svg, HOSTILE)],
        [Sample(PNG, HOSTILE, HOSTILE, is_strip=True)],
    )  # fmt: skip
    return Page(HOSTILE, HOSTILE, [Verdict("bad", HOSTILE)], [Figure("1", HOSTILE)], [section])


def test_whatever_a_text_says_it_is_only_shown() -> None:
    seen = looked_at(rendered(full_page()))
    assert seen.headings == [PLAIN, PLAIN]
    assert seen.alternatives == [PLAIN, PLAIN]
    assert seen.tables == [[[PLAIN, "number"], [PLAIN, "7"]]]
    assert sum(PLAIN in text for text in seen.texts) >= 14
    assert "49" not in " ".join(seen.texts)


def test_the_same_page_has_the_same_bytes() -> None:
    assert rendered(full_page()) == rendered(full_page())


def test_empty_sections_are_left_out() -> None:
    sections = [
        Section("empty", "Nothing to see"),
        *(Section(f"s{number}", f"Part {number}", ["words"]) for number in range(3)),
    ]
    seen = looked_at(rendered(Page("title", "command", [], sections=sections)))
    assert seen.headings == ["title", "Part 0", "Part 1", "Part 2"]
    assert "Nothing to see" not in seen.texts
    assert seen.texts.count("Part 1") == 2  # its heading and the way to it


def test_shades_leave_figures_legible() -> None:
    rows = ((Cell("a"), Cell("9", 1.0), Cell("1", 0.1, True)),)
    section = Section("s", "S", tables=[Table("t", ("x", "y", "z"), rows)])
    page = rendered(Page("t", "c", [], sections=[section]))
    assert "rgba(var(--miss), 0.35)" in page
    assert "rgba(var(--hit), 0.11)" in page


def luminance(color: str) -> float:
    """Return the relative luminance of WCAG 2."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mixed(over: str, ground: str, share: float) -> str:
    """Return a colour of some opacity over another one."""
    parts = [
        round(share * int(one) + (1 - share) * int(ground[at : at + 2], 16))
        for one, at in zip(over.split(","), (1, 3, 5), strict=True)
    ]
    return "#" + "".join(f"{part:02x}" for part in parts)


def test_texts_have_the_contrast_that_readers_need() -> None:
    """WCAG 2 AA: 4.5 for texts, 3 for lines of pictures."""
    style = rendered(Page("t", "c", []))
    themes = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(themes) == 3  # light, dark and print
    for theme in themes:
        color = dict(re.findall(r"--([\w-]+): ([^;]+);", theme))
        grounds = [color[name] for name in ("ground", "raised", "good-ground", "bad-ground")]
        for ground in grounds:
            assert contrast(color["ink"], ground) >= 4.5
            assert contrast(color["quiet"], ground) >= 4.5
        assert contrast(color["s0"], color["ground"]) >= 4.5  # links
        for name in ("s0", "s1", "s2", "s3", "s4", "s5", "alarm", "faint"):
            assert contrast(color[name], color["ground"]) >= 3, name
        for shade in ("hit", "miss"):
            assert contrast(color["ink"], mixed(color[shade], color["ground"], 0.35)) >= 4.5


def test_a_page_is_written_whole(tmp_path: Path) -> None:
    write_page(full_page(), tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == rendered(full_page())


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        ("<p>a", "have no end"),
        ("<p></div></p>", "ends"),
        ("<script></script>", "runs code"),
        ("<img src='https://a.b/c.png' alt='a'>", "loads https"),
        ("<img src='data:,'>", "no alternative"),
        ("<svg role='img'></svg>", "no title"),
        ("<p id='a'></p><p id='a'></p>", "twice"),
        ("<a href='#b'></a>", "#b is nowhere"),
        ("<table><tr><th>a</th></tr></table>", "no scope"),
    ],
)
def test_the_look_at_a_page_finds_faults(page: str, fault: str) -> None:
    with pytest.raises(AssertionError, match=fault):
        looked_at(page)


def test_cells_are_texts() -> None:
    assert [cell.text for cell in cells("a", 1, None)] == ["a", "1", ""]
