"""Run a command in a process group of its own, watch it, and leave nothing of it behind.

The group is the unit: a simulator forks processes of its own, and when anything goes wrong all of
them have to go. The command's standard input is a pipe that only the parent holds open, so that
the command can see its parent die (``exit_with_parent``).
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tandem_hw.errors import BackendError
from tandem_hw.sim.child.leaving import NO_ROOM, take_last_word
from tandem_hw.temporaries import remove_if_ownerless

_POLL_SECONDS = 0.05
#: The first pause, from which they double: a short run is not waited for.
_FIRST_POLL_SECONDS = 0.001
#: How long a group may take to end after SIGTERM. Python's resource tracker ignores the signal and
#: ends by itself when the others have gone, after it has removed their shared memory.
_GRACE_SECONDS = 3.0
_ERROR_LINES = 15


def run_watched(
    command: Sequence[str],
    *,
    name: str,
    folder: Path,
    environment: Mapping[str, str],
    progress: Callable[[], int],
    start_timeout: float = math.inf,
    stall_timeout: float = math.inf,
    error_file: Path | None = None,
    starts_in: Path | None = None,
) -> None:
    """Run a command to its end, or end it with all its descendants and say why.

    Args:
        command: program and arguments.
        name: what to call it in messages.
        folder: receives its output.
        environment: its environment variables.
        progress: returns how far it is, a number that grows; 0 until it has started.
        start_timeout: seconds until the first progress.
        stall_timeout: seconds without progress after that.
        error_file: where the command writes its own message before it fails; None where it does
            not.
        starts_in: its current folder; by default that of this process.

    Raises:
        BackendError: it failed, was killed, or stood still.
    """
    log = folder / "output.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=starts_in,
            start_new_session=True,
        )
    try:
        with _pauses(process) as pause:
            _wait(process, name, progress, start_timeout, stall_timeout, pause)
        if process.returncode != 0:
            reason, *last_lines = _reason(process.returncode, error_file, log)
            raise BackendError(f"{name} failed: {reason}", *last_lines)
    finally:
        _end_group(process)


@contextlib.contextmanager
def _pauses(process: subprocess.Popen[bytes]) -> Iterator[Callable[[float], object]]:
    """Give what waits so many seconds, and no longer than the process runs where that is told."""
    ending = _ending(process)
    if ending is None:
        yield time.sleep
        return
    try:
        waiting = select.poll()
        waiting.register(ending, select.POLLIN)
        yield lambda seconds: waiting.poll(1000 * seconds)
    finally:
        os.close(ending)


def _ending(process: subprocess.Popen[bytes]) -> int | None:
    """Return a descriptor that can be read once the process has ended, from Linux 5.3 on."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return os.pidfd_open(process.pid)
    return None


def _wait(
    process: subprocess.Popen[bytes],
    name: str,
    progress: Callable[[], int],
    start_timeout: float,
    stall_timeout: float,
    pause: Callable[[float], object],
) -> None:
    seen, since, seconds = 0, time.monotonic(), _FIRST_POLL_SECONDS
    while process.poll() is None:
        now = progress()
        if now != seen:
            seen, since = now, time.monotonic()
        waited = time.monotonic() - since
        if seen == 0 and waited > start_timeout:
            raise BackendError(
                f"{name} did not start within {start_timeout:g} seconds and was ended; raise the "
                f"start timeout if the network is very large"
            )
        if seen > 0 and waited > stall_timeout:
            raise BackendError(
                f"{name} hangs: no step finished in {stall_timeout:g} seconds after step {seen}; "
                f"it was ended. Raise the stall timeout (--stall-timeout) if steps take this long"
            )
        pause(seconds)
        seconds = min(2 * seconds, _POLL_SECONDS)


def _reason(returncode: int, error_file: Path | None, log: Path) -> list[str]:
    """Say why it ended: its own message, the signal, or its last output, a line each."""
    if returncode == NO_ROOM:
        return [
            f"it could not write into its folder in {log.parent.parent}, whose disk may be "
            f"full; make room there, or name another folder for temporary files in TMPDIR"
        ]
    if error_file is not None and error_file.exists():
        return [error_file.read_text(encoding="utf-8", errors="replace").strip()]
    if returncode < 0:
        signal_name = _signal_name(-returncode)
        hint = "; the kernel does so when memory runs out" if signal_name == "SIGKILL" else ""
        return [f"its process was killed by {signal_name}{hint}"]
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return [f"exit status {returncode}", *lines[-_ERROR_LINES:]]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has a number only
        return f"signal {number}"


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End every process of the group, politely first, and reap the leader."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    for ending, patience in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, _GRACE_SECONDS)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, ending)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            process.poll()  # reaps the leader, which would otherwise keep the group alive
            if not group_members(process.pid):
                process.wait()
                return
            time.sleep(_POLL_SECONDS)
    process.wait()


def group_members(group: int) -> list[int]:
    """Return the living processes of a process group (zombies are dead).

    Args:
        group: the group's id, which is its first process's.

    Returns:
        Their ids; where the system has no ``/proc``, the group's id as long as one is there.
    """
    if not Path("/proc/self/stat").exists():
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            return []
        return [group]
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The name in the second field may hold spaces, so count from its closing bracket.
                state, _, its_group, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(its_group) == group and state not in "ZX":
                    members.append(int(entry.name))
    return members


def exit_with_parent(folder: Path | None = None) -> None:
    """End the own process group as soon as the parent is gone; call it in the watched command.

    A thread waits for the end of standard input, which only the parent holds open. A parent that
    was killed has left the job's folder, which then goes as well; one that is there removes it
    itself, and has locked it.

    Args:
        folder: the job's folder, as ``temporary_folder`` gave it to the parent; None where the
            job leaves nothing that has to go.
    """

    def wait_for_end() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        take_last_word()  # or the main thread would end this process as soon as the others end
        group = os.getpgrp()
        for member in group_members(group):
            if member != os.getpid():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(member, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        if folder is not None:
            while not remove_if_ownerless(folder) and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)  # those that end may still write into it
        os.killpg(group, signal.SIGTERM)

    threading.Thread(target=wait_for_end, daemon=True).start()
