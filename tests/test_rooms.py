"""The rooms of the package: imports run one way through them, and few know of a large library."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import tandem_hw
from tests.helpers.project import ROOT

PACKAGE = Path(tandem_hw.__file__).parent
#: From the top down. A module imports from its own room and from the lines below, never from
#: another room of its line; without a room of its own, it belongs to the folder above.
LINES: tuple[tuple[str, ...], ...] = (
    *(
        ("__init__",),
        ("examples.__main__",),
        ("__main__",),
        ("cli",),
        ("report",),
        ("sweep",),
        ("conformance",),
        ("verification",),
        ("sim.registry",),
    ),
    ("sim.loihi2", "sim.lava_cpu", "sim.c", "sim.sana_fe"),  # the backends
    *(("sim.graph",), ("sim.child",), ("sim",)),
    ("conversion.onnx", "conversion.preparation"),
    *(("conversion",), ("export",), ("training",)),
    *(("learning",), ("chip",), ("data",), ("zoo",), ("arithmetic",), ("network",)),
    *(
        ("examples",),
        ("npz_in_parts",),
        ("pointer_file",),
        ("atomic_write",),
        ("temporaries",),
        ("user_warnings",),
        ("ranges",),
        ("errors",),
    ),
    ("counted", "deferred_import", "html_table", "plain_text", "version"),
)
#: The rooms whose modules may import a library.
LIBRARIES = {
    "lava": {"sim.graph", "sim.lava_cpu", "sim.loihi2"},
    "distributed": {"sweep"},
    "scipy": {"chip", "sim.graph"},
    "sanafe": {"sim.sana_fe"},
    "torch": {"cli", "sim", "sim.loihi2", "conversion", "export", "training", "learning", "zoo"}
    | {"arithmetic", "conversion.onnx", "conversion.preparation"},
    "onnx": {"conversion.onnx"},
}
#: The rooms that reach PyTorch by no way.
WITHOUT_TORCH = {"chip", "data", "network", "sweep"}
LARGEST_FOLDER = 14

Graph = Mapping[str, set[str]]


def imported(source: str, modules: set[str]) -> Iterator[str]:
    """Yield what a module imports, wherever in it: modules of ours, and libraries by their name."""
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            found = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in modules else str(node.module) for name in found]
        yield from (name if name in modules else name.partition(".")[0] for name in names)


@cache
def read_graph() -> Graph:
    """Return what every module of the package imports."""
    paths = {
        ".".join(("tandem_hw", *path.relative_to(PACKAGE).with_suffix("").parts)): path
        for path in PACKAGE.rglob("*.py")
    }
    return {
        name: set(imported(path.read_text(encoding="utf-8"), set(paths)))
        for name, path in paths.items()
    }


def room_of(module: str) -> tuple[int, str]:
    """Return the line and the room of a module."""
    name = module.removeprefix("tandem_hw.")
    fits = [
        (len(room), line, room)
        for line, rooms in enumerate(LINES)
        for room in rooms
        if f"{name}.".startswith(f"{room}.")
    ]
    assert fits, f"{module} is in no room"
    return max(fits)[1:]


def faults(graph: Graph) -> Iterator[str]:
    """Yield in words what is wrong with the imports."""
    for module, names in graph.items():
        line, room = room_of(module)
        for name in sorted(names):
            if name in graph:
                lower, other = room_of(name)
                if other != room and lower <= line:
                    yield f"{module} imports {name}, which is not below it"
            elif room not in LIBRARIES.get(name, {room}):
                yield f"{module} imports {name}"
        if room in WITHOUT_TORCH and "torch" in reached(module, graph):
            yield f"{module} reaches torch"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield f"a circle: {' -> '.join(error.args[1])}"


def reached(module: str, graph: Graph) -> set[str]:
    """Return what a module imports, and what that imports, and so on."""
    found, ahead = set[str](), [module]
    while ahead:
        new = graph.get(ahead.pop(), set()) - found
        found |= new
        ahead += new
    return found


def test_imports_run_one_way_through_the_rooms() -> None:
    graph = read_graph()
    assert len(graph) > 120
    assert {room_of(module)[1] for module in graph} == {room for rooms in LINES for room in rooms}
    assert list(faults(graph)) == []


@pytest.mark.parametrize(
    ("module", "line", "fault"),
    [
        ("export.net_file", "from tandem_hw.sim.backend import x", "sim.backend, which is not"),
        ("network.wiring", "    from tandem_hw.cli import options", "cli.options, which is not"),
        ("sim.loihi2.job", "from tandem_hw.sim.lava_cpu import job", "lava_cpu.job, which is not"),
        ("sim.lava_cpu.job", "import tandem_hw.sim.loihi2.job", "loihi2.job, which is not below"),
        ("network.layers", "import tandem_hw.network.quantized", "circle: tandem_hw.network."),
        ("sim.lava_cpu.job", "import torch.nn", "imports torch"),
        ("verification.step", "from lava.proc.lif import process", "imports lava"),
        ("network.bounds", "import scipy.sparse as sparse", "imports scipy"),
        ("chip.timing", "from tandem_hw.zoo.models import build", "reaches torch"),
    ],
)
def test_a_wrong_import_is_found(module: str, line: str, fault: str) -> None:
    graph = dict(read_graph())
    module = f"tandem_hw.{module}"
    found = set(imported(f"if True:\n{line}" if line[0] == " " else line, set(graph)))
    graph[module] = graph[module] | found
    assert any(fault in text for text in faults(graph))


def test_no_folder_is_too_large() -> None:
    folders = Counter(
        path.parent for path in PACKAGE.rglob("*.py") if not path.name.startswith("__")
    )
    assert len(folders) > 15
    assert max(folders.values()) <= LARGEST_FOLDER


@pytest.mark.parametrize("name", ["export", "sim"])
def test_links_at_the_top_level_lead_into_the_package(name: str) -> None:
    link = PACKAGE.parent / name
    assert link.is_symlink()
    assert link.readlink() == Path("tandem_hw", name)
    assert link.samefile(PACKAGE / name)


def test_tests_lie_in_the_rooms_of_what_they_test() -> None:
    """Beside ``tests/helpers``, where no test is, and the root, which watches the whole.

    ``tests/benchmarks`` tests what lies beside the package.
    """
    tests, helpers = ROOT / "tests", ROOT / "tests" / "helpers"
    modules = [path for path in tests.rglob("*.py") if helpers not in path.parents]
    rooms = {path.parent.relative_to(tests) for path in modules}
    assert len(rooms) > 15
    places = [PACKAGE, ROOT]
    assert [room for room in rooms if not any((one / room).is_dir() for one in places)] == []
    own = ("__init__.py", "conftest.py")
    assert [path for path in modules if not path.match("test_*.py") and path.name not in own] == []
    assert not list(helpers.rglob("test_*.py"))
    assert all((tests / room / "__init__.py").exists() for room in rooms)


def test_no_test_is_imported_by_another_module() -> None:
    folders = (ROOT / "tests", ROOT / "hw_tests", ROOT / "benchmarks")
    modules = [path for folder in folders for path in folder.rglob("*.py")]
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in modules
        if path.match("test_*.py")
    }
    assert len(names) > 90
    found = {
        str(path.relative_to(ROOT)): names & set(imported(path.read_text(encoding="utf-8"), names))
        for path in modules
    }
    assert {path: wrong for path, wrong in found.items() if wrong} == {}
