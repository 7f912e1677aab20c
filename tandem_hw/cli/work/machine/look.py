"""The looks at a machine, one after the other: core, backends, optional parts, and its means."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch

from tandem_hw.cli.work.machine.extras import look_at_extras, version_of
from tandem_hw.cli.work.machine.findings import CORE, Finding
from tandem_hw.conformance.suite import cases_of, run_suite
from tandem_hw.sim.c.compiler import compiler_command, why_no_compiler
from tandem_hw.sim.cores import cores
from tandem_hw.sim.loihi2.backend import Loihi2Backend
from tandem_hw.sim.registry import BACKENDS, make_backend
from tandem_hw.version import installed_version

#: The packages without which nothing runs, beside PyTorch.
_NEEDED: Final = ("numpy", "h5py", "click", "rich", "scikit-learn")
_LOOK_SECONDS: Final = 20.0
_PYTHON_310: Final = "it exists for Python 3.10 only, where tandem-hw brings it"
#: The packages of Lava, and why each may be missing.
_LAVA: Final = {
    "lava-nc": _PYTHON_310,
    "lava-dl": _PYTHON_310,
    "lava-loihi": "only members of Intel's Neuromorphic Research Community have it; it is for "
    "boards alone",
}


def look_at_all() -> Iterator[Finding]:
    """Yield what is found, the core first."""
    yield from _look_at_core()
    yield from _look_at_gpu()
    yield from _look_at_tools()
    for name in BACKENDS:
        if name != "reference":
            yield _look_at_backend("backends", name)
    yield from look_at_extras()
    yield from _look_at_means()


def _look_at_core() -> Iterator[Finding]:
    yield Finding(CORE, "tandem-hw", "told", installed_version())
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    yield Finding(CORE, "Python", "told", f"{platform.python_version()}, {system}")
    yield Finding(CORE, "PyTorch", "told", torch.__version__)
    versions = ", ".join(f"{name} {version_of(name) or 'missing'}" for name in _NEEDED)
    yield Finding(CORE, "packages", "told", versions)
    yield _look_at_backend(CORE, "reference")


def _look_at_backend(section: str, name: str) -> Finding:
    """Ask a backend what it lacks, and let it run a small network where it lacks nothing."""
    backend = make_backend(name)
    reason = backend.why_unavailable()
    if isinstance(backend, Loihi2Backend) and reason == backend.choice.why_not():
        return Finding(section, name, "told", "installed; name a board to tandem-hw deploy")
    if reason is not None:
        return Finding(section, name, "missing", advice=reason.removeprefix(f"backend {name}: "))
    case = cases_of(name)[0]
    (outcome,) = run_suite(lambda **period: make_backend(name, **period), [case])
    if outcome.outcome == "failed":
        return Finding(section, name, "fails", advice=outcome.reason)
    return Finding(section, name, "works", f"a small network in {outcome.seconds:.1f} s")


def _look_at_gpu() -> Iterator[Finding]:
    section = "GPU"
    built = torch.version.cuda or torch.version.hip
    if not torch.cuda.is_available():
        why = (
            f"PyTorch was built with CUDA {built} and finds no GPU; with one, look whether "
            f"nvidia-smi sees it"
            if built
            else "this PyTorch is the one for CPUs; all runs there, only slower"
        )
        yield Finding(section, "CUDA", "missing", advice=why)
        return
    for index in range(torch.cuda.device_count()):
        found = f"{torch.cuda.get_device_name(index)}, CUDA {built}"
        try:
            total = int(torch.ones(64, device=f"cuda:{index}").sum())
        except RuntimeError as error:
            yield Finding(section, f"cuda:{index}", "fails", found, str(error).splitlines()[0])
        else:
            yield Finding(section, f"cuda:{index}", "works" if total == 64 else "fails", found)


def _look_at_tools() -> Iterator[Finding]:
    section = "tools"
    reason, command = why_no_compiler(), compiler_command()
    if reason is not None or command is None:
        yield Finding(section, "C compiler", "missing", advice=reason or "")
    else:
        yield Finding(section, "C compiler", "told", _first_line([*command, "--version"]))
    for name, why in _LAVA.items():
        version = version_of(name)
        if version is None:
            yield Finding(section, name, "missing", advice=why)
        else:
            yield Finding(section, name, "told", version)


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_LOOK_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{command[0]} ({error})"
    return next(iter(done.stdout.splitlines()), command[0])


def _look_at_means() -> Iterator[Finding]:
    section = "machine"
    yield Finding(section, "cores", "told", str(cores()))
    memory = _memory()
    if memory is not None:
        yield Finding(section, "memory", "told", f"{memory / 2**30:.1f} GiB")
    folder = tempfile.gettempdir()
    try:
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        advice = f"{error.strerror or error}; name another one in TMPDIR"
        yield Finding(section, "temporary", "fails", folder, advice)
    else:
        yield Finding(section, "temporary", "works", f"{folder}, {free / 2**30:.1f} GiB free")


def _memory() -> int | None:
    """Return the bytes of memory that this process may have, or None where nobody says."""
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
    limit = Path("/sys/fs/cgroup/memory.max")
    try:
        return min(found, int(limit.read_text(encoding="ascii")))
    except (OSError, ValueError):  # there is none
        return found
