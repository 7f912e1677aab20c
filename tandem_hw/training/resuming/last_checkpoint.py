"""The checkpoint that a training is resumed from, and what has to be as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tandem_hw.errors import ConversionError, DataError, FileFormatError
from tandem_hw.learning.architecture import Architecture
from tandem_hw.learning.checkpoint import Checkpoint, load_checkpoint
from tandem_hw.training.resuming.state_fields import check_state
from tandem_hw.training.run_files import LAST_NAME

#: What PyTorch raises for states that it cannot take up.
_BY_PYTORCH = (RuntimeError, TypeError, ValueError)


def load_last(folder: Path) -> Checkpoint:
    """Return what ``last.pt`` holds of a training, every field of its state looked at.

    Args:
        folder: of the training.

    Raises:
        FileFormatError: there is none, or it is damaged.
    """
    path = folder / LAST_NAME
    if not path.exists():
        raise FileFormatError(
            f"{path}: does not exist, so no epoch of a training in this folder was finished; "
            f"start it without --resume"
        )
    checkpoint = load_checkpoint(path)
    with state_reported(path):
        check_state(checkpoint.training)
    return checkpoint


@contextmanager
def state_reported(path: Path) -> Iterator[None]:
    """Turn what is wrong with a state of a training into an error that names its file."""
    try:
        yield
    except (ConversionError, ArithmeticError, AttributeError, LookupError, *_BY_PYTORCH) as error:
        reason = str(error).partition("\n")[0]
        raise FileFormatError(
            f"{path}: the state of the training is damaged ({reason}); train again"
        ) from error


def check_same_network(path: Path, found: Architecture, wanted: Architecture) -> None:
    """Refuse to resume a training with another network.

    Args:
        path: of the file that holds what is found.
        found: the network there.
        wanted: the one that is to be trained.

    Raises:
        DataError: says in what they differ first.
    """
    difference = found.difference(wanted)
    if difference:
        raise DataError(
            f"{path}: holds another network, which was made with {difference}; a resumed "
            f"training keeps its network, so give the options that it was given"
        )
