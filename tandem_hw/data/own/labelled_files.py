"""Files with their labels: a folder for each class, or a CSV file with paths and labels.

=============================== ===================================================================
folder                          what
=============================== ===================================================================
train/, test/ (or val/)         the two parts, each a folder for each class
CLASS/                          a folder for each class; a share of each is kept for the test
train.csv, test.csv (or val)    the two parts, each a list of paths and labels
one other .csv file             a list of paths and labels, and perhaps of the part of each
=============================== ===================================================================

A CSV file has a line of names: a column of paths (path, file, filename, image), one of labels
(label, class, target) and perhaps one of parts (split, part, set: train, test or val). Paths are
relative to its folder.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from tandem_hw.counted import counted
from tandem_hw.data.dataset import Labels, Need
from tandem_hw.data.own.arrays import TEST, TRAIN, split_test
from tandem_hw.data.own.class_names import numbered, sorted_names
from tandem_hw.errors import DataError
from tandem_hw.pointer_file import refuse_unreachable

#: Names of the parts, as folders, files and words in a column; the first one that is there counts.
_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    TRAIN: ("train", "training"),
    TEST: ("test", "testing", "val", "valid", "validation"),
}
_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "path": (
        *("path", "file", "filename", "file_name", "filepath", "file_path", "image"),
        *("image_path", "img", "name", "recording"),
    ),
    "label": ("label", "labels", "class", "class_name", "target", "category"),
    "part": ("split", "part", "set", "subset"),
}
_DELIMITERS: Final = ",;\t"
#: Texts of missing values, as spreadsheets and pandas write them.
_NO_LABEL: Final = ("", "nan", "none", "null", "na", "n/a")


@dataclass(frozen=True)
class LabelledFiles:
    """The files of a part.

    Attributes:
        paths: in order.
        labels: the text of each one's label.
    """

    paths: tuple[Path, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.paths)


def find_labelled_files(
    path: Path, need: Need, suffixes: Set[str]
) -> dict[str, tuple[tuple[Path, ...], Labels]]:
    """Return files and labels of both parts, or of the test part alone.

    Args:
        path: a folder as above, or a CSV file.
        need: "test" for the test part alone.
        suffixes: of the files that are looked for, in lower case, with their dots.

    Returns:
        By the name of the part, ``TRAIN`` or ``TEST``; class names are those of both parts. What
        has no test part is split, always the same way.

    Raises:
        DataError: there is no such folder, a part, a class or a file is missing, or a line of the
            CSV file is no path with its label.
    """
    refuse_unreachable(path, DataError)
    parts = _from_csv(path) if path.is_file() else _from_folder(path, suffixes)
    if TRAIN not in parts and need == "all":
        raise DataError(f"{path}: has a test part alone, and a training part is needed; add train/")
    names = sorted_names(sorted({label for part in parts.values() for label in part.labels}))
    if len(names) < 2:
        raise DataError(
            f"{path}: all files have the label {names[0]!r}; two classes are needed at least, each "
            f"a folder or a label of its own"
        )
    found = {
        name: (part.paths, numbered(np.array(part.labels), names, path, name))
        for name, part in parts.items()
    }
    if TRAIN in found:
        _refuse_unknown(found, path)
    if TEST not in found:
        paths, labels = found[TRAIN]
        rows = dict(zip((TRAIN, TEST), split_test(labels, path), strict=True))
        found = {
            name: (tuple(paths[row] for row in chosen), labels[chosen])
            for name, chosen in rows.items()
        }
    return found if need == "all" else {TEST: found[TEST]}


def _refuse_unknown(found: Mapping[str, tuple[tuple[Path, ...], Labels]], path: Path) -> None:
    """Refuse classes that are tested and never trained on."""
    trained = np.unique(found[TRAIN][1].values)
    for _, labels in found.values():
        unknown = np.setdiff1d(labels.values, trained)
        if len(unknown):
            assert labels.names is not None
            raise DataError(
                f"{path}: class {labels.names[unknown[0]]!r} has test files and no training files; "
                f"add some, or take it out"
            )


# Folders -----------------------------------------------------------------------------------------


def _from_folder(path: Path, suffixes: Set[str]) -> dict[str, LabelledFiles]:
    if not path.is_dir():
        fault = (
            "is not an ordinary file or folder"
            if path.exists()
            else "there is no such file or folder"
        )
        raise DataError(f"{path}: {fault}")
    folders, files = _visible(path)
    lists = {one.stem.lower(): one for one in files if one.suffix.lower() == ".csv"}
    if lists:
        return _from_lists(path, lists)
    names = {folder.name.lower(): folder for folder in folders}
    parts = _parts_in(names)
    if not parts:
        return {TRAIN: _classes(path, folders, suffixes)}
    rest = sorted(set(names) - {name for part in _PARTS.values() for name in part})
    if rest:
        if not any(_visible(folder)[0] for folder in parts.values()):  # a class that is called so
            return {TRAIN: _classes(path, folders, suffixes)}
        raise DataError(
            f"{path}: holds {sorted(one.name for one in parts.values())} beside {rest}; give the "
            f"two parts alone, train/ and test/, or a folder for each class"
        )
    found = {
        part: _classes(folder, _visible(folder)[0], suffixes) for part, folder in parts.items()
    }
    missing = set[str]()
    if len(found) > 1:
        missing = set(found[TRAIN].labels) - set(found[TEST].labels)
    if missing:
        raise DataError(
            f"{parts[TEST]}: has no folder {sorted_names(sorted(missing))[0]!r}, which "
            f"{parts[TRAIN]} has; every class is tested"
        )
    return found


def _parts_in(names: Mapping[str, Path]) -> dict[str, Path]:
    """Return which of some folders or files are the parts, by the name of the part."""
    found = {}
    for part, words in _PARTS.items():
        there = [names[word] for word in words if word in names]
        if there:
            found[part] = there[0]
    return found


def _visible(path: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders and the files in a folder, sorted, without hidden ones."""
    try:
        inside = sorted(one for one in path.iterdir() if not one.name.startswith("."))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    folders = [one for one in inside if one.is_dir()]
    return folders, [one for one in inside if one not in folders]


def _classes(path: Path, folders: Sequence[Path], suffixes: Set[str]) -> LabelledFiles:
    """Return the files of a folder for each class."""
    if not folders:
        raise DataError(
            f"{path}: holds no folders; give a folder for each class, or a CSV file with paths and "
            f"labels"
        )
    found: list[tuple[int, int, Path, str]] = []
    names = sorted_names([folder.name for folder in folders])
    places = {name: place for place, name in enumerate(names)}
    for folder in folders:
        files = [one for one in _below(folder) if one.suffix.lower() in suffixes]
        if not files:
            raise DataError(
                f"{folder}: holds no file that ends in {', '.join(sorted(suffixes))}; add some, or "
                f"take the folder away"
            )
        odd = next((file for file in files if not file.is_file()), None)
        if odd is not None:  # a pipe, of which a reader would wait for ever, or a link to nowhere
            raise DataError(f"{odd}: is not an ordinary file; take it out")
        place = places[folder.name]
        found += [(row, place, file, folder.name) for row, file in enumerate(files)]
    # The first of each class, then the second: whoever takes the first ones sees all classes.
    found.sort(key=lambda one: one[:2])
    _, _, paths, labels = zip(*found, strict=True)
    return LabelledFiles(paths, labels)


def _below(folder: Path) -> Iterator[Path]:
    """Yield all files in a folder and its folders, in order."""
    folders, files = _visible(folder)
    yield from files
    for one in folders:
        if not one.is_symlink():  # it may lead back up
            yield from _below(one)


# CSV files ---------------------------------------------------------------------------------------


def _from_lists(path: Path, lists: Mapping[str, Path]) -> dict[str, LabelledFiles]:
    parts = _parts_in(lists)
    if TRAIN in parts:
        return {part: _without_parts(one) for part, one in parts.items()}
    if len(lists) > 1:
        raise DataError(
            f"{path}: holds {sorted(one.name for one in lists.values())}; give one CSV file, or "
            f"train.csv and test.csv"
        )
    return _from_csv(next(iter(lists.values())))


def _without_parts(path: Path) -> LabelledFiles:
    found = _from_csv(path)
    if set(found) != {TRAIN}:
        raise DataError(f"{path}: has a column of parts, and is one of two files; give one of both")
    return found[TRAIN]


def _from_csv(path: Path) -> dict[str, LabelledFiles]:
    """Read a list of paths and labels; without a column of parts all is ``TRAIN``."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text)))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a CSV file ({error})") from error
    if len(rows) < 2:
        raise DataError(
            f"{path}: has {counted(len(rows), 'line')}; give one of names, and one for each file"
        )
    columns = _columns(path, rows[0])
    found: dict[str, list[tuple[Path, str]]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if any(cell.strip() for cell in row):
            part, file, label = _line(path, number, row, columns)
            found.setdefault(part, []).append((file, label))
    return {
        part: LabelledFiles(*(tuple(column) for column in zip(*found[part], strict=True)))
        for part in (TRAIN, TEST)
        if part in found
    }


def _delimiter(text: str) -> str:
    first = text.partition("\n")[0]
    return max(_DELIMITERS, key=first.count)


def _columns(path: Path, header: Iterable[str]) -> dict[str, int]:
    """Return the places of the columns by what they hold."""
    names = [name.strip().lower() for name in header]
    places = {
        what: [names.index(word) for word in words if word in names][:1]
        for what, words in _COLUMNS.items()
    }
    for what in ("path", "label"):
        if not places[what]:
            raise DataError(
                f"{path}: has the columns {names}; one of {', '.join(_COLUMNS[what])} is needed "
                f"for the {what}"
            )
    return {what: found[0] for what, found in places.items() if found}


def _line(
    path: Path, number: int, row: Sequence[str], columns: Mapping[str, int]
) -> tuple[str, Path, str]:
    """Return part, file and label of a line."""
    where = f"{path}: line {number}"
    if len(row) <= max(columns.values()):
        raise DataError(f"{where} has {counted(len(row), 'field')}; the first line names more")
    cells = {what: row[place].strip() for what, place in columns.items()}
    if cells["label"].lower() in _NO_LABEL:
        raise DataError(f"{where} has the label {cells['label']!r}; give every file its label")
    file = path.parent / cells["path"]
    if not cells["path"] or not os.path.isfile(file):
        raise DataError(f"{where} names {cells['path']!r}, and there is no such file beside it")
    word = cells.get("part", TRAIN).lower()
    part = next((part for part, words in _PARTS.items() if word in words), None)
    if part is None:
        raise DataError(
            f"{where} has the part {cells['part']!r}; allowed are "
            f"{', '.join(word for words in _PARTS.values() for word in words)}"
        )
    return part, file, cells["label"]
