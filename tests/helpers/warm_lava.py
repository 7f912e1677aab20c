"""Lava children that are forked from one process which has imported Lava, for tests that need many.

A child of the backends ``lava-cpu`` and ``lava-stock`` spends most of its time on starting Python,
importing Lava and compiling modules. Here a server does that once. Every run still has a child of
its own, in a process group of its own, that does all of ``worker.main`` and is watched as any
other; only the command that would have started it is not run. That one the tests of failures and of
the command line go through.

Use it as ``pytest.mark.usefixtures("warm_lava")``, in a folder whose conftest.py imports the two
fixtures.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from typing import Any

import pytest

from tandem_hw.sim.child import watched_process
from tandem_hw.sim.lava_cpu import worker as lava_worker

_WORKER = lava_worker.__name__


class LavaServer:
    """Starts the children of the Lava backends; the process that they are forked from comes first.

    It takes the place of ``subprocess`` in ``watched_process``.
    """

    PIPE, STDOUT = subprocess.PIPE, subprocess.STDOUT

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._connection, self._far_end = multiprocessing.Pipe()

    def Popen(self, command: Sequence[str], **options: Any) -> Any:  # noqa: N802
        """Start a command, a Lava worker as a fork of the server."""
        if _WORKER not in command:
            return subprocess.Popen(command, **options)
        if self._process is None:
            # The child's folder for temporary files goes with the child.
            self._process = self._start(options["env"] | {"TMPDIR": tempfile.gettempdir()})
        reading, writing = os.pipe()
        self._connection.send((command[command.index(_WORKER) + 1], options["env"]))
        for handle in (reading, options["stdout"].fileno()):
            send_handle(self._connection, handle, self._process.pid)
        os.close(reading)
        return _Child(self._connection, os.fdopen(writing, "wb"))

    def _start(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        far_end = self._far_end.fileno()
        command = [sys.executable, str(Path(__file__)), str(far_end)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            env=environment,
            pass_fds=[far_end],
            start_new_session=True,
        )
        self._far_end.close()
        return process

    def close(self) -> None:
        """End the server, which goes when nobody is at the other end."""
        self._connection.close()
        if self._process is not None:
            self._process.wait()


class _Child:
    """What ``run_watched`` uses of a ``subprocess.Popen``, for a fork of the server."""

    def __init__(self, server: Connection, stdin: Any) -> None:
        self.pid: int = server.recv()
        self.stdin = stdin
        self.returncode: int | None = None
        self._server = server

    def poll(self) -> int | None:
        return self.wait() if self.returncode is None and self._server.poll() else self.returncode

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(self._server.recv())
        return self.returncode


@pytest.fixture(scope="session")
def lava_server() -> Iterator[LavaServer]:
    server = LavaServer()
    yield server
    server.close()


@pytest.fixture
def warm_lava(lava_server: LavaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork this test's Lava children from the server."""
    monkeypatch.setattr(watched_process, "subprocess", lava_server)


def _serve(client: Connection) -> None:
    """Fork one child after the other, as the client asks for them, until it is gone."""
    # What a run imports, some of it not before it builds its graph or compiles it.
    import lava.magma.compiler.compiler  # noqa: F401
    import scipy.signal  # noqa: F401

    from tandem_hw.export import net_file  # noqa: F401
    from tandem_hw.sim.graph import parameters  # noqa: F401
    from tandem_hw.sim.lava_cpu import graph  # noqa: F401

    _find_models_once()
    gc.freeze()  # or a collection in every child would copy what is there now
    while True:
        try:
            folder, environment = client.recv()
        except EOFError:
            return
        handles = [recv_handle(client) for _ in range(2)]
        pid = os.fork()
        if pid == 0:
            client.close()
            _work(folder, environment, *handles)
        for handle in handles:
            os.close(handle)
        client.send(pid)
        client.send(os.waitpid(pid, 0)[1])


def _find_models_once() -> None:
    """Let Lava search the models of a kind of Process once a run, and not for each Process anew.

    It reads some twenty modules for each of them.
    """
    from lava.magma.compiler.compiler_graphs import ProcGroupDiGraphs

    search = ProcGroupDiGraphs._find_proc_models
    found: dict[type, Any] = {}

    def find(proc: Any) -> Any:
        kind = type(proc)
        if kind not in found:
            found[kind] = search(proc)
        return found[kind]

    ProcGroupDiGraphs._find_proc_models = staticmethod(find)


def _work(folder: str, environment: Mapping[str, str], stdin: int, output: int) -> None:
    """Be what the command would have started."""
    os.setsid()
    for source, target in ((stdin, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(stdin)
    os.close(output)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # found anew in the environment
    lava_worker.main(Path(folder))  # it does not return


if __name__ == "__main__":
    del sys.path[0]  # this folder is not on the path of any other child
    # In every run Lava reads all modules beside those of its Processes again.
    with tempfile.TemporaryDirectory() as compiled:
        sys.pycache_prefix, sys.dont_write_bytecode = compiled, False
        _serve(Connection(int(sys.argv[1])))
