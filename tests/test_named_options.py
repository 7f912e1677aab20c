"""Options that a message, a help text or a page names are options that there are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import tandem_hw
from tandem_hw.cli import main
from tandem_hw.cli.group import COMMANDS
from tests.helpers.project import ROOT

PACKAGE = Path(tandem_hw.__file__).parent
#: Not what a style sheet calls a variable, ``var(--name)``.
OPTION = re.compile(r"(?<![\w-])(?<!var\()--[a-z][a-z-]*[a-z]")
#: A command with what follows it in its sentence.
COMMAND = re.compile(rf"tandem-hw ({'|'.join(COMMANDS)})\b([^.;]*)")
#: Options of other programs, by the modules that name them.
OF_OTHERS = {
    "training/loop.py": {"--nproc-per-node"},  # torchrun
    "sim/loihi2/host.py": {"--noheader", "--format"},  # sinfo
    "sim/c/compiler.py": {"--install"},  # xcode-select
    "cli/completion/shells.py": {"--no-files", "--command", "--arguments"},  # fish's complete
}


def options_of(name: str) -> set[str]:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    with click.Context(command, info_name=name) as context:
        return {option for one in command.get_params(context) for option in one.opts}


OPTIONS = {name: options_of(name) for name in COMMANDS}
ALL = {option for options in OPTIONS.values() for option in options} | {"--version"}


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a module, an f-string as one, with a word for what is put in."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {id(part) for node in ast.walk(tree) for part in parts_of(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(map(text_of, node.values))
        elif isinstance(node, ast.Constant) and id(node) not in inside:
            yield node.lineno, node.value if isinstance(node.value, str) else ""


def parts_of(node: ast.AST) -> list[ast.expr]:
    return node.values if isinstance(node, ast.JoinedStr) else []


def text_of(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else "X"


MODULES = [
    pytest.param(path, id=str(path.relative_to(PACKAGE)))
    for path in sorted(PACKAGE.rglob("*.py"))
    if "--" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("path", MODULES)
def test_a_text_names_options_that_there_are(path: Path) -> None:
    others = OF_OTHERS.get(str(path.relative_to(PACKAGE)), set())
    unknown = [
        f"line {line}: {option}"
        for line, text in literals(path)
        for option in OPTION.findall(text)
        if option not in ALL | others
    ]
    assert not unknown
    for line, text in literals(path):
        for name, rest in COMMAND.findall(text):
            missing = set(OPTION.findall(rest)) - OPTIONS[name] - others
            assert not missing, f"line {line}: tandem-hw {name} has no {missing}"


@pytest.mark.parametrize("path", [one for one in MODULES if "sim/" in str(one.id)])
def test_a_backend_s_message_names_no_option_that_one_of_its_commands_lacks(path: Path) -> None:
    """``simulate`` has --backend and ``verify`` --backends: a message of both can name neither."""
    for line, text in literals(path):
        for option in {"--backend", "--backends"} & set(OPTION.findall(text)):
            named = {name for name, _ in COMMAND.findall(text)}
            assert named, f"line {line} does not say of which command {option} is"
            assert all(option in OPTIONS[name] for name in named), f"line {line}"


def test_options_of_other_programs_are_no_old_entries() -> None:
    for name, options in OF_OTHERS.items():
        found = {option for _, text in literals(PACKAGE / name) for option in OPTION.findall(text)}
        assert options <= found


PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_command_line_of_a_page_has_the_options_of_its_command(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        for part in re.split(r"`|&&|\|", line):
            called = re.match(rf"\s*(?:\S+/)?tandem-hw ({'|'.join(COMMANDS)})\b(.*)", part)
            if called is not None:
                missing = set(OPTION.findall(called[2])) - OPTIONS[called[1]] - {"--help"}
                assert not missing, part
