"""Data sets, networks, recipes, backends: help and documents name all there are, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click
import pytest

from tandem_hw import load_dataset
from tandem_hw.cli import main
from tandem_hw.cli.given.model_name import model_file_of
from tandem_hw.errors import DataError
from tandem_hw.network.choices import ENCODINGS
from tandem_hw.sim.registry import BACKENDS
from tandem_hw.zoo.catalogue import MODELS
from tandem_hw.zoo.recipes import RECIPES
from tests.helpers.project import ROOT

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")), ROOT / "Makefile")
}
with pytest.raises(DataError, match="is unknown; known are") as unknown:
    load_dataset("?")
DATA_SETS = str(unknown.value).partition("known are ")[2].split(", ")
#: Places in commands that hold a name; "NAME", "A,B" and the like stand for any.
NAMED_IN_COMMANDS = {
    "data": re.compile(r"(?:--data|tandem-hw train|tandem_hw train) ([^\s`]+)"),
    "model": re.compile(r"--model ([^\s`]+)"),
    "recipe": re.compile(r"--recipe ([^\s`]+)"),
    "backend": re.compile(r"--backends? ([^\s`]+)"),
}
TABLES = {"data": DATA_SETS, "model": MODELS, "recipe": RECIPES, "backend": BACKENDS}


def command(name: str) -> click.Command:
    assert isinstance(main, click.Group)
    found = main.get_command(click.Context(main), name)
    assert found is not None
    return found


def names_in_table(page: str, section: str) -> list[str]:
    """Return the first word of everything in backticks in the first column of a section's table."""
    text = PAGES[page].partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert table is not None
    cells = [row.split("|")[1] for row in table.group().splitlines()]
    return [name.split()[0].strip('"') for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize(
    ("page", "section", "names"),
    [
        ("README.md", "Data", DATA_SETS),
        ("README.md", "Backends", BACKENDS),
        ("docs/networks.md", "Networks that come with it", MODELS),
        ("docs/training.md", "Recipes", RECIPES),
        ("docs/arithmetic.md", "The input", ENCODINGS),
    ],
)
def test_a_table_names_all_there_are_and_no_other(
    page: str, section: str, names: Iterable[str]
) -> None:
    assert set(names_in_table(page, section)) == set(names)


def test_the_page_on_net_files_names_all_encodings() -> None:
    (row,) = re.findall(r"^\| `input_encoding` \|(.*)$", PAGES["docs/net-format.md"], re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == list(ENCODINGS)


def test_the_page_on_events_names_the_same_data_sets_of_events_as_the_readme() -> None:
    rows = [row.split("|") for row in PAGES["README.md"].splitlines() if row.startswith("| `")]
    of_events = {
        name for row in rows if row[2].startswith(" events") for name in row[1].split("`")[1::2]
    }
    assert of_events <= set(DATA_SETS)
    page = re.search(r"(?:^\|.*\n)+", PAGES["docs/event-data.md"], re.MULTILINE)
    assert page is not None
    assert set(re.findall(r"^\| `([^`]+)`", page.group(), re.MULTILINE)) == of_events


@pytest.mark.parametrize("kind", TABLES)
def test_commands_in_documents_name_what_there_is(kind: str) -> None:
    found = [name for page in PAGES.values() for name in NAMED_IN_COMMANDS[kind].findall(page)]
    found = [re.sub(r"^(npz|npy|folder|events):.*", r"\1:PATH", name) for name in found]
    names = {part.rstrip(".,;") for name in found for part in name.split(",")}
    names = {name for name in names if not re.fullmatch(r"[A-Z]+|-.*|…", name)}
    if kind == "model":
        names = {name for name in names if model_file_of(name) is None}
    assert names
    assert names <= set(TABLES[kind])


@pytest.mark.parametrize(
    ("name", "option", "names"),
    [
        ("train", "model", MODELS),
        ("train", "recipe", RECIPES),
        ("convert", "model", MODELS),
        ("simulate", "backend", BACKENDS),
    ],
)
def test_an_option_offers_all_there_are(name: str, option: str, names: Iterable[str]) -> None:
    (parameter,) = [
        one for one in command(name).params if f"--{option}" in (*one.opts, *one.secondary_opts)
    ]
    assert isinstance(parameter.type, click.Choice)
    assert list(parameter.type.choices) == list(names)


@pytest.mark.parametrize("name", ["train", "convert", "simulate", "verify", "deploy"])
def test_the_help_of_a_command_names_all_data_sets_and_no_other(name: str) -> None:
    found = command(name)
    options = [one for one in found.params if isinstance(one, click.Option)]
    texts = [one.help or "" for one in options if "--data" in one.opts] or [found.help or ""]
    if name == "train":  # an argument, described in the text
        words = set(re.findall(r"[\w:-]+", texts[0]))
        assert words >= set(DATA_SETS)
    else:
        (listed,) = re.findall(r"Data set: ([^;]*);", texts[0])
        assert listed.split(", ") == DATA_SETS
