"""Samples and what is wanted of them in an npz file, or in a folder of npy files.

=============== ======================================== ===========================================
array           shape                                    what
=============== ======================================== ===========================================
x_train, x_test [N, H, W], [N, H, W, C], [N, C, H, W],   samples: uint8 (0 to 255), or floats from
                [N, C, length] or [N, features]          0.0 to 1.0
y_train, y_test [N]; targets [N] or [N, values]          labels, whole numbers or texts; or targets,
                                                         floats
layout          one text                                 what the axes are (``LAYOUTS``), needed for
                                                         signals, NCL
class_names     [K] texts                                what the classes 0 to K - 1 are called
=============== ======================================== ===========================================
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from tandem_hw.data.dataset import ImageDataset, Labels, Need, Wanted
from tandem_hw.data.npz_arrays import check_labels, check_targets, read_arrays
from tandem_hw.data.npz_file import read_header
from tandem_hw.data.own.arrays import joined, wanted_of
from tandem_hw.data.own.class_names import given_labels, numbered
from tandem_hw.data.own.layouts import (
    Layout,
    Pixels,
    ValueRange,
    check_layout,
    check_samples,
    in_range,
)
from tandem_hw.errors import DataError
from tandem_hw.pointer_file import refuse_pointer, refuse_unreachable

#: Reads arrays: called with the path, the names of those that are needed and of those that are read
#: if they are there, and of those that may stay in their file.
ReadArrays: TypeAlias = Callable[
    [Path, Sequence[str], Sequence[str], Sequence[str]], dict[str, npt.NDArray[Any]]
]
_LAYOUT: Final = "layout"
_CLASS_NAMES: Final = "class_names"


def load_npz(
    path: Path, need: Need, *, name: str, options: Mapping[str, str] | None = None
) -> ImageDataset:
    """Load samples, and labels or targets, from an npz file.

    Args:
        path: the file.
        need: "test" leaves the training part out, and the file need not have one. Samples of a GiB
            and more that are not compressed stay in the file (``NpzFile.read``).
        name: the spec.
        options: "layout", which says what the file does not say itself, and "range", the least and
            the largest value of a sample, as "-1:1".

    Raises:
        DataError: the file cannot be read, or an array does not fit.
    """
    return _load(path, need, name, options or {}, read_arrays)


def load_npy(
    path: Path, need: Need, *, name: str, options: Mapping[str, str] | None = None
) -> ImageDataset:
    """Load samples, and labels or targets, from npy files in a folder; samples stay in their files.

    Args:
        path: the folder, with x_train.npy, y_train.npy, x_test.npy and y_test.npy.
        need: as for ``load_npz``.
        name: the spec.
        options: as for ``load_npz``.

    Raises:
        DataError: a file cannot be read, or an array does not fit.
    """
    return _load(path, need, name, options or {}, _read_npy)


def _read_npy(
    folder: Path, needed: Sequence[str], optional: Sequence[str], left_in_file: Sequence[str]
) -> dict[str, npt.NDArray[Any]]:
    """Return arrays of a folder, those of samples as maps of their files; nothing is run."""
    refuse_unreachable(folder, DataError)
    if not folder.is_dir():
        fault = "is no folder" if folder.exists() else "there is no such folder"
        raise DataError(f"{folder}: {fault}; give the one that holds {', '.join(needed)} as .npy")
    arrays = {}
    for name in dict.fromkeys((*needed, *optional)):
        path = folder / f"{name}.npy"
        if name not in needed and not path.exists():
            continue
        if not path.is_file():
            found = sorted(one.name for one in folder.iterdir() if one.suffix == ".npy")
            raise DataError(
                f"{folder}: has no {path.name}; of such files it holds {found}, needed are "
                f"{list(needed)}"
            )
        refuse_pointer(path, DataError)
        array = mapped(path)
        arrays[name] = array if name in left_in_file else np.array(array)
    return arrays


def mapped(path: Path) -> npt.NDArray[Any]:
    """Return the array of an npy file, which stays there and cannot be written to.

    Args:
        path: what ``numpy.save`` wrote.

    Raises:
        DataError: it is damaged, holds objects, or is something else.
    """
    try:
        return _mapped(path)
    except Exception as error:  # whatever a header that is none leads to
        raise DataError(
            f"{path}: cannot be read ({error}); a file that numpy.save wrote is needed"
        ) from error


def _mapped(path: Path) -> npt.NDArray[Any]:
    with path.open("rb") as file:
        shape, fortran, dtype = read_header(file)
        start = file.tell()
        size = os.fstat(file.fileno()).st_size - start
        needed = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if needed != size:
            raise ValueError(f"shape {shape} of {dtype} is {needed} bytes, {size} are there")
        if not needed:
            return np.empty(shape, dtype)
        return np.memmap(file, dtype, "r", start, shape, "F" if fortran else "C")


def _load(
    path: Path, need: Need, name: str, options: Mapping[str, str], read: ReadArrays
) -> ImageDataset:
    train_names = ["x_train", "y_train"] if need == "all" else []
    names = [*train_names, "x_test", "y_test"]
    samples = [one for one in names if one.startswith("x")]
    arrays = read(path, names, ["y_train", _LAYOUT, _CLASS_NAMES], samples)
    layout, value_range = _layout(path, arrays, options), _value_range(path, options)
    parts: dict[str, Pixels] = {}
    for one in samples:
        given = arrays[one]
        if value_range is not None:
            given = in_range(given, value_range, path, one)
        parts[one] = check_samples(given, path, one, layout)
    wanted = _wanted(path, arrays, {one.replace("x", "y", 1): len(parts[one]) for one in samples})
    x_test, y_test = parts["x_test"], wanted["y_test"]
    x_train, y_train = parts.get("x_train", x_test[:0]), wanted.get("y_train", y_test[:0])
    return joined(name, x_train, y_train, x_test, y_test, where=path)


def _layout(
    path: Path, arrays: Mapping[str, npt.NDArray[Any]], options: Mapping[str, str]
) -> Layout | None:
    """Return what the axes are, where the file or an option says it."""
    said = arrays.get(_LAYOUT)
    if said is not None and (said.size != 1 or said.dtype.kind not in "US"):
        raise DataError(f"{path}: {_LAYOUT} is {said.dtype} {said.shape}; one text is needed")
    in_file = None
    if said is not None:
        text = said.reshape(1)[0].item()
        in_file = check_layout(text if isinstance(text, str) else text.decode("latin-1"), path)
    if _LAYOUT not in options:
        return in_file
    layout = check_layout(options[_LAYOUT], path)
    if in_file not in (None, layout):
        raise DataError(f"{path}: layout is said to be {layout}, the file says {in_file}")
    return layout


def _value_range(path: Path, options: Mapping[str, str]) -> ValueRange | None:
    """Return the least and the largest value of a sample, where an option says it."""
    if "range" not in options:
        return None
    least, colon, largest = options["range"].partition(":")
    try:
        if not colon:
            raise ValueError("no colon")
        return float(least), float(largest)
    except ValueError as error:
        raise DataError(
            f"{path}: range is {options['range']}; give the least and the largest value of a "
            f"sample, such as range=-1:1"
        ) from error


def _wanted(
    path: Path, arrays: Mapping[str, npt.NDArray[Any]], counts: Mapping[str, int]
) -> dict[str, Wanted]:
    """Return labels or targets of the parts that are loaded.

    Args:
        path: the file, for messages.
        arrays: y_test and perhaps y_train, whether it is loaded or not: both say which classes
            there are.
        counts: how many samples each loaded part has.
    """
    given = {name: arrays[name] for name in ("y_train", "y_test") if name in arrays}
    # Where no label is 0, labels are no numbers of classes yet.
    is_numbered = any(
        values.dtype.kind in "iu" and np.any(values == 0) for values in given.values()
    )
    for name, values in given.items():
        count = counts.get(name, len(values) if values.ndim else 0)
        if values.dtype.kind == "f":
            given[name] = check_targets(values, count, path, name)
        elif values.dtype.kind not in "US" or values.shape != (count,):
            check_labels(values, count, path, name, any_number=not is_numbered)
    loaded = [given[name] for name in counts]
    if len({(one.dtype.kind == "f", one.shape[1:]) for one in loaded}) > 1:
        y_train, y_test = loaded
        raise DataError(
            f"{path}: y_train is {y_train.dtype} {y_train.shape}, y_test {y_test.dtype} "
            f"{y_test.shape}; both hold labels, or targets with as many values a sample"
        )
    if loaded[0].dtype.kind == "f":
        return wanted_of({name: given[name] for name in counts}, path)
    if _CLASS_NAMES in arrays:
        return _named(path, given, arrays[_CLASS_NAMES])
    if "y_train" in given:
        return wanted_of(given, path, from_zero=True)
    if given["y_test"].dtype.kind in "US":
        raise DataError(
            f"{path}: has labels in words and no y_train, so they cannot be numbered as a training "
            f"did; add y_train, or an array {_CLASS_NAMES}, the words in their order"
        )
    labels = check_labels(given["y_test"], counts["y_test"], path, "y_test")
    return {"y_test": Labels(labels, int(labels.max()) + 1)}


def _named(
    path: Path, given: Mapping[str, npt.NDArray[Any]], class_names: npt.NDArray[Any]
) -> dict[str, Wanted]:
    """Return labels of the classes that a file names: their numbers, or their names."""
    names = given_labels(class_names, path, _CLASS_NAMES).astype(np.str_).tolist()
    found: dict[str, Wanted] = {}
    for name, values in given.items():
        labels = given_labels(values, path, name)
        if labels.dtype.kind == "U":
            found[name] = numbered(labels, names, path, name)
        else:
            try:
                found[name] = Labels(labels.astype(np.int64), len(names), tuple(names))
            except DataError as error:
                raise DataError(f"{path}: {name}: {error}") from error
    return found
