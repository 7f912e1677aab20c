"""Whatever goes wrong in Lava's processes, the user learns of it within seconds, and none stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tandem_hw.conformance.layers import dense_layer, network_of
from tandem_hw.errors import BackendError
from tandem_hw.export.net_file import write_net
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork
from tandem_hw.sim.child.watched_process import group_members
from tandem_hw.sim.lava_cpu import backend as lava_cpu
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend
from tests.helpers.waiting import wait_for

_ABSENT = LavaCpuBackend().why_unavailable()
pytestmark = [
    pytest.mark.skipif(_ABSENT is not None, reason=str(_ABSENT)),
    pytest.mark.timeout(240),
]

#: Seconds within which a fault has to be reported and everything has to be gone, on a machine that
#: runs other tests beside this one; what hangs would do so for 300.
_SOON = 60.0
#: The worker in the child's place. It replaces what one of Lava's processes does in its third step,
#: leaves the group's id, and touches nothing else.
_WORKER = """
import os, time
from pathlib import Path
from tandem_hw.sim.lava_cpu.worker import main
from tandem_hw.sim.graph.processes.integrate_and_fire import PyIFModel

folder, take_step = Path(__file__).parent, PyIFModel.run_spk

def run_spk(self):
    if self.time_step == 3 and self.window.offset == 3:  # the neurons of the first layer
        (folder / "group.new").write_text(str(os.getpgrp()))
        os.rename(folder / "group.new", folder / "group")
        FAULT
    take_step(self)

PyIFModel.run_spk = run_spk
"""
#: Ctrl-C has to arrive, also where the tests run in the background of a script, which ignores it.
_MAIN = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    "from tandem_hw.sim.lava_cpu import backend; backend.WORKER = 'faulty_worker'; "
    "from tandem_hw.cli import main; main()"
)
_FAULTS = {
    "raises": "raise ValueError('the third step is one too many')",
    "hangs": "time.sleep(300)",
    "is killed": "os.kill(os.getpid(), 9)",
    "leaves": "os._exit(7)",
}


def _network() -> QuantizedNetwork:
    """Return a network that takes the embedded data set and whose every pixel is a spike."""
    spec = InputSpec((1, 8, 8), bits=1, scale=1.0, encoding="constant")
    first = dense_layer(
        "first", 2 * np.eye(64, dtype=np.int64), 8, np.zeros(64, np.int32), 2, spec.shape
    )
    last = dense_layer(
        "last", 2 * np.eye(10, 64, dtype=np.int64), 8, np.zeros(10, np.int32), None, (64,)
    )
    return network_of(spec, (first, last), 4, "subtract")


def _shared_memory(group: int) -> set[str]:
    """Return the files of shared memory that the processes of a group have mapped."""
    lines = [
        line
        for member in group_members(group)
        for line in Path(f"/proc/{member}/maps").read_text().splitlines()
    ]
    return {line.split()[-1] for line in lines if "/dev/shm/" in line}


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the folder that everybody takes for temporary files, at first empty."""
    with tempfile.TemporaryDirectory() as name:  # shorter than tmp_path, see the last test
        monkeypatch.setenv("TMPDIR", name)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(name)


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Make Lava fail in the children of this test; the file that holds their group is returned."""

    def install(fault: str) -> Path:
        (tmp_path / "faulty_worker.py").write_text(_WORKER.replace("FAULT", _FAULTS[fault]))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        monkeypatch.setattr(lava_cpu, "WORKER", "faulty_worker")
        return tmp_path / "group"

    return install


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("raises", r"a Lava process raised ValueError: the third step is one too many \(File "),
        ("hangs", r"hangs: no step finished in 2 seconds after step [23]; it was ended"),
        ("is killed", r"a Lava process died with exit code -9 \(killed by signal 9\)$"),
        ("leaves", r"a Lava process died with exit code 7$"),
    ],
)
def test_process_of_lava_that_fails_is_reported_and_nothing_is_left(
    faulty: Callable[[str], Path], temporary: Path, fault: str, message: str
) -> None:
    group = faulty(fault)
    started = time.monotonic()
    with pytest.raises(
        BackendError, match=rf"^the Lava child process of backend lava-cpu (failed: )?{message}"
    ):
        LavaCpuBackend(stall_timeout=2.0).run(_network(), np.ones((3, 1, 8, 8), dtype=np.uint8))
    assert time.monotonic() - started < _SOON
    assert group_members(int(group.read_text())) == []
    assert list(temporary.iterdir()) == []


def test_process_that_fails_while_all_go_step_by_step_is_reported_too(
    faulty: Callable[[str], Path], temporary: Path
) -> None:
    group = faulty("raises")
    with pytest.raises(BackendError, match=r"a Lava process raised ValueError: the third step is"):
        LavaCpuBackend(stock_conv=True).run(_network(), np.ones((3, 1, 8, 8), dtype=np.uint8))
    assert group_members(int(group.read_text())) == []
    assert list(temporary.iterdir()) == []


def test_error_before_lava_starts_is_reported_with_its_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A module of Lava's own that cannot be imported stands for an installation that is damaged.
    (tmp_path / "faulty_worker.py").write_text(
        "import sys\nsys.modules['lava.proc.lif.process'] = None\n"
        "from tandem_hw.sim.lava_cpu.worker import main\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(lava_cpu, "WORKER", "faulty_worker")
    with pytest.raises(BackendError, match=r"failed: ModuleNotFoundError: .*lava\.proc\.lif"):
        LavaCpuBackend().run(_network(), np.ones((1, 1, 8, 8), dtype=np.uint8))


def test_lava_that_does_not_start_in_time_is_ended() -> None:
    with pytest.raises(BackendError, match=r"did not start within 0\.2 seconds"):
        LavaCpuBackend(start_timeout=0.2).run(_network(), np.ones((1, 1, 8, 8), dtype=np.uint8))


@pytest.fixture
def long_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder for temporary files below which no socket could lie."""
    folder = tmp_path / ("x" * 71)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def command(
    tmp_path: Path, faulty: Callable[[str], Path], long_temporary: Path
) -> Iterator[subprocess.Popen[str]]:
    """Start ``tandem-hw simulate`` on a Lava that hangs, and wait until it does."""
    write_net(_network(), tmp_path / "model.net")
    group = faulty("hangs")
    arguments = [str(tmp_path / "model.net"), "--backend", "lava-cpu", "--samples", "3"]
    process = subprocess.Popen(
        [sys.executable, "-c", _MAIN, "simulate", *arguments, "--stall-timeout", "60"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(lambda: group.exists() or process.poll() is not None, seconds=120)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        for member in group_members(int(group.read_text())) if group.exists() else []:
            os.kill(member, signal.SIGKILL)


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        (signal.SIGHUP, 129),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
    ids=["Ctrl-C", "SIGTERM", "SIGHUP", "SIGKILL"],
)
def test_command_that_is_ended_takes_every_process_and_its_shared_memory_along(
    command: subprocess.Popen[str],
    tmp_path: Path,
    long_temporary: Path,
    number: signal.Signals,
    status: int,
) -> None:
    assert command.poll() is None, command.communicate()[0]
    group = int((tmp_path / "group").read_text())
    memory = _shared_memory(group)
    assert len(group_members(group)) > 5
    assert memory
    assert len(list(long_temporary.rglob("listener-*"))) == 1  # a socket, in the job's folder
    assert len(list(long_temporary.iterdir())) == 1
    command.send_signal(number)
    output, _ = command.communicate(timeout=_SOON)
    assert command.returncode == status, output
    assert ("Interrupted." in output) == (number == signal.SIGINT)
    assert "Traceback" not in output
    wait_for(lambda: not group_members(group), seconds=_SOON)
    assert not [name for name in memory if Path(name).exists()]
    assert list(long_temporary.iterdir()) == []


def test_run_leaves_nothing_in_the_temporary_folder_however_long_its_name(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The socket of Python's multiprocessing just fits below it, and not one folder deeper.
    long = temporary / ("x" * (71 - len(str(temporary))))
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr(tempfile, "tempdir", None)
    recording = LavaCpuBackend().run(_network(), np.ones((3, 1, 8, 8), dtype=np.uint8))
    assert (recording.counts["first"] == 4).all()
    assert list(long.iterdir()) == []
