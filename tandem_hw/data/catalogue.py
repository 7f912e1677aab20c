"""Names of the data sets, and where they are on the disk.

Without NumPy: the options of the command line are made from these names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tandem_hw.errors import DataError

NPZ_PREFIX: Final = "npz:"
EVENTS_PREFIX: Final = "events:"
DIGITS: Final = "digits"
#: A regression: ten measurements, and how far a disease has got a year later (scikit-learn).
DIABETES: Final = "diabetes"
#: Names of the classes in ``torchvision.datasets``, and how many labels each has.
TORCHVISION: Final = {
    "mnist": ("MNIST", 10),
    "fashion-mnist": ("FashionMNIST", 10),
    "cifar10": ("CIFAR10", 10),
    "cifar100": ("CIFAR100", 100),
}
MOVING_DIGITS: Final = "moving-digits"
#: Names of event data that tonic downloads (``tandem_hw.data.tonic_datasets``).
TONIC: Final = ("nmnist", "dvs-gesture", "cifar10-dvs", "shd")
#: What ``load_dataset`` takes, for messages and for the command line's help.
KNOWN_SPECS: Final = (
    DIGITS,
    DIABETES,
    *TORCHVISION,
    f"{NPZ_PREFIX}PATH",
    MOVING_DIGITS,
    *TONIC,
    f"{EVENTS_PREFIX}PATH",
)


def path_in(spec: str) -> Path:
    """Return the path behind a prefix; a shell does not expand "~" there.

    Args:
        spec: "npz:PATH" or "events:PATH".

    Raises:
        DataError: no path is there, or its home folder is not known.
    """
    prefix, _, name = spec.partition(":")
    if not name:
        raise DataError(f'data set "{spec}" names no file; give {prefix}:PATH')
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise DataError(f"{spec}: {error}; write the path out") from error


def downloads() -> Path:
    """Return the folder where downloads are kept unless another is given.

    Raises:
        DataError: nobody knows a home folder, as in a container without users.
    """
    try:
        return Path.home() / ".cache" / "tandem-hw"
    except RuntimeError as error:
        raise DataError(
            "downloads are kept in the home folder, which is not known; name it in HOME"
        ) from error


def data_source(spec: str) -> Path | None:
    """Return what ``load_dataset`` reads from the disk: a file, or the folder of downloads.

    Args:
        spec: as ``load_dataset`` takes it.

    Returns:
        None where nothing of the user's is read, or the spec is unknown.
    """
    if spec.startswith((NPZ_PREFIX, EVENTS_PREFIX)):
        return path_in(spec)
    return downloads() if spec in (*TORCHVISION, *TONIC) else None
