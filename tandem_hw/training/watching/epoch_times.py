"""How long the epochs of a training took, breaks left out: ``metrics.json`` has it as "seconds"."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from tandem_hw.training.run_files import METRICS_NAME

#: Seconds of each epoch; None for one whose end nobody has written down.
Seconds = list[float | None]


class EpochClock:
    """Takes the time of epochs.

    Attributes:
        seconds: of each epoch so far.
    """

    def __init__(self) -> None:
        self.seconds: Seconds = []
        self._began = 0.0

    def start(self) -> None:
        """Let an epoch begin."""
        self._began = time.perf_counter()

    def stop(self) -> None:
        """Take in that the epoch is over."""
        self.seconds.append(round(time.perf_counter() - self._began, 3))

    def restore(self, folder: Path, run: str, epochs: int) -> None:
        """Take up what ``metrics.json`` says of a training that is resumed; it may lag behind.

        Args:
            folder: of the training.
            run: its id; what is said of another one is not taken.
            epochs: how many were done.
        """
        try:
            content = json.loads((folder / METRICS_NAME).read_text(encoding="utf-8"))
            said = content["seconds"] if content.get("run", "") == run else []
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            said = []
        self.seconds = _fit(said, epochs)


def _fit(said: object, epochs: int) -> Seconds:
    """Return a time for each epoch, None where it is missing or no time."""
    values: Sequence[object] = said if isinstance(said, list) else ()
    found = [
        float(one) if isinstance(one, int | float) and not isinstance(one, bool) else None
        for one in values[:epochs]
    ]
    return found + [None] * (epochs - len(found))
