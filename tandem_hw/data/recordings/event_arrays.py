"""Recordings as arrays: npy, npz and HDF5, read without trusting the file."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.data.npz_arrays import read_arrays, read_names
from tandem_hw.data.npz_file import expanded_limit
from tandem_hw.data.own.array_files import mapped
from tandem_hw.data.recordings.recording import EventRecording, recording_of
from tandem_hw.errors import DataError

#: What fields are called, by what they hold.
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "x": ("x", "xs"),
    "y": ("y", "ys"),
    "t": ("t", "ts", "timestamp", "timestamps", "time"),
    "p": ("p", "ps", "pol", "polarity", "polarities", "on"),
}
#: Groups or tables of an HDF5 file that hold events; the file itself is looked at first.
_GROUPS: Final = ("", "events", "CD", "CD/events")
#: Filters that are part of HDF5 or h5py; another one would load a library to be read.
_FILTERS: Final = frozenset((1, 2, 3, 32000))
#: The size of a sensor as Metavision writes it into HDF5.
_GEOMETRY: Final = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})", re.ASCII)


def read_npy(path: Path, columns: str | None = None) -> EventRecording:
    """Return the events of an npy file.

    Args:
        path: a structured array with x, y, t and p, or one of numbers [M, 4].
        columns: what the columns of the latter are, such as "txyp".

    Raises:
        DataError: it is damaged or holds something else, or its columns have to be said.
    """
    array = mapped(path)
    if array.dtype.names:
        fields = {name: array[name] for name in array.dtype.names}
        return _recording(fields, None, path)
    if array.ndim != 2 or array.shape[1] != len(_NAMES):
        raise DataError(
            f"{path}: is {array.dtype} {array.shape}; a structured array with x, y, t and p, or "
            f"numbers [events, 4] are needed"
        )
    if columns is None or sorted(columns) != sorted(_NAMES):
        raise DataError(
            f"{path}: has four columns without names ({'fields=' + columns if columns else ''}); "
            f"say which is which, for instance fields=txyp"
        )
    fields = {name: _whole(array[:, place]) for place, name in enumerate(columns) if name != "t"}
    return _recording(fields | {"t": array[:, columns.index("t")]}, None, path)


def _whole(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return coordinates that stand beside times in seconds as whole numbers, if they are such."""
    if values.dtype.kind == "f" and (values == np.floor(values)).all():
        return values.astype(np.int64)
    return values


def read_npz(path: Path) -> EventRecording:
    """Return the events of an npz file with arrays x, y, t, p and perhaps sensor_size.

    Args:
        path: the file.

    Raises:
        DataError: it is damaged, or an array is missing.
    """
    arrays = read_arrays(path, read_names(path))
    size = arrays.pop("sensor_size", None)
    if size is not None and (size.dtype.kind not in "iu" or size.shape not in ((2,), (3,))):
        raise DataError(f"{path}: sensor_size is {size.dtype} {size.shape}; give (width, height)")
    return _recording(arrays, None if size is None else (int(size[0]), int(size[1])), path)


def read_hdf5(path: Path) -> EventRecording:
    """Return the events of an HDF5 file: x, y, t and p in the file, in events/ or in CD/.

    Args:
        path: the file; each is a dataset, or they are the fields of one.

    Raises:
        DataError: it is damaged, or has no such datasets, or they are elsewhere, compressed by a
            plug-in, or far larger than the file.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            for name in _GROUPS:
                fields = _fields_in(file, name, path)
                if fields:
                    return _recording(fields, _size_in(file, name), path)
            held = sorted(map(str, file))
    except DataError:
        raise
    except Exception as error:  # whatever HDF5 makes of a damaged file
        raise DataError(f"{path}: cannot be read as HDF5 ({error})") from error
    raise DataError(
        f"{path}: holds {held[:12]}; datasets x, y, t and p are needed, in the file, in events/ or "
        f"in CD/"
    )


def _fields_in(file: Any, name: str, path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the fields in a group or a table, or nothing."""
    import h5py

    found = _followed(file, name) if name else file
    if isinstance(found, h5py.Dataset) and found.dtype.names:
        table = _read(found, path)
        return {one: table[one] for one in table.dtype.names or ()}
    if not isinstance(found, h5py.Group):
        return {}
    held = {
        field: next((one for one in names if one in found), None) for field, names in _NAMES.items()
    }
    if held["x"] is None or held["t"] is None:
        return {}
    datasets = {field: _followed(found, one) for field, one in held.items() if one is not None}
    return {
        field: _read(one, path) for field, one in datasets.items() if isinstance(one, h5py.Dataset)
    }


def _followed(group: Any, name: str) -> Any:
    """Return what lies in a group, or None: a link to another file is not followed."""
    import h5py

    for part in name.split("/"):
        if not isinstance(group, h5py.Group) or part not in group:
            return None
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            return None
        group = group[part]
    return group


def _read(dataset: Any, path: Path) -> npt.NDArray[Any]:
    """Return a dataset of numbers, once it is known to be no larger than the file can say."""
    properties = dataset.id.get_create_plist()
    filters = {properties.get_filter(place)[0] for place in range(properties.get_nfilters())}
    if not filters <= _FILTERS:
        raise DataError(
            f"{path}: {dataset.name} is compressed by a plug-in (filter "
            f"{min(filters - _FILTERS)}), which is not loaded; write it anew without, for instance "
            f"as RAW"
        )
    if dataset.is_virtual or dataset.external:
        raise DataError(f"{path}: {dataset.name} lies in another file; give one that holds it")
    if dataset.dtype.hasobject or dataset.ndim != 1:
        raise DataError(
            f"{path}: {dataset.name} is {dataset.dtype} {dataset.shape}; numbers, one for each "
            f"event, are needed"
        )
    needed = math.prod(dataset.shape) * dataset.dtype.itemsize
    if needed > expanded_limit(path.stat().st_size):
        raise DataError(
            f"{path}: {dataset.name} asks for {needed} bytes, far more than the file has; write it "
            f"anew without compression"
        )
    return np.asarray(dataset[()])


def _size_in(file: Any, name: str) -> tuple[int, int] | None:
    """Return (width, height), where attributes say it: two numbers, or Metavision's "640x480"."""
    for place in (file, _followed(file, name) if name else file):
        sides = [place.attrs.get(side) for side in ("width", "height")]
        if all(np.ndim(side) == 0 and np.asarray(side).dtype.kind in "iu" for side in sides):
            return int(sides[0]), int(sides[1])
        geometry = place.attrs.get("geometry")
        text = geometry.decode(errors="replace") if isinstance(geometry, bytes) else geometry
        found = _GEOMETRY.fullmatch(text) if isinstance(text, str) else None
        if found:
            return int(found[1]), int(found[2])
    return None


def _recording(
    given: Mapping[str, npt.NDArray[Any]], size: tuple[int, int] | None, path: Path
) -> EventRecording:
    """Return a recording of fields under any of their names."""
    fields = {}
    for field, names in _NAMES.items():
        found = next((given[name] for name in names if name in given), None)
        if found is None:
            raise DataError(
                f"{path}: has the fields {sorted(given)[:12]}; one of {', '.join(names)} is needed"
            )
        fields[field] = found
    if fields["t"].ndim != 1:
        raise DataError(f"{path}: t has shape {fields['t'].shape}; give one time for each event")
    return recording_of(fields, size, path)
