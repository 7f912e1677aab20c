"""A recording by its file, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tandem_hw.data.recordings.aedat4 import read_aedat4
from tandem_hw.data.recordings.event_arrays import read_hdf5, read_npy, read_npz
from tandem_hw.data.recordings.prophesee import read_dat, read_raw
from tandem_hw.data.recordings.recording import EventRecording
from tandem_hw.errors import DataError
from tandem_hw.pointer_file import refuse_pointer, refuse_unreachable

#: What reads a file, by the end of its name. npz is not among them where a data set may be meant.
_READERS: Final[Mapping[str, Callable[[Path], EventRecording]]] = {
    ".aedat4": read_aedat4,
    ".raw": read_raw,
    ".dat": read_dat,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
}
#: Ends of the names of files that are a recording, whatever else lies beside them.
SUFFIXES: Final = frozenset((*_READERS, ".npy"))


def read_events(path: Path | str, *, columns: str | None = None) -> EventRecording:
    """Read a recording of an event camera.

    Args:
        path: AEDAT4 (.aedat4), Prophesee's RAW (.raw: EVT2, EVT2.1, EVT3) or DAT (.dat), HDF5 (.h5,
            .hdf5) with x, y, t and p, or arrays (.npy, .npz) of them. Times that are floats are
            seconds and become microseconds; polarities -1 and 1 become 0 and 1.
        columns: of an npy file of numbers [events, 4], what they are, such as "txyp".

    Returns:
        The events, and the size of the sensor where the file says it.

    Raises:
        DataError: there is no such file, it is damaged or of another format, or what reads it is
            not installed.
    """
    path = Path(path)
    refuse_unreachable(path, DataError)
    if not path.is_file():
        fault = "is not an ordinary file" if path.exists() else "there is no such file"
        raise DataError(f"{path}: {fault}")
    refuse_pointer(path, DataError)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return read_npy(path, columns)
    if suffix == ".npz":
        return read_npz(path)
    if suffix not in _READERS:
        raise DataError(
            f"{path}: is no recording by its name; read are files that end in "
            f"{', '.join(sorted((*SUFFIXES, '.npz')))}"
        )
    return _READERS[suffix](path)
