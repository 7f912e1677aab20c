"""The machine's C compiler, and the folder where compiled networks are kept.

A program is found again by the network, by what generates its source, and by what the compiler says
of itself and of this processor. Its name ends in the digest of its content: one that was damaged,
or cut short, is no longer what its name says, and is made anew. The folder has to belong to this
user, and nobody else may write to it; where there is no such folder, nothing is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tandem_hw.data.catalogue import downloads
from tandem_hw.errors import BackendError
from tandem_hw.sim.child.watched_process import run_watched
from tandem_hw.temporaries import temporary_folder

#: The environment variable that names a compiler, and where to look without it.
VARIABLE: Final = "CC"
NAMES: Final = ("cc", "gcc", "clang")
#: What makes code for this very processor; the first that a compiler takes.
_FOR_THIS_PROCESSOR: Final = ("-march=native", "-mcpu=native", None)
#: Vectorised, without what GCC's -O3 does besides: it turns loops over spikes inside out.
_FLAGS: Final = ("-std=gnu99", "-O2", "-ftree-vectorize", "-Wall", "-Wextra")
#: Programs that are kept, the ones used last; each has the size of its weights and a little more.
_KEPT: Final = 64
_LOOK_SECONDS: Final = 60.0


def compiler_command() -> list[str] | None:
    """Return the words of the command that compiles, or None where there is no compiler."""
    named = os.environ.get(VARIABLE, "").strip()
    candidates = [shlex.split(named)] if named else [[name] for name in NAMES]
    for words in candidates:
        if words and shutil.which(words[0]) is not None:
            return words
    return None


def why_no_compiler() -> str | None:
    """Return that there is no compiler and how to get one, or None."""
    if compiler_command() is not None:
        return None
    named = os.environ.get(VARIABLE, "").strip()
    looked = (
        f'{VARIABLE} names "{named}", which is not there'
        if named
        else (f"none of {', '.join(NAMES)} is there")
    )
    how = "xcode-select --install" if sys.platform == "darwin" else "apt install gcc libc6-dev"
    return (
        f"there is no C compiler: {looked}; get one, for instance with {how}, or name one with "
        f"{VARIABLE}, as in {VARIABLE}=clang"
    )


@dataclass(frozen=True)
class Compiler:
    """A compiler and its options.

    Attributes:
        command: program and options, without files.
        identity: what it says of itself and of the processor that it compiles for.
    """

    command: tuple[str, ...]
    identity: str


def find_compiler(flags: tuple[str, ...] = _FLAGS) -> Compiler:
    """Return the machine's compiler, with options for this processor where it takes them.

    Raises:
        BackendError: there is none, or what is named as one does not compile.
    """
    words = compiler_command()
    if words is None:
        raise BackendError(str(why_no_compiler()))
    return _looked_at(tuple(words), flags)


@cache
def _looked_at(words: tuple[str, ...], flags: tuple[str, ...]) -> Compiler:
    reason = ""
    for processor in _FOR_THIS_PROCESSOR:
        command = (*words, *flags, *([processor] if processor else []))
        try:
            # All macros that it defines: its version, its target, what the processor can do.
            found = subprocess.run(
                [*command, "-E", "-dM", "-x", "c", os.devnull],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_LOOK_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = str(error)
            continue
        if found.returncode == 0 and b"__STDC__" in found.stdout:
            digest = hashlib.sha256(found.stdout).hexdigest()
            return Compiler(command, f"{shlex.join(command)} {digest}")
        reason = found.stderr.decode(errors="replace").strip()
    raise BackendError(
        f"the C compiler {shlex.join(words)} does not work ({(reason.splitlines() or [''])[-1]}); "
        f"name another one with {VARIABLE}, as in {VARIABLE}=clang"
    )


def compile_program(compiler: Compiler, folder: Path, source: str, program: str) -> Path:
    """Compile a source that lies in a folder with all that it includes.

    Args:
        compiler: what compiles.
        folder: where; the compiler runs in a process group of its own and leaves its output there.
        source: name of the source.
        program: name of the program.

    Raises:
        BackendError: it does not compile; with the last lines that the compiler has said.
    """
    target = folder / program
    environment = {**os.environ, "TMPDIR": str(folder)}  # what a killed one leaves goes with ours
    run_watched(
        [*compiler.command, str(folder / source), "-o", str(target)],
        name=f"the C compiler {compiler.command[0]}",
        folder=folder,
        environment=environment,
        progress=lambda: 1,
    )
    return target


class ProgramCache:
    """Compiled programs by key.

    Attributes:
        folder: where they are; None where there is no folder that this user alone can write to.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Find the folder, and make it if it is missing.

        Args:
            folder: another one than that beside the downloads of data sets.
        """
        self.folder: Path | None = None
        with contextlib.suppress(OSError, RuntimeError):  # no home, or none that can be written to
            folder = folder or downloads() / "c"
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_private(folder):
                self.folder = folder

    def find(self, key: str) -> Path | None:
        """Return a program that is whole, or None; what is damaged is removed.

        Args:
            key: under which it was kept, hexadecimal digits.
        """
        if self.folder is None:
            return None
        for path in self.folder.glob(f"{key}-*"):
            with contextlib.suppress(OSError):
                if path.is_file() and not path.is_symlink() and path.name == _name(key, path):
                    os.utime(path)
                    return path
                path.unlink()
        return None

    def keep(self, key: str, program: Path) -> Path:
        """Move a program to the others and return where it is; it stays where there is no folder.

        Another process may do the same at the same time: each moves a whole file.

        Args:
            key: under which it is found.
            program: what was compiled in ``workplace``.
        """
        if self.folder is None:
            return program
        target = self.folder / _name(key, program)
        try:
            os.replace(program, target)
        except OSError:
            return program
        self._tidy()
        return target

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """Give a folder to compile in, from which ``keep`` can move a file."""
        beside = None if self.folder is None else self.folder / "program"
        with temporary_folder(beside) as folder:
            yield folder

    def _tidy(self) -> None:
        """Remove the programs that were used longest ago."""
        assert self.folder is not None
        with contextlib.suppress(OSError):
            entries = sorted(self.folder.iterdir(), key=lambda path: -path.lstat().st_mtime)
            programs = [path for path in entries if path.is_file()]
            for path in programs[_KEPT:]:
                path.unlink(missing_ok=True)


def _is_private(folder: Path) -> bool:
    found = folder.lstat()
    others = stat.S_IWGRP | stat.S_IWOTH
    return (
        stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & others
    )


def _name(key: str, program: Path) -> str:
    return f"{key}-{hashlib.sha256(program.read_bytes()).hexdigest()}"


def key_of(parts: Mapping[str, str]) -> str:
    """Return the key of what a program depends on, 64 hexadecimal digits."""
    text = "".join(f"{name}={len(value)}:{value};" for name, value in sorted(parts.items()))
    return hashlib.sha256(text.encode()).hexdigest()
