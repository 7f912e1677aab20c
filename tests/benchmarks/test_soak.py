"""``simulate`` over and over holds no more than before, and what would hold more is found."""

from __future__ import annotations

import mmap
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import soak as benchmark
from tandem_hw.sim.registry import make_backend

#: `make soak` does the same for longer.
pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(
        not Path("/proc/self/status").exists(), reason="looks at this process there"
    ),
]


@pytest.mark.parametrize("backend", ["reference", "c"])
def test_simulations_leave_nothing_behind(backend: str) -> None:
    if make_backend(backend).why_unavailable() is not None:
        pytest.skip("there is no compiler")
    with benchmark.simulations(backend, samples=1) as (run, folders):
        looks = benchmark.soak(run, 10, folders)
        results = {path.name for path in folders[1].iterdir()}
    assert results == {"run.npz", "run.json"}
    assert [number for number, _ in looks] == list(range(11))
    assert looks[-1][1].memory > 50 << 20
    assert looks[-1][1].files == 2
    assert benchmark.faults(looks) == []


def _filled(size: int) -> mmap.mmap:
    """Return memory that no allocator has had before."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[:] = b"x" * size
    return memory


kept: list[Any] = []
waited_for = threading.Event()
shared = [Path("/dev/shm") / f"tandem-hw-test-{uuid.uuid4().hex}" for _ in range(6)]
LEFT_BEHIND: dict[str, Callable[[Path], object]] = {
    "memory": lambda _: kept.append(_filled(1 << 20)),
    "descriptors": lambda folder: kept.append((folder / "file").open("a")),
    "threads": lambda _: threading.Thread(target=waited_for.wait).start(),
    "children": lambda _: kept.append(subprocess.Popen([sys.executable, "-c", ""])),
    "shared": lambda _: next(path for path in shared if not path.exists()).touch(),
    "files": lambda folder: (folder / uuid.uuid4().hex).touch(),
}


@pytest.mark.parametrize("what", LEFT_BEHIND)
def test_what_is_left_behind_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(benchmark, "_WAITS", 0)
    (tmp_path / "file").touch()
    waited_for.clear()

    def run() -> None:
        LEFT_BEHIND[what](tmp_path)

    try:
        looks = benchmark.soak(run, 5, [tmp_path])
    finally:
        waited_for.set()
        for one in kept:
            if isinstance(one, subprocess.Popen):
                one.wait()
            else:
                one.close()
        kept.clear()
        for path in shared:
            path.unlink(missing_ok=True)
    found = benchmark.faults(looks)
    names = {fault.partition(":")[0] for fault in found}
    assert what in names
    assert names <= {what, "memory"}  # which threads take as well
    if what == "memory":
        assert benchmark.bytes_of_a_run(looks) == pytest.approx(1 << 20, rel=0.2)
    else:
        had, has = looks[-1][1].more_than(looks[0][1])[what]
        assert has - had == 5
