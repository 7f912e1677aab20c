"""Standard output and standard error as a command writes to them.

A command goes on whatever becomes of what it says: its files are written, and its exit status is
that of its work. Who reads no further, as ``head`` does, has seen what it wanted; a full disk is
told at the end, by status 2.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tandem_hw.cli.output.sentences import terminal_width, wrapped
from tandem_hw.plain_text import plain

#: What stands for characters that an encoding does not have.
_STAND_INS: Final = {
    "±": "+-",
    "×": "x",
    "→": "->",
    "…": "...",
    "–": "-",
    "—": "-",
    "≤": "<=",
    "≥": ">=",
    "µ": "u",
    "²": "^2",
}
_STANDING_IN: Final = "tandem-hw-stand-in"
#: The streams, by their names in ``sys``, and what they are called in messages.
_NAMES: Final = {"stdout": "standard output", "stderr": "standard error"}


@contextmanager
def standard_streams() -> Iterator[list[str]]:
    """Write to standard output and standard error so that nothing there ends the command.

    Characters that their encoding lacks are written in others. A stream that is no file of the
    operating system, as tests have it, stays as it is.

    Yields:
        A list that holds, when the block has ended, a message for each stream that could not be
        written to for another reason than that nobody reads it.
    """
    failures: list[str] = []
    _open_missing()
    codecs.register_error(_STANDING_IN, _stand_in)
    before = {name: getattr(sys, name) for name in _NAMES}
    told = {name: _told(stream) for name, stream in before.items()}
    for name, stream in told.items():
        setattr(sys, name, stream or before[name])
    try:
        yield failures
    finally:
        for name, stream in told.items():
            setattr(sys, name, before[name])
            if stream is None:
                continue
            stream.flush()
            failure = stream.raw.failure
            if failure is not None and failure.errno != errno.EPIPE:
                failures.append(f"{_NAMES[name]}: cannot be written ({failure.strerror})")


def say(line: str) -> None:
    """Write one line to standard error; whatever is in it, it stays one line.

    A terminal that is narrower shows it in several, which end between two words.
    """
    if sys.stderr is not None:  # it is None where it was closed from the start
        print(wrapped(plain(line), terminal_width(sys.stderr)), file=sys.stderr, flush=True)


class _Told(io.RawIOBase):
    """Hands bytes to a file of the system till that fails once, and then drops what comes.

    Attributes:
        failure: why it failed, or None.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.failure: OSError | None = None
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        while self.failure is None:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # whoever shares it has made it so
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes


class _ToldText(io.TextIOWrapper):
    """What takes the place of a standard stream.

    Attributes:
        raw: where it goes.
    """

    def __init__(self, raw: _Told, encoding: str, line_buffering: bool) -> None:
        super().__init__(
            io.BufferedWriter(raw), encoding, _STANDING_IN, line_buffering=line_buffering
        )
        self.raw = raw


def _told(stream: Any) -> _ToldText | None:
    """Return a stream to the same place that keeps its errors; None where it has no descriptor."""
    try:
        stream.flush()
        raw = _Told(stream.fileno())
    except (AttributeError, OSError, ValueError):  # there is none, or it is in memory
        return None
    return _ToldText(raw, stream.encoding, stream.line_buffering or raw.isatty())


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    found = error.object[error.start : error.end]
    shown = (_STAND_INS.get(one, one.encode("ascii", "backslashreplace").decode()) for one in found)
    return "".join(shown), error.end


def _open_missing() -> None:
    """Open the standard descriptors that are closed, or a file of ours would get their numbers."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free
