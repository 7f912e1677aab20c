"""The backend c: what it records, the programs that it keeps, what it says without a compiler."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tandem_hw.errors import BackendError
from tandem_hw.sim.c import compiler as c_compiler
from tandem_hw.sim.c import program as c_program
from tandem_hw.sim.c.backend import CBackend
from tandem_hw.sim.c.compiler import ProgramCache, find_compiler
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import compare
from tests.helpers.c_programs import needs_compiler
from tests.helpers.networks import random_inputs, small_graph_network


@needs_compiler
def test_it_records_what_the_reference_does_and_compiles_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c_compiler, "downloads", lambda: tmp_path)
    built: list[Path] = []
    build = c_program.build

    def noted(*arguments: object) -> Path:
        built.append(build(*arguments))  # type: ignore[arg-type]
        return built[-1]

    monkeypatch.setattr(c_program, "build", noted)
    network = small_graph_network("subtract")
    inputs = random_inputs(network, 7)
    expected = ReferenceBackend().run(network, inputs, keep_final_state=True)
    assert all(counts.any() for counts in expected.counts.values())
    told: list[tuple[int, int]] = []
    found = CBackend(processes=3).run(
        network, inputs, progress=lambda *done: told.append(done), keep_final_state=True
    )
    report = compare(network, [expected, found])
    report.require_match()
    assert report.checked_parameters == report.checked_states == ("reference", "c")
    assert dict(found.peak) == dict(expected.peak)
    assert told[-1] == (7, 7)
    assert not CBackend().run(network, inputs).final_state
    assert len(built) == 1

    # What was damaged, or is a link, is made anew.
    (kept,) = (tmp_path / "c").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    compare(network, [expected, CBackend().run(network, inputs)]).require_match()
    assert len(built) == 2
    # Where others may write, nothing is taken and nothing left.
    (tmp_path / "c").chmod(0o777)
    compare(network, [expected, CBackend().run(network, inputs)]).require_match()
    assert len(built) == 3
    assert ProgramCache().folder is None


def test_without_a_compiler_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CC", raising=False)
    reason = CBackend().why_unavailable()
    assert reason is not None
    assert "none of cc, gcc, clang is there; get one, for instance with" in reason
    monkeypatch.setenv("CC", "my-cc -m64")
    assert 'CC names "my-cc -m64", which is not there' in str(CBackend().why_unavailable())
    with pytest.raises(BackendError, match="there is no C compiler"):
        find_compiler()


def test_a_compiler_that_does_not_work_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "false")
    with pytest.raises(BackendError, match=r"the C compiler false does not work .* with CC"):
        find_compiler()


@needs_compiler
def test_what_does_not_compile_is_shown(tmp_path: Path) -> None:
    (tmp_path / "wrong.c").write_text("int main(void) { return nothing; }\n", encoding="ascii")
    with pytest.raises(BackendError, match=r"(?s)C compiler .* failed: exit status 1.*nothing"):
        c_compiler.compile_program(find_compiler(), tmp_path, "wrong.c", "program")


_KILLED = """
import sys
import numpy as np
from tandem_hw.sim.c.backend import CBackend
from tests.helpers.networks import random_inputs, small_graph_network
network = small_graph_network("subtract")
inputs = np.repeat(random_inputs(network, 100), 30_000, axis=0)
print("ready", flush=True)
def tell(done, samples):
    if done:
        print(done, flush=True)
CBackend(processes=2).run(network, inputs, progress=tell)
"""


@needs_compiler
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_a_parent_that_ends_leaves_no_process(ending: signal.Signals, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        assert int(parent.stdout.readline()) > 0
        assert running(tmp_path)
        parent.send_signal(ending)
    deadline = time.monotonic() + 60
    while running(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(tmp_path)


def running(folder: Path) -> list[str]:
    """Return the command lines of the programs that work in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if len(words) > 1 and words[1].startswith(os.fsencode(folder)):
            found.append(str(words))
    return found
