"""docs/architecture.md says what is there: paths, rooms, and which modules an addition touches."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from tandem_hw.network.quantized import Encoding
from tests.helpers.project import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PATH = re.compile(r"`((?:tandem_hw|tests|hw_tests|benchmarks|environment|docs)/[^`]*)`")
MODULES = sorted((ROOT / "tandem_hw").rglob("*.py"))
#: Cases and the oracle have examples of everything, as tests have.
SUITE = ROOT / "tandem_hw" / "conformance"
#: Where kinds of layers are used and not defined.
NO_DEFINITIONS = "tandem_hw/zoo/"


@cache
def names_in(module: Path) -> set[str]:
    """Return the names in the code of a module, and its texts in quotes; comments do not count.

    Nor do names of optional parts of the installation, of which one is called as an encoding is.
    """
    found: set[str] = set()
    nodes = list(ast.walk(ast.parse(module.read_text(encoding="utf-8"))))
    extras: set[ast.AST] = set()
    for node in nodes:
        match node:
            case ast.Call(func=ast.Name(id="how_to_install"), args=arguments):
                extras.update(arguments)
    for node in nodes:
        if node in extras:
            continue
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                found.add(name)
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                found.add(name)
            case ast.Constant(value=str(text)):
                found.add(f'"{text}"')
    return found


def modules_that_name(*examples: str) -> set[str]:
    """Return the modules whose code has a name, or a text of it; in quotes, the text alone."""
    wanted = {*examples, *(f'"{example}"' for example in examples)}
    return {
        module.relative_to(ROOT).as_posix()
        for module in MODULES
        if SUITE not in module.parents and names_in(module) & wanted
    }


def section(title: str, mark: str = "###") -> str:
    after = PAGE.partition(f"\n{mark} {title}\n")[2]
    assert after
    return re.split(rf"^#{{2,{len(mark)}}} ", after, maxsplit=1, flags=re.MULTILINE)[0]


def first_column(text: str) -> set[str]:
    return set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))


def test_every_path_on_the_page_exists() -> None:
    paths = PATH.findall(PAGE)
    assert len(paths) > 50
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_room_and_every_module_beside_the_rooms_is_described() -> None:
    package = ROOT / "tandem_hw"
    rooms = {
        f"{room.parent.relative_to(ROOT).as_posix()}/" for room in package.rglob("__init__.py")
    }
    modules = {f"tandem_hw/{module.name}" for module in package.glob("[!_]*.py")}
    assert first_column(section("The rooms", "##")) == rooms - {"tandem_hw/"} | modules


def test_modules_named_in_a_row_of_a_room_are_in_that_room() -> None:
    missing = [
        f"{room}{module}"
        for room, text in re.findall(r"^\| `(tandem_hw/[^`]*/)` \| (.*)$", PAGE, re.MULTILINE)
        for module in re.findall(r"`(\w+\.py)`", text)
        if not (ROOT / room / module).exists()
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("title", "examples", "of_its_own"),
    [
        (
            "A layer kind",
            ("ConvTranspose2d", "TransposedGeometry", "TandemConvTranspose2d", '"conv_transpose"'),
            NO_DEFINITIONS,
        ),
        ("A backend", ("LavaCpuBackend", '"lava-cpu"'), "tandem_hw/sim/lava_cpu/"),
        ("A data set", ('"nmnist"',), "no folder"),
        (
            "An encoding",
            tuple(f'"{name}"' for name in get_args(Encoding)),
            "tandem_hw/data/recordings/",  # where a file's parts are called as an encoding is
        ),
        ("An export format", ("write_nir", "read_nir", "is_nir"), "tandem_hw/export/nir_"),
    ],
)
def test_what_an_addition_touches_is_listed(
    title: str, examples: tuple[str, ...], of_its_own: str
) -> None:
    naming = {name for name in modules_that_name(*examples) if not name.startswith(of_its_own)}
    assert [example for example in examples if f"`{example}`" not in section(title)] == []
    assert [example for example in examples if not modules_that_name(example)] == []
    assert first_column(section(title)) == naming
