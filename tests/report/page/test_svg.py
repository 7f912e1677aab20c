"""Pictures for a page: text, colours of the page, ids of their own, the same bytes each time."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from tandem_hw.report.page.svg import INK, NAME_LENGTH, SERIES, drawn, short, svg_of
from tests.helpers.pages import looked_at

HOSTILE = '</title><script>alert("x")</script>$\\frac{1}{0}$'


def draw(figure: Any) -> None:
    axes = figure.subplots()
    axes.plot([1, 2], [3, 4], color=SERIES[0])
    axes.barh([1], [2], hatch="//", color=SERIES[1], edgecolor=INK)
    axes.set_title(HOSTILE)


def page_of(*pictures: str) -> str:
    return f"<html><body>{''.join(pictures)}</body></html>"


def test_texts_stay_texts_and_are_escaped() -> None:
    seen = looked_at(page_of(svg_of(draw, "a", HOSTILE, HOSTILE)))
    assert seen.alternatives == [HOSTILE]
    assert seen.texts.count(HOSTILE) == 3  # title, description, and the heading in the picture


def test_colours_are_those_of_the_page() -> None:
    svg = svg_of(draw, "a", "title", "description")
    assert "var(--s0)" in svg
    assert "currentColor" in svg
    assert not any(color in svg for color in (INK, *SERIES))


def test_pictures_of_a_page_do_not_share_ids() -> None:
    looked_at(page_of(*(svg_of(draw, key, "title", "description") for key in "ab")))
    twice = svg_of(draw, "a", "title", "description")
    assert page_of(twice, twice).count('id="a-title"') == 2  # what the line above looks for


def test_the_same_picture_has_the_same_bytes_whatever_the_users_settings() -> None:
    first = svg_of(draw, "a", "title", "description")
    file = drawn(draw, 3, 2, "svg")
    with matplotlib.rc_context({"lines.linewidth": 9, "svg.fonttype": "path", "font.size": 30}):
        assert svg_of(draw, "a", "title", "description") == first
        assert drawn(draw, 3, 2, "svg") == file
        assert matplotlib.rcParams["font.size"] == 30


def test_letters_that_no_font_here_has_give_no_warning() -> None:
    def draw_title(figure: Any) -> None:
        figure.suptitle("猫 \U0001f408")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = svg_of(draw_title, "a", "猫", "猫")
    assert svg.count("猫") == 3


@pytest.mark.parametrize(("name", "shown"), [("conv1", "conv1"), ("a\x1b[2J", "a\\x1b[2J")])
def test_names_are_shown_in_plain_characters(name: str, shown: str) -> None:
    assert short(name) == shown


def test_long_names_are_cut_with_a_sign() -> None:
    assert short("n" * 99) == "n" * (NAME_LENGTH - 1) + "…"


def test_a_file_of_its_own_keeps_real_colours(tmp_path: Path) -> None:
    content = drawn(draw, 3, 2, "svg").decode()
    assert SERIES[0] in content
    assert "var(--" not in content
    assert drawn(draw, 3, 2, "png").startswith(b"\x89PNG")
