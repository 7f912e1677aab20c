"""Every command line in the documents is one: its command, options and choices exist."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from benchmarks.__main__ import main as benchmarks
from tandem_hw.cli import main
from tandem_hw.errors import FileFormatError
from tests.helpers.project import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "Makefile"])
NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))
#: What stands before the name of a command, in the order in which it is looked for.
PROGRAMS = {"python -m benchmarks": benchmarks, "-m tandem_hw": main, "tandem-hw": main}
STARTS = re.compile(rf"(?:^|[\s/!])({'|'.join(map(re.escape, PROGRAMS))})\s+(?=\S)")
#: Code within a line, and lines of code: indented, or in a Makefile.
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINE = re.compile(r"^(?: {4,}|\t|!).*(?:\\\n.*)*", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
#: A word that stands for what a reader puts in: DATA, N, FILE.png, OPTION=V,V; and for what is left
#: out.
STANDS_FOR = re.compile(r"\[?[A-Z][A-Z_]*\b.*|.*…|\.\.\.|\$.*")
#: What looks like a command and is none: what a file says that it is.
NO_COMMANDS = {"network"}
#: Where a shell goes on with another program.
ENDS = {"|", "&&", "||", ";", ">", "2>&1"}

Line = tuple[str, str, str]


def codes(path: Path) -> Iterator[str]:
    """Yield pieces of code of a file, each without the ends of its lines."""
    text = path.read_text(encoding="utf-8")
    if path in NOTEBOOKS:
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells)
    for block in FENCED.findall(text):
        yield from block.splitlines()
    text = FENCED.sub("", text)
    lines = LINE.findall(text)
    yield from (line.replace("\\\n", " ") for line in lines if "`" not in line)
    yield from (" ".join(span.split()) for span in SPAN.findall(text))


def command_lines() -> Iterator[Line]:
    """Yield the document, the program and the words behind it of all command lines."""
    for path in (*DOCUMENTS, *NOTEBOOKS):
        for code in codes(path):
            found = STARTS.search(code)
            if found is None or code.lstrip().startswith("#"):
                continue
            text = code[found.end() :]
            if text not in NO_COMMANDS:
                yield path.name, found[1], text


LINES = sorted(set(command_lines()))


def check(program: str, text: str) -> None:
    """Refuse words that no command takes.

    Raises:
        click.UsageError: as the command would.
    """
    words = shlex.split(text, comments=True)
    words = words[: next((n for n, word in enumerate(words) if word in ENDS), len(words))]
    group = PROGRAMS[program]
    assert isinstance(group, click.Group)
    context = click.Context(group, info_name=program)
    while words and words[0] in ("-h", "--help", "--version"):
        return
    if not words or STANDS_FOR.fullmatch(words[0]):
        return
    name, command, rest = group.resolve_command(context, words)
    assert command is not None
    context = click.Context(command, info_name=name)
    rest = [word for word in rest if word not in ("…", "...")]
    if rest and rest[-1] in {name for one in command.params for name in one.opts}:
        rest.pop()  # which names the option and leaves its value to the reader
    values, left, _ = command.make_parser(context).parse_args(rest)
    if left:
        raise click.UsageError(f"{left} are too many")
    for parameter in command.params:
        given = values.get(parameter.name)
        for value in given if isinstance(given, list | tuple) else [given]:
            if isinstance(value, str) and not STANDS_FOR.fullmatch(value):
                convert(parameter, value, context)


def convert(parameter: click.Parameter, value: str, context: click.Context) -> None:
    """Refuse a value that a parameter does not take; a file of the reader's is not there."""
    try:
        parameter.type.convert(value, parameter, context)
    except FileFormatError as error:
        if "there is no such file" not in str(error):
            raise


def test_there_are_command_lines_of_every_command() -> None:
    assert len(LINES) > 100
    named = {(program, text.split()[0]) for _, program, text in LINES}
    assert isinstance(main, click.Group)
    commands = main.list_commands(click.Context(main))
    assert {("tandem-hw", command) for command in commands} <= named
    assert any(name.endswith(".ipynb") for name, _, _ in LINES)


@pytest.mark.parametrize(("document", "program", "text"), LINES)
def test_a_command_line_can_be_read(document: str, program: str, text: str) -> None:
    check(program, text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("trian digits --out a", "No such command 'trian'"),
        ("train digits --modle lenet", "No such option '--modle'"),
        ("train digits --model lenot", "'lenot' is not one of 'mlp'"),
        ("train digits --epochs 0", "0 is not in the range"),
        ("simulate a.net b.net", "'b.net'"),
        ("export --out --simulation-only a.pt b.pt", "too many"),
        ("inspect example:soup", "is no example"),
    ],
)
def test_a_wrong_line_is_found(text: str, fault: str) -> None:
    with pytest.raises(Exception, match=re.escape(fault)):
        check("tandem-hw", text)
