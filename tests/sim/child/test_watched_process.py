from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tandem_hw.errors import BackendError
from tandem_hw.sim.child.watched_process import group_members, run_watched
from tests.helpers.waiting import wait_for

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="the tests look for processes in /proc"
)

#: Written by every child as its first act: its process id, which is its group's.
_PID = "pid"
#: Seconds within which a command that would take 300 is ended, on a machine that is busy as well.
_SOON = 60.0
#: Two grandchildren that a polite request does not end.
_STUBBORN_GRANDCHILDREN = """
for _ in range(2):
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Path("ready").open("a").write("x")
        time.sleep(300)
        os._exit(0)
while len(Path("ready").read_text() if Path("ready").exists() else "") < 2:
    time.sleep(0.01)
"""
_HEADER = f"""
import os, signal, sys, time
from pathlib import Path
os.chdir(sys.argv[1])
Path("{_PID}.new").write_text(str(os.getpid()))
os.rename("{_PID}.new", "{_PID}")
"""


def _command(folder: Path, body: str) -> list[str]:
    return [sys.executable, "-c", _HEADER + textwrap.dedent(body), str(folder)]


def _run(
    folder: Path,
    body: str,
    *,
    progress: Callable[[], int] = lambda: 1,
    start_timeout: float = 60.0,
    stall_timeout: float = 60.0,
) -> None:
    run_watched(
        _command(folder, body),
        name="the child",
        folder=folder,
        environment=os.environ | {"COLOUR": "green"},
        progress=progress,
        start_timeout=start_timeout,
        stall_timeout=stall_timeout,
        error_file=folder / "error.txt",
    )


def _group(folder: Path) -> int:
    return int((folder / _PID).read_text())


def test_command_that_ends_well_returns_quietly_with_its_environment(tmp_path: Path) -> None:
    _run(tmp_path, 'Path("result").write_text(os.environ["COLOUR"])')
    assert (tmp_path / "result").read_text() == "green"
    assert group_members(_group(tmp_path)) == []


def test_process_that_a_finished_command_left_behind_is_ended(tmp_path: Path) -> None:
    _run(
        tmp_path,
        """
        pid = os.fork()
        if pid == 0:
            time.sleep(300)
        Path("left").write_text(str(pid))
        """,
    )
    assert int((tmp_path / "left").read_text()) > 0
    assert group_members(_group(tmp_path)) == []


def test_failing_command_is_reported_with_its_own_message(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"^the child failed: ValueError: seven is too many$"):
        _run(
            tmp_path,
            """
            print("noise")
            Path("error.txt").write_text("ValueError: seven is too many\\n")
            sys.exit(1)
            """,
        )


def test_failing_command_on_a_full_disk_is_reported_as_such(tmp_path: Path) -> None:
    message = rf"it could not write into its folder in {tmp_path.parent}, whose disk may be full"
    with pytest.raises(BackendError, match=message):
        _run(
            tmp_path,
            """
            from tandem_hw.sim.child.leaving import fail
            fail(Path("no") / "such" / "folder", "a message that finds no room")
            """,
        )


def test_failing_command_without_a_message_is_reported_with_its_last_output(
    tmp_path: Path,
) -> None:
    with pytest.raises(BackendError, match="the child failed: exit status 3") as caught:
        _run(
            tmp_path,
            """
            for number in range(40):
                print("line", number, flush=True)
            os.write(2, b"\\xff no UTF-8\\n")
            sys.exit(3)
            """,
        )
    lines = str(caught.value).splitlines()
    assert lines[1:-1] == [f"line {number}" for number in range(26, 40)]
    assert lines[-1] == "\ufffd no UTF-8"


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (int(signal.SIGKILL), "killed by SIGKILL; the kernel does so when memory runs out"),
        (int(signal.SIGSEGV), "killed by SIGSEGV"),
        (int(signal.SIGTERM), "killed by SIGTERM"),
        (int(signal.SIGRTMIN) + 6, f"killed by signal {int(signal.SIGRTMIN) + 6}"),
    ],
)
def test_killed_command_is_reported_with_the_signal(
    tmp_path: Path, number: int, reason: str
) -> None:
    with pytest.raises(BackendError) as caught:
        _run(tmp_path, f"os.kill(os.getpid(), {number}); time.sleep(300)")
    assert str(caught.value) == f"the child failed: its process was {reason}"
    assert group_members(_group(tmp_path)) == []


def test_command_that_never_starts_its_work_is_ended(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(BackendError, match=r"the child did not start within 0\.7 seconds"):
        _run(tmp_path, "time.sleep(300)", progress=lambda: 0, start_timeout=0.7, stall_timeout=0.1)
    assert time.monotonic() - started < _SOON
    assert group_members(_group(tmp_path)) == []


def test_command_that_stands_still_is_ended(tmp_path: Path) -> None:
    steps = iter([0, 0, 1, 2, 4])
    started = time.monotonic()
    with pytest.raises(
        BackendError, match=r"the child hangs: no step finished in 0\.7 seconds after step 4"
    ):
        _run(tmp_path, "time.sleep(300)", progress=lambda: next(steps, 4), stall_timeout=0.7)
    assert time.monotonic() - started < _SOON
    assert group_members(_group(tmp_path)) == []


def test_command_that_makes_progress_is_not_ended_however_slow_it_is(tmp_path: Path) -> None:
    steps = iter(range(1, 10_000))
    _run(
        tmp_path,
        'time.sleep(1.5); Path("result").touch()',
        progress=lambda: next(steps),
        start_timeout=0.5,
        stall_timeout=0.5,
    )
    assert (tmp_path / "result").exists()


def test_grandchildren_that_ignore_a_polite_request_are_ended_too(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="exit status 4"):
        _run(tmp_path, _STUBBORN_GRANDCHILDREN + "sys.exit(4)")
    assert (tmp_path / "ready").read_text() == "xx"
    assert group_members(_group(tmp_path)) == []


def test_keyboard_interrupt_in_the_parent_ends_the_group(tmp_path: Path) -> None:
    def interrupt_once_it_runs() -> int:
        if (tmp_path / "all").exists():
            assert len(group_members(_group(tmp_path))) == 3
            raise KeyboardInterrupt
        return 0

    with pytest.raises(KeyboardInterrupt):
        _run(
            tmp_path,
            _STUBBORN_GRANDCHILDREN + 'Path("all").touch(); time.sleep(300)',
            progress=interrupt_once_it_runs,
        )
    assert group_members(_group(tmp_path)) == []


@pytest.fixture
def started() -> Iterator[Callable[[Sequence[str]], subprocess.Popen[bytes]]]:
    """Start commands in groups of their own, and end whatever a failing test leaves of them."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(command: Sequence[str]) -> subprocess.Popen[bytes]:
        processes.append(
            subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        )
        return processes[-1]

    yield start
    for process in processes:
        for member in group_members(process.pid):
            os.kill(member, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda s: s.name)
def test_command_and_its_children_end_when_the_parent_is_killed(
    tmp_path: Path,
    started: Callable[[Sequence[str]], subprocess.Popen[bytes]],
    number: signal.Signals,
) -> None:
    body = """
    from tandem_hw.sim.child.watched_process import exit_with_parent
    Path("job").mkdir()
    Path("job/weights").write_text("of the user")
    exit_with_parent(Path("job"))
    for _ in range(2):
        if os.fork() == 0:
            time.sleep(300)
            os._exit(0)
    Path("all").touch()
    time.sleep(300)
    """
    parent = started(
        [
            sys.executable,
            "-c",
            textwrap.dedent(f"""
            import os, pathlib
            from tandem_hw.sim.child.watched_process import run_watched
            folder = pathlib.Path({str(tmp_path)!r})
            run_watched(
                {_command(tmp_path, body)!r}, name="the child", folder=folder,
                environment=os.environ, progress=lambda: 1, start_timeout=60, stall_timeout=60,
                error_file=folder / "error.txt",
            )
            """),
        ]
    )
    wait_for((tmp_path / "all").exists)
    group = _group(tmp_path)
    assert len(group_members(group)) == 3
    os.kill(parent.pid, number)
    parent.wait()
    wait_for(lambda: not group_members(group))
    assert not (tmp_path / "job").exists()


def test_group_members_reads_past_any_process_name(
    tmp_path: Path, started: Callable[[Sequence[str]], subprocess.Popen[bytes]]
) -> None:
    program = tmp_path / "a) Z 1 (b"
    program.write_text("#!/bin/sh\nsleep 300\n")
    program.chmod(0o755)
    process = started([str(program)])
    wait_for(lambda: len(group_members(process.pid)) == 2)
    assert process.pid in group_members(process.pid)
    assert Path(f"/proc/{process.pid}/stat").read_text().split(" ", 1)[1].startswith("(a) Z 1 (b)")
    process.kill()
    wait_for(lambda: process.pid not in group_members(process.pid))  # a zombie now
