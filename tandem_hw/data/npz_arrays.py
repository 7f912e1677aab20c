"""Arrays from an npz file that somebody else wrote, read without trusting it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.data.npz_file import NpzFile
from tandem_hw.errors import DataError
from tandem_hw.pointer_file import refuse_pointer, refuse_unreachable

LabelArray = npt.NDArray[np.int64]

#: A label above this is taken for a mistake: an output layer would get a neuron for each.
CLASSES_MAX: Final = 1 << 16


def read_names(path: Path) -> list[str]:
    """Return the names of the arrays in an npz file, sorted.

    Raises:
        DataError: there is no such file, or it is damaged or something else.
    """
    return sorted(_read(path, [], []))


def read_arrays(
    path: Path,
    needed: Sequence[str],
    optional: Sequence[str] = (),
    left_in_file: Sequence[str] = (),
) -> dict[str, npt.NDArray[Any]]:
    """Read arrays from an npz file; nothing in it is run.

    Args:
        path: the file.
        needed: names of arrays that must be there.
        optional: names of arrays that are read as well if they are there.
        left_in_file: names of those that may stay in the file (``NpzFile.read``).

    Returns:
        The arrays by name, unchecked but for being arrays of plain values.

    Raises:
        DataError: there is no such file, it is damaged or something else, or an array is missing.
    """
    arrays = _read(path, needed, optional, left_in_file)
    return {name: array for name, array in arrays.items() if array is not None}


def _read(
    path: Path, needed: Sequence[str], optional: Sequence[str], left_in_file: Sequence[str] = ()
) -> dict[str, npt.NDArray[Any] | None]:
    """Return every name in the file, with its array where that is wanted."""
    refuse_unreachable(path, DataError)
    if not path.is_file():
        is_there = "is a folder" if path.is_dir() else "is not an ordinary file"
        raise DataError(f"{path}: {is_there if path.exists() else 'there is no such file'}")
    refuse_pointer(path, DataError)
    item = "the file"
    try:
        with NpzFile(path) as archive:
            missing = [name for name in needed if name not in archive.names]
            if missing:
                raise DataError(
                    f"{path}: has no array {missing[0]}; it holds {sorted(archive.names)}, needed "
                    f"are {list(needed)}"
                )
            arrays: dict[str, npt.NDArray[Any] | None] = dict.fromkeys(archive.names)
            for name in (*needed, *(name for name in optional if name in archive.names)):
                item = f"array {name}"
                arrays[name] = archive.read(name, leave_large=name in left_in_file)
            return arrays
    except DataError:
        raise
    except Exception as error:  # a reader may raise anything at bytes that are not what it expects
        raise DataError(
            f"{path}: {item} cannot be read ({error}); an npz file that numpy.savez wrote is needed"
        ) from error


def check_labels(
    labels: npt.NDArray[Any], samples: int, where: object, name: str, *, any_number: bool = False
) -> LabelArray:
    """Check labels and return them as int64.

    Args:
        labels: what was read.
        samples: how many there have to be.
        where: the file or data set, for messages.
        name: the array, for messages.
        any_number: integers need not be from 0.

    Raises:
        DataError: they are not ``samples`` integers from 0; one-hot labels are named as such.
    """
    refuse_one_hot(labels, where, name)
    if labels.dtype.kind not in "iu":
        raise DataError(f"{where}: {name} is {labels.dtype}; integer labels are needed")
    if labels.shape != (samples,):
        raise DataError(
            f"{where}: {name} has shape {labels.shape}; one label for each of the {samples} "
            f"samples is needed"
        )
    if samples == 0:
        raise DataError(f"{where}: {name} is empty")
    low, high = int(labels.min()), int(labels.max())
    if any_number and high <= np.iinfo(np.int64).max:
        return labels.astype(np.int64)
    if low < 0 or high >= CLASSES_MAX:
        raise DataError(
            f"{where}: {name} spans {low} to {high}; allowed are labels from 0 to {CLASSES_MAX - 1}"
        )
    return labels.astype(np.int64)


def check_targets(
    targets: npt.NDArray[Any], samples: int, where: object, name: str
) -> npt.NDArray[np.float32]:
    """Check the targets of a regression and return them as float32.

    Args:
        targets: what was read, floating-point numbers [samples] or [samples, values].
        samples: how many there have to be.
        where: the file or data set, for messages.
        name: the array, for messages.

    Raises:
        DataError: they have another shape, are one-hot labels, or one is not finite.
    """
    refuse_one_hot(targets, where, name)
    if targets.ndim not in (1, 2) or len(targets) != samples or not targets.size:
        raise DataError(
            f"{where}: {name} has shape {targets.shape}; one target, or one row of targets, for "
            f"each of the {counted(samples, 'sample')} is needed"
        )
    checked: npt.NDArray[np.float32] = targets.astype(np.float32)
    if not np.all(np.isfinite(checked)):
        raise DataError(f"{where}: {name} holds values that are not finite")
    return checked


def refuse_one_hot(labels: npt.NDArray[Any], where: object, name: str) -> None:
    """Refuse labels with a column for each class; floats would pass for targets."""
    if labels.ndim != 2 or labels.shape[1] < 2 or labels.dtype.kind not in "iufb":
        return
    if np.all((labels == 0) | (labels == 1)) and np.all((labels == 1).sum(axis=1) == 1):
        raise DataError(
            f"{where}: {name} holds one-hot labels {labels.shape}; give the labels themselves, "
            f"{name}.argmax(axis=1)"
        )


def count_classes(arrays: dict[str, npt.NDArray[Any]], path: Path) -> int:
    """Return one more than the highest label of y_train, where it is there, and y_test.

    Args:
        arrays: holds y_test and perhaps y_train; the test part alone may lack the last label.
        path: the file they come from, for messages.

    Raises:
        DataError: they are not integers from 0.
    """
    return 1 + max(
        int(check_labels(arrays[name], arrays[name].size, path, name).max())
        for name in ("y_train", "y_test")
        if name in arrays
    )
