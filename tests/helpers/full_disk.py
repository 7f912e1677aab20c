"""Disks that are full, and files that must not grow: real ones, and one that fills at any write."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tandem_hw import atomic_write, temporaries


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Let the system refuse every write beyond so many bytes of a file, in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class FillingDisk:
    """A disk that is full from a certain step of writing files on.

    The steps are those in which a disk can turn out to be full: a file is made, bytes are written,
    they are brought to the disk, the file gets its name.

    Attributes:
        steps: how many there were.
        full_from: the first step that fails, from 0; None for a disk with room for all.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, full_from: int | None = None) -> None:
        self.steps, self.full_from = 0, full_from
        places = (
            (temporaries, "_make_file"),
            (atomic_write._FailingOnce, "write"),
            (os, "fsync"),
            (os, "replace"),
        )
        for owner, name in places:
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def take(*arguments: Any) -> Any:
            self.steps += 1
            if self.full_from is not None and self.steps > self.full_from:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return step(*arguments)

        return take
