"""The names of the logs of a training, and what each needs; without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tandem_hw.deferred_import import is_installed
from tandem_hw.errors import BackendUnavailableError, DataError, FileFormatError, how_to_install
from tandem_hw.training.run_files import CSV_NAME

CSV: Final = "csv"
TENSORBOARD: Final = "tensorboard"
LOGS: Final = (TENSORBOARD, CSV)
#: The folder of TensorBoard's log in that of a training.
TENSORBOARD_NAME: Final = "tensorboard"


def check_logs(names: Sequence[str]) -> None:
    """Refuse logs that cannot be written; call it before any work.

    Args:
        names: of the logs.

    Raises:
        DataError: there is no such log, or one is given twice.
        BackendUnavailableError: what writes it is not installed.
    """
    for name in names:
        if name not in LOGS:
            raise DataError(f'log "{name}" is not known; there are {", ".join(LOGS)}')
        if names.count(name) > 1:
            raise DataError(f'log "{name}" is given twice; give it once')
    if TENSORBOARD in names and not is_installed("tensorboard"):
        raise BackendUnavailableError(
            f"log {TENSORBOARD}: tensorboard is not installed; {how_to_install(TENSORBOARD)}, or "
            f"leave it out"
        )


def logs_in(folder: Path) -> tuple[str, ...]:
    """Return the logs that a training has left in its folder, which a resumed one goes on with."""
    found = {TENSORBOARD: folder / TENSORBOARD_NAME, CSV: folder / CSV_NAME}
    return tuple(name for name in LOGS if found[name].exists())


def check_logs_free(names: Sequence[str], folder: Path) -> None:
    """Refuse to write over a table that is not this training's.

    Args:
        names: of the logs.
        folder: where a training begins that neither is resumed nor overwrites another one.

    Raises:
        FileFormatError: there is such a file.
    """
    path = folder / CSV_NAME
    if CSV in names and path.exists():
        raise FileFormatError(
            f"{path}: is there already; replace it with --overwrite, or give another --out"
        )
