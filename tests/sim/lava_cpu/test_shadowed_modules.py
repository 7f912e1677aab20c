"""Files that have the names of modules, lying where a user works, never run in the Lava child."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from tandem_hw.export.net_file import write_net
from tandem_hw.sim.lava_cpu import backend as lava_cpu
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import compare
from tests.helpers.networks import random_inputs, small_network

_ABSENT = LavaCpuBackend().why_unavailable()
pytestmark = [
    pytest.mark.skipif(_ABSENT is not None, reason=str(_ABSENT)),
    pytest.mark.timeout(120),
]

KINDS = ("packages", "modules", "parts")
#: A worker that leaves the names of all modules that it has imported when it leaves.
_LISTING = """
import sys
from pathlib import Path
from tandem_hw.sim.child import one_job
from tandem_hw.sim.lava_cpu import worker as lava_worker

def leave(status, leave=one_job.leave):
    Path(__file__).with_name("modules.txt").write_text("\\n".join(sys.modules))
    leave(status)

one_job.leave = leave
main = lava_worker.main
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the names of what a real child imports, and of the whole standard library."""
    folder = tmp_path_factory.mktemp("listing")
    (folder / "listing_worker.py").write_text(_LISTING)
    network = small_network("subtract", 3)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        patched.setattr(lava_cpu, "WORKER", "listing_worker")
        LavaCpuBackend().run(network, random_inputs(network, 1))
    found = (folder / "modules.txt").read_text().splitlines()
    for name in ("scipy.sparse", "lava.proc.lif.models", "tandem_hw.sim.lava_cpu.graph", "queue"):
        assert name in found
    return sorted({*found, *sys.stdlib_module_names} - {"__main__", "listing_worker"})


def _lay(folder: Path, modules: Iterable[str], *, kind: str) -> Path:
    """Fill a folder with files that note that they were run.

    Args:
        folder: is made.
        modules: full names.
        kind: "packages" that hold each other, "modules" at the top level, or "parts" of namespaces.
    """
    trap = (
        f"with open({str(folder.parent / 'ran.txt')!r}, 'a') as file:\n    file.write(__file__)\n"
    )
    for name in modules:
        path = folder.joinpath(*name.split("."))
        if kind == "packages":
            path.mkdir(parents=True, exist_ok=True)
            (path / "__init__.py").write_text(trap)
        elif kind == "parts":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".py").write_text(trap)
        elif "." not in name:
            folder.mkdir(exist_ok=True)
            (folder / f"{name}.py").write_text(trap)
    return folder


@pytest.fixture
def traps(tmp_path: Path, modules: list[str]) -> list[Path]:
    folders = [_lay(tmp_path / kind, modules, kind=kind) for kind in KINDS]
    assert all(len(list(folder.rglob("*.py"))) > 300 for folder in folders)
    return folders


def _pythonpath(traps: list[Path]) -> str:
    return os.pathsep.join([*map(str, traps), "", os.environ.get("PYTHONPATH", "")])


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(0, id="packages"),
        pytest.param(1, id="modules", marks=pytest.mark.exhaustive),
        pytest.param(2, id="parts", marks=pytest.mark.exhaustive),
    ],
)
def test_nothing_in_the_current_folder_or_in_pythonpath_is_run(
    traps: list[Path], monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    network = small_network("subtract", 3)
    inputs = random_inputs(network, 2)
    expected = ReferenceBackend().run(network, inputs)
    assert any(counts.any() for counts in expected.counts.values())
    monkeypatch.chdir(traps[first])
    monkeypatch.setenv("PYTHONPATH", _pythonpath([*traps[first:], *traps[:first]]))
    recording = LavaCpuBackend().run(network, inputs)
    assert not (traps[0].parent / "ran.txt").exists()
    compare(network, [expected, recording]).require_match()


@pytest.mark.parametrize("kind", KINDS)
def test_the_traps_would_be_noticed(tmp_path: Path, kind: str) -> None:
    name = "lava.proc.lif.models"
    folder = _lay(tmp_path / kind, [name, "lava"], kind=kind)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    subprocess.run([sys.executable, "-c", f"import {name}"], env=environment, capture_output=True)
    assert str(folder) in (tmp_path / "ran.txt").read_text()


#: What the script does that pip makes: its own folder is on the path, not the current one.
_SCRIPT = "import sys; sys.path.insert(0, {root!r}); from tandem_hw.cli import main; main()"


@pytest.mark.exhaustive
@pytest.mark.parametrize("way", ["console script", "python -m"])
def test_a_command_in_a_folder_of_ones_own_modules_gives_the_right_answer(
    tmp_path: Path, modules: list[str], way: str
) -> None:
    network = small_network("subtract", 3)
    write_net(network, tmp_path / "model.net")
    images = np.zeros((3, *network.input.shape), np.uint8)
    np.savez(tmp_path / "data.npz", x_test=images + 200, y_test=np.zeros(3, np.int64))
    # What ``-m`` itself imports before the first line of ours is beyond reach.
    theirs = modules if way == "console script" else ["queue", "scipy", "lava", "h5py", "click"]
    here = tmp_path / "here"
    if way == "console script":
        _lay(here, theirs, kind="packages")
    else:
        here.mkdir()
        for name in theirs:
            (here / f"{name}.py").write_text(f"raise SystemExit('{name} ran')")
    root = str(Path(lava_cpu.__file__).parents[3])
    start = {
        "console script": ["-I", "-c", _SCRIPT.format(root=root)],
        "python -m": ["-m", "tandem_hw"],
    }[way]
    environment = {**os.environ, "PYTHONPATH": root}
    result = subprocess.run(
        [sys.executable, *start, "verify", tmp_path / "model.net",
         "--data", f"npz:{tmp_path / 'data.npz'}"],
        cwd=here, env=environment, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert not (tmp_path / "ran.txt").exists()
    assert "MATCH" in result.stdout, result.stdout + result.stderr
    assert result.returncode == 0
