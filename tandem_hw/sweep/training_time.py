"""How long a training took, over all processes that trained at it one after another.

Each writes when it began. Whatever moment it is killed at, what of its work counts is what was done
until it last replaced ``last.pt``, and that file's time tells it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from tandem_hw.errors import FileFormatError
from tandem_hw.sweep.run_files import SESSION_NAME, read_versioned, write_versioned
from tandem_hw.training.run_files import LAST_NAME


@dataclass(frozen=True)
class TrainingTime:
    """When a process began to train, and what those before it took.

    Attributes:
        began: seconds since 1970.
        seconds_before: what earlier processes took till their last whole epoch, or None where that
            is not known.
        interruptions: earlier processes that finished an epoch and did not finish the training.
    """

    began: float
    seconds_before: float | None = 0.0
    interruptions: int = 0

    @classmethod
    def begin(cls, folder: Path) -> TrainingTime:
        """Return the time of a process that begins now, after those that left something behind.

        Args:
            folder: of the training.
        """
        new = cls(time.time())
        last = folder / LAST_NAME
        if last.exists():
            before = _read(folder)
            if before is None:
                new = cls(new.began, None, 1)
            elif before.seconds_before is not None:
                worked = max(0.0, last.stat().st_mtime - before.began)
                new = cls(new.began, before.seconds_before + worked, before.interruptions + 1)
            else:
                new = cls(new.began, None, before.interruptions + 1)
        content = {"seconds_before": new.seconds_before, "interruptions": new.interruptions}
        write_versioned(folder / SESSION_NAME, {"began": new.began, **content})
        return new

    def seconds(self) -> float | None:
        """Return what the training took until now, in seconds, or None where nobody knows."""
        if self.seconds_before is None:
            return None
        return self.seconds_before + time.time() - self.began


def _read(folder: Path) -> TrainingTime | None:
    types: dict[str, tuple[type, ...]] = {"began": (int, float), "interruptions": (int,)}
    types["seconds_before"] = (int, float, type(None))
    try:
        found = read_versioned(folder / SESSION_NAME, types)
    except FileFormatError:
        return None
    return TrainingTime(found["began"], found["seconds_before"], found["interruptions"])
