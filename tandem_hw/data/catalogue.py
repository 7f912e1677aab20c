"""Names of the data sets, and where they are on the disk.

Without NumPy: the options of the command line are made from these names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tandem_hw.errors import DataError
from tandem_hw.pointer_file import refuse_unreachable

NPZ_PREFIX: Final = "npz:"
NPY_PREFIX: Final = "npy:"
FOLDER_PREFIX: Final = "folder:"
EVENTS_PREFIX: Final = "events:"
#: What may be said behind a path, as in "folder:PATH,size=32", by the prefix.
OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    NPZ_PREFIX: ("layout", "range"),
    NPY_PREFIX: ("layout", "range"),
    FOLDER_PREFIX: ("size", "color"),
    EVENTS_PREFIX: ("window", "stride", "sensor", "downsample", "fields", "label"),
}
_OPTION: Final = re.compile(r"([a-z_]+)=(.*)", re.DOTALL)
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
    f"{NPY_PREFIX}PATH",
    f"{FOLDER_PREFIX}PATH",
    MOVING_DIGITS,
    *TONIC,
    f"{EVENTS_PREFIX}PATH",
)


@dataclass(frozen=True)
class OwnData:
    """Data of the user's own, as the command line names them.

    Attributes:
        path: the file or folder.
        options: what is said behind it, by name.
    """

    path: Path
    options: Mapping[str, str]


def own_data(spec: str) -> OwnData:
    """Return what stands behind a prefix: a path, in which "~" is the home folder, and options.

    Args:
        spec: "npz:PATH", "folder:PATH,size=32" and the like.

    Raises:
        DataError: no path is there, its home folder is not known, or an option is unknown or given
            twice.
    """
    prefix, _, rest = spec.partition(":")
    options: dict[str, str] = {}
    while (found := _OPTION.fullmatch(rest.rpartition(",")[2])) and "," in rest:
        if os.path.exists(_expanded(rest, spec)):  # False too where the whole is too long a name
            break  # a file that is called so
        name, value = found.groups()
        allowed = OPTIONS[f"{prefix}:"]
        if name not in allowed or name in options:
            fault = "is given twice" if name in options else "is unknown"
            raise DataError(f"{spec}: option {name} {fault}; there are {', '.join(allowed)}")
        options[name] = value
        rest = rest.rpartition(",")[0]
    refuse_unreachable(_expanded(rest, spec), DataError)
    if not rest:
        raise DataError(f'data set "{spec}" names no file; give {prefix}:PATH')
    return OwnData(_expanded(rest, spec), options)


def _expanded(name: str, spec: str) -> Path:
    """Return a path; a shell does not expand "~" behind a prefix."""
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
    if spec.startswith(tuple(OPTIONS)):
        return own_data(spec).path
    return downloads() if spec in (*TORCHVISION, *TONIC) else None
