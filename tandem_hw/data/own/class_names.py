"""Labels as people write them, numbered from 0, with the mapping kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.data.dataset import Labels
from tandem_hw.data.npz_arrays import CLASSES_MAX, refuse_one_hot
from tandem_hw.errors import DataError

#: Labels as they were given: int64 or text, [samples].
GivenLabels: TypeAlias = npt.NDArray[np.int64] | npt.NDArray[np.str_]

_LARGEST: Final = np.iinfo(np.int64).max


def given_labels(values: Any, where: object, name: str) -> GivenLabels:
    """Return labels of any kind as whole numbers or texts.

    Args:
        values: whole numbers, truth values or texts; an array, a list, or what NumPy makes one of.
        where: the data, for messages.
        name: the array, for messages.

    Raises:
        DataError: they are something else; the first one that is says which.
    """
    labels = np.asarray(values)
    refuse_one_hot(labels, where, name)
    if labels.ndim != 1:
        raise DataError(
            f"{where}: {name} has shape {labels.shape}; one label for each sample is needed"
        )
    if labels.dtype.kind == "O":
        labels = _plain(labels, where, name)
    if labels.dtype.kind == "S":
        try:
            labels = np.char.decode(labels, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: {name} holds bytes that are no text ({error})") from error
    if labels.dtype.kind == "U":
        empty = np.flatnonzero(np.char.str_len(np.char.strip(labels)) == 0)
        if len(empty):
            raise DataError(f"{where}: {name}[{empty[0]}] is an empty text; give it a label")
        texts: npt.NDArray[np.str_] = labels
        return texts
    if labels.dtype.kind not in "iub" or (labels.size and int(labels.max()) > _LARGEST):
        raise DataError(
            f"{where}: {name} is {labels.dtype}; whole numbers or texts are needed as labels"
        )
    return labels.astype(np.int64)


def _plain(labels: npt.NDArray[Any], where: object, name: str) -> npt.NDArray[Any]:
    """Return an array of Python objects as one of texts or whole numbers."""
    kinds = (str,) if labels.size and isinstance(labels[0], str) else (int, np.integer)
    for index, label in enumerate(labels):
        if not isinstance(label, kinds):
            raise DataError(
                f"{where}: {name}[{index}] is {label!r} ({type(label).__name__}); whole numbers or "
                f"texts are needed as labels, all of one kind"
            )
    return np.array(labels.tolist())


def number_classes(
    parts: Mapping[str, GivenLabels],
    where: object,
    *,
    from_zero: bool = False,
) -> dict[str, Labels]:
    """Number the classes of the parts of a data set from 0, all alike.

    Whole numbers 0 to K - 1 stay as they are, without names. Other labels are sorted, numbers and
    texts of digits by their value, and take the numbers 0 to K - 1; what they were is kept in
    ``Labels.names``.

    Args:
        parts: the labels of each part by its name; the first part is trained on.
        where: the data, for messages.
        from_zero: whole numbers that start at 0 are the numbers of classes, of which some may have
            no sample.

    Raises:
        DataError: one part has texts and the other numbers, a part has a label that the first one
            lacks, or there are too many.
    """
    kinds = {"text" if labels.dtype.kind == "U" else "numbers" for labels in parts.values()}
    if len(kinds) > 1:
        raise DataError(
            f"{where}: labels are text in one part and numbers in the other; give them alike"
        )
    found = np.unique(np.concatenate(list(parts.values())))
    if not len(found):
        raise DataError(f"{where}: there are no labels")
    is_number = found.dtype.kind != "U"
    last = int(found[-1]) if is_number else 0
    is_numbered = is_number and not found[0] and (from_zero or last == len(found) - 1)
    count = last + 1 if is_numbered else len(found)
    if count > CLASSES_MAX:
        raise DataError(
            f"{where}: labels are of {counted(count, 'class', 'classes')}; allowed are "
            f"{CLASSES_MAX}: an output layer "
            f"gets a neuron for each"
        )
    if is_numbered:
        return {name: Labels(labels.astype(np.int64), count) for name, labels in parts.items()}
    _refuse_unknown(parts, where)
    names = sorted_names([str(one) for one in found.tolist()])
    return {name: numbered(labels, names, where, name) for name, labels in parts.items()}


def _refuse_unknown(parts: Mapping[str, GivenLabels], where: object) -> None:
    """Refuse labels that are tested and never trained on."""
    first, *others = parts
    if not len(parts[first]):
        return
    for name in others:
        unknown = np.setdiff1d(parts[name], parts[first])
        if len(unknown):
            raise DataError(
                f"{where}: {name} has the label {unknown[0].item()!r}, which {first} has not; a "
                f"class has to have training samples"
            )


def numbered(labels: GivenLabels, names: Sequence[str], where: object, name: str) -> Labels:
    """Return labels by their places in a list of names.

    Args:
        labels: their texts, or whole numbers of which the names are the texts.
        names: of all classes, in order.
        where: the data, for messages.
        name: the array, for messages.

    Raises:
        DataError: a label is not among the names.
    """
    places = {text: place for place, text in enumerate(names)}
    values = np.empty(len(labels), np.int64)
    for index, label in enumerate(labels.tolist()):
        place = places.get(str(label))
        if place is None:
            raise DataError(
                f"{where}: {name}[{index}] is {label!r}, which is none of the "
                f"{counted(len(names), 'class', 'classes')} "
                f"({', '.join(names[:8])}{', …' if len(names) > 8 else ''})"
            )
        values[index] = place
    return Labels(values, len(names), tuple(names))


def sorted_names(names: Sequence[str]) -> list[str]:
    """Return the names of classes in order: whole numbers by their value, otherwise as text."""
    try:
        return sorted(names, key=int)
    except ValueError:
        return sorted(names)
