"""Recordings in files as a data set: a folder for each class, a CSV file, or a single recording.

Folders and CSV files are those of ``tandem_hw.data.own.labelled_files``. Options say what files do
not:

=========== =======================================================================================
window      seconds of a window; a recording then gives a sample for each (default: one sample)
stride      seconds from the start of a window to that of the next (default: the window)
sensor      WIDTHxHEIGHT, where the files do not say it
downsample  K: K by K pixels become one, whose events are all of theirs
fields      what the four columns of npy files without names are, such as txyp
label       the class of a single recording, a number from 0
=========== =======================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.data.dataset import Need
from tandem_hw.data.event_data import (
    BinnedEvents,
    EventDataset,
    bin_events,
    check_binning,
    event_dataset,
)
from tandem_hw.data.own.arrays import TEST, TRAIN
from tandem_hw.data.own.labelled_files import find_labelled_files
from tandem_hw.data.recordings.files import SUFFIXES, read_events
from tandem_hw.data.recordings.recording import MICROSECONDS
from tandem_hw.errors import DataError
from tandem_hw.pointer_file import refuse_unreachable

_POLARITIES: Final = 2
#: A label above this is taken for a mistake, as in other data sets.
_LABEL_MAX: Final = (1 << 16) - 1
_SIDE_MAX: Final = 1 << 16
_SECONDS_MAX: Final = 1e6


@dataclass(frozen=True)
class _Options:
    """What was said behind the path.

    Attributes:
        window: microseconds, or None.
        stride: likewise.
        sensor: (width, height), or None.
        downsample: pixels along each axis that become one.
        fields: columns of npy files, or None.
        label: of a single recording, or None.
    """

    window: int | None
    stride: int | None
    sensor: tuple[int, int] | None
    downsample: int
    fields: str | None
    label: int | None


def load_recordings(
    path: Path,
    num_steps: int,
    input_bits: int,
    need: Need,
    *,
    name: str,
    options: Mapping[str, str] | None = None,
) -> EventDataset:
    """Load recordings and bin them.

    Args:
        path: a folder, a CSV file, or a single recording, which is tested on alone.
        num_steps: number of bins of a sample.
        input_bits: counts are clipped at 2^input_bits - 1.
        need: "test" for the test part alone; the others are not read.
        name: the spec.
        options: as above.

    Returns:
        Counts [N, num_steps, 2, height, width].

    Raises:
        DataError: an option, a folder or a file cannot be used, or the files do not say the
            sensor's size.
    """
    check_binning(num_steps, input_bits)
    said = _read_options(path, options or {})
    refuse_unreachable(path, DataError)
    is_single = path.is_file() and path.suffix.lower() != ".csv"
    parts: dict[str, tuple[tuple[Path, ...], npt.NDArray[np.int64]]]
    names: tuple[str, ...] | None = None
    if is_single:
        parts = {TEST: ((path,), _single_label(path, said, need))}
    else:
        if said.label is not None:
            raise DataError(
                f"{path}: label is of a single recording; here folders or a CSV file say it"
            )
        found = find_labelled_files(path, need, SUFFIXES | {".npz"})
        parts = {part: (files, labels.values) for part, (files, labels) in found.items()}
        names = found[TEST][1].names
    size = said.sensor

    def binned(part: str) -> BinnedEvents:
        nonlocal size
        files, labels = parts[part]
        recordings = _Files(files, labels, said, size)
        size = recordings.sensor
        return bin_events(
            recordings,
            num_steps=num_steps,
            input_bits=input_bits,
            window=said.window,
            stride=said.stride,
            name=name,
        )

    train = binned(TRAIN) if TRAIN in parts else None
    return event_dataset(name, train, binned(TEST), len(names) if names else None, names)


def _single_label(path: Path, said: _Options, need: Need) -> npt.NDArray[np.int64]:
    if need == "all":
        raise DataError(
            f"{path}: is a single recording, which can be tested on alone; to train, give a folder "
            f"with a folder of recordings for each class"
        )
    if said.label is None:
        raise DataError(
            f"{path}: a single recording does not say its class; say it, for instance "
            f"events:{path.name},label=0, or put recordings into a folder for each class"
        )
    return np.array([said.label])


class _Files:
    """The recordings of some files, as a tonic data set gives its own.

    Attributes:
        sensor: (width, height) of the files.
        sensor_size: (width, height, polarities) of what is given.
    """

    def __init__(
        self,
        files: Sequence[Path],
        labels: npt.NDArray[np.int64],
        said: _Options,
        sensor: tuple[int, int] | None,
    ) -> None:
        self.files, self.labels, self.said = files, labels, said
        self.sensor = self._sensor_of(files[0]) if sensor is None else sensor
        sides = [-(-side // said.downsample) for side in self.sensor]
        self.sensor_size = (*sides, _POLARITIES)

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[Any], np.int64]:
        """Return the events of a recording and its label."""
        path = self.files[index]
        recording = read_events(path, columns=self.said.fields)
        found = recording.sensor_size
        if self.said.sensor is None and found not in (None, self.sensor):
            raise DataError(
                f"{path}: is of a sensor of {found}, and others of {self.sensor} (width, height); "
                f"give recordings of one sensor"
            )
        events = recording.events
        for side, name in zip(self.sensor, ("x", "y"), strict=True):
            values = events[name]
            if len(values) and not 0 <= values.min() <= values.max() < side:
                raise DataError(
                    f"{path}: {name} spans {values.min()} to {values.max()}, on a sensor of "
                    f"{self.sensor} (width, height); say the right one, sensor=WIDTHxHEIGHT"
                )
            values //= self.said.downsample
        return events, self.labels[index]

    def _sensor_of(self, path: Path) -> tuple[int, int]:
        size = read_events(path, columns=self.said.fields).sensor_size
        if size is None:
            raise DataError(
                f"{path}: does not say the size of its sensor; say it behind the path, for "
                f"instance sensor=640x480 (width, height)"
            )
        return size


def _read_options(path: Path, given: Mapping[str, str]) -> _Options:
    sensor = None
    if "sensor" in given:
        found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", given["sensor"])
        sensor = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= min(sensor) <= max(sensor) <= _SIDE_MAX:
            raise DataError(
                f"{path}: sensor is {given['sensor']!r}; give WIDTHxHEIGHT, such as 640x480"
            )
    return _Options(
        _microseconds(path, given, "window"),
        _microseconds(path, given, "stride"),
        sensor,
        _number(path, given, "downsample", range(1, _SIDE_MAX + 1)) or 1,
        given.get("fields"),
        _number(path, given, "label", range(_LABEL_MAX + 1)),
    )


def _microseconds(path: Path, given: Mapping[str, str], name: str) -> int | None:
    """Return a length of time in microseconds."""
    if name not in given:
        return None
    try:
        seconds = float(given[name])
    except ValueError:
        seconds = 0.0
    if not 1 / MICROSECONDS <= seconds <= _SECONDS_MAX:
        raise DataError(
            f"{path}: {name} is {given[name]!r}; give seconds, such as {name}=0.1, from a "
            f"microsecond to {_SECONDS_MAX:g}"
        )
    return round(seconds * MICROSECONDS)


def _number(path: Path, given: Mapping[str, str], name: str, allowed: range) -> int | None:
    if name not in given:
        return None
    text = given[name]
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) in allowed):
        raise DataError(
            f"{path}: {name} is {text!r}; give a whole number, {allowed[0]} to {allowed[-1]}"
        )
    return int(text)
