"""Logs of a training, a row or a point for each epoch: ``metrics.csv``, and events of TensorBoard.

Each is made anew from all epochs that the training knows, so that one that was broken off and
resumed has every epoch once.
"""

from __future__ import annotations

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tandem_hw.atomic_write import reported, write_whole
from tandem_hw.errors import BackendUnavailableError, how_to_install
from tandem_hw.training.run_files import CSV_NAME
from tandem_hw.training.watching.log_names import (
    CSV,
    TENSORBOARD,
    TENSORBOARD_NAME,
    check_logs,
)

Epochs = Sequence[Mapping[str, Any]]


class EpochLog(ABC):
    """What is written of a training's epochs beside its metrics."""

    @abstractmethod
    def begin(self, epochs: Epochs) -> None:
        """Write the epochs that were done before, in the place of what was written of them."""

    @abstractmethod
    def add(self, epochs: Epochs) -> None:
        """Write the last one of all epochs so far."""

    @abstractmethod
    def close(self) -> None:
        """End the log."""


class CsvLog(EpochLog):
    """A table with a row for each epoch, written whole after each.

    Args:
        folder: of the training.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CSV_NAME

    def begin(self, epochs: Epochs) -> None:
        """Write the rows of the epochs before, if there are any."""
        if epochs:
            self.add(epochs)

    def add(self, epochs: Epochs) -> None:
        """Write all rows; what is not known of an epoch is left empty."""
        text = io.StringIO()
        names = list(dict.fromkeys(name for epoch in epochs for name in epoch))
        table = csv.DictWriter(text, names, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(epochs)
        write_whole(self._path, text.getvalue().encode())

    def close(self) -> None:
        """Do nothing: all is written."""


class TensorBoardLog(EpochLog):
    """Events of TensorBoard: a scalar for each number of an epoch, by PyTorch's writer.

    Args:
        folder: of the training; the events are in one of their own in it.
    """

    #: What names of event files begin with.
    _EVENTS: Final = "events.out.tfevents."

    def __init__(self, folder: Path) -> None:
        self._folder = folder / TENSORBOARD_NAME
        self._writer: Any = None

    def begin(self, epochs: Epochs) -> None:
        """Open a file of events, in the place of those of the same training or an earlier one."""
        try:
            from torch.utils import tensorboard  # imports tensorboard, which is optional

            writer: Any = tensorboard.SummaryWriter  # type: ignore[attr-defined, unused-ignore]
        except Exception as error:  # of any class where packages do not fit each other
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise BackendUnavailableError(
                f"log {TENSORBOARD}: tensorboard cannot be imported ({reason}); "
                f"{how_to_install(TENSORBOARD)}, or leave it out"
            ) from error
        with reported(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in self._folder.glob(f"{self._EVENTS}*"):
                path.unlink()
            self._writer = writer(str(self._folder))
        for epoch in epochs:
            self._write(epoch)

    def add(self, epochs: Epochs) -> None:
        """Write the last epoch's numbers, so that whoever looks on sees them."""
        self._write(epochs[-1])
        with reported(self._folder):
            self._writer.flush()

    def _write(self, epoch: Mapping[str, Any]) -> None:
        for name, value in epoch.items():
            if name != "epoch" and value is not None:
                self._writer.add_scalar(name, value, epoch["epoch"])

    def close(self) -> None:
        """Close the file of events."""
        if self._writer is not None:
            with reported(self._folder):
                self._writer.close()


_MAKERS: Final = {CSV: CsvLog, TENSORBOARD: TensorBoardLog}


def open_logs(names: Sequence[str], folder: Path) -> list[EpochLog]:
    """Return the logs of a training.

    Args:
        names: which, see ``check_logs``.
        folder: of the training.

    Raises:
        DataError: there is no such log.
        BackendUnavailableError: what writes it is not installed.
    """
    check_logs(names)
    return [_MAKERS[name](folder) for name in names]
