from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import tandem_hw
from tandem_hw.errors import TandemError

#: The only modules that may import Lava.
LAVA_MODULES = (
    "tandem_hw.sim.graph.processes.",
    "tandem_hw.sim.graph.free_running",
    "tandem_hw.sim.graph.layers",
    "tandem_hw.sim.graph.parameters",
    "tandem_hw.sim.graph.stock_neurons",
    "tandem_hw.sim.graph.synapses",
    "tandem_hw.sim.lava_cpu.graph",
    "tandem_hw.sim.loihi2.graph",
)
#: The one module that imports SANA-FE.
SANA_FE_MODULE = "tandem_hw.sim.sana_fe.chip_network"
#: A child that says which modules it has loaded after running some code.
CHILD = "import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"


def loaded_after(code: str) -> list[str]:
    root = str(Path(tandem_hw.__file__).parents[1])
    code = f"sys.path.insert(0, {root!r})\n{code}"
    child = subprocess.run(
        [sys.executable, "-c", CHILD.format(code=code)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    modules = json.loads(child.stdout.splitlines()[-1])
    assert "json" in modules
    return [str(name) for name in modules]


def belonging_to(package: str, modules: list[str]) -> list[str]:
    return [name for name in modules if name == package or name.startswith(f"{package}.")]


def own_modules() -> list[str]:
    found = [
        module.name
        for module in pkgutil.walk_packages(tandem_hw.__path__, "tandem_hw.")
        if not module.name.startswith((*LAVA_MODULES, SANA_FE_MODULE))
    ]
    assert len(found) > 25
    return found


def test_no_module_imports_lava_but_the_ones_that_build_its_graph() -> None:
    modules = own_modules()
    code = "import importlib\n" + "".join(f"importlib.import_module({m!r})\n" for m in modules)
    loaded = loaded_after(code)
    assert set(modules) <= set(loaded)
    assert [name for name in loaded if name.startswith(("lava", "sanafe"))] == []


def test_importing_the_package_loads_neither_torch_nor_h5py() -> None:
    loaded = loaded_after("import tandem_hw")
    assert belonging_to("tandem_hw", loaded) == ["tandem_hw"]
    for package in ("torch", "h5py", "numpy", "lava"):
        assert belonging_to(package, loaded) == []


@pytest.mark.parametrize("arguments", [["--help"], ["verify", "--help"]])
def test_help_does_not_import_lava(arguments: list[str]) -> None:
    code = (
        "from tandem_hw.cli import main\n"
        f"try:\n    main({arguments!r})\n"
        "except SystemExit as error:\n    assert not error.code\n"
    )
    loaded = loaded_after(code)
    assert "tandem_hw.cli" in loaded
    assert [name for name in loaded if name.startswith("lava")] == []


def test_every_public_name_resolves() -> None:
    assert len(tandem_hw.__all__) > 10
    for name in tandem_hw.__all__:
        assert getattr(tandem_hw, name).__name__ == name


def test_public_names_are_sorted_and_each_once() -> None:
    assert sorted(set(tandem_hw.__all__)) == list(tandem_hw.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'verfy'"):
        _ = tandem_hw.verfy


def test_every_error_of_ours_is_a_tandem_error() -> None:
    errors = importlib.import_module("tandem_hw.errors")
    classes = [item for item in vars(errors).values() if isinstance(item, type)]
    assert len(classes) > 5
    assert all(issubclass(item, TandemError) for item in classes)
