"""Event data from an npz file, as recorded or already binned.

A file that ``numpy.savez`` or ``savez_compressed`` wrote, with the training part and the test part
(``train`` and ``test`` below are written PART):

=============== ======================================= ============================================
array           shape                                   what
=============== ======================================= ============================================
y_PART          [N], integers from 0                    labels
x_PART          [N, num_steps, C, H, W],                binned: counts, integers from 0
                [N, num_steps, C, units] or
                [N, num_steps, units]
events_PART     [M], structured, numeric fields         recorded: one event each, in any order
                sample, x, t, p and, on a plane, y
events_PART_F   [M], numbers                            the same as one array a field F
sensor_size     [3], integers                           recorded: (width, height, polarities)
=============== ======================================= ============================================

``sample`` is the index of the event's recording, 0 to N - 1; ``t`` is in any unit, or seconds as
floats; ``p`` may be -1 and 1. A recording without events is one of silence. A file holds either
kind, the same in both parts.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.data.dataset import Need
from tandem_hw.data.event_data import (
    BinnedEvents,
    EventDataset,
    bin_events,
    check_binning,
    clip_counts,
    event_dataset,
)
from tandem_hw.data.npz_arrays import (
    LabelArray,
    check_labels,
    count_classes,
    read_arrays,
    read_names,
)
from tandem_hw.data.npz_file import expanded_limit
from tandem_hw.errors import DataError

_SENSOR_SIZE: Final = "sensor_size"
_FIELDS: Final = ("sample", "x", "t", "p")
#: Axes of binned counts: samples, steps, and the shape that a network takes in a step.
_BINNED_AXES: Final = (3, 4, 5)


def load_event_file(
    path: Path, num_steps: int, input_bits: int, need: Need, *, name: str
) -> EventDataset:
    """Load a file of recorded or binned events.

    Args:
        path: an npz file in the format above.
        num_steps: number of bins; a binned file has to have as many.
        input_bits: counts are clipped at 2^input_bits - 1.
        need: "test" leaves the training part out, and the file need not have one.
        name: the spec.

    Raises:
        DataError: the file cannot be read, does not keep to the format.
    """
    check_binning(num_steps, input_bits)
    found = read_names(path)
    parts = ("train", "test") if need == "all" else ("test",)
    kinds = {_kind(path, found, part) for part in parts}
    if len(kinds) > 1:
        raise DataError(f"{path}: holds one part recorded, the other binned; give both alike")
    load = {"binned": _binned, "recorded": _recorded}[kinds.pop()]
    binned = {part: load(path, found, part, num_steps, input_bits) for part in parts}
    labels = read_arrays(path, ["y_test"], optional=["y_train"])
    return event_dataset(name, binned.get("train"), binned["test"], count_classes(labels, path))


def _kind(path: Path, found: list[str], part: str) -> str:
    """Tell how a part of the file is written."""
    kinds = {
        f"x_{part}": "binned",
        f"events_{part}": "recorded",
        f"events_{part}_sample": "recorded",
    }
    present = [kind for array, kind in kinds.items() if array in found]
    if len(present) != 1:
        raise DataError(
            f"{path}: holds {found}; its {part} part needs exactly one of {', '.join(kinds)}"
        )
    return present[0]


def _binned(
    path: Path, found: list[str], part: str, num_steps: int, input_bits: int
) -> BinnedEvents:
    """Read and check counts."""
    name = f"x_{part}"
    arrays = read_arrays(path, [name, f"y_{part}"])
    counts = arrays[name]
    if counts.dtype.kind not in "iu":
        raise DataError(f"{path}: {name} is {counts.dtype}; counts are integers")
    if counts.ndim not in _BINNED_AXES or counts.size == 0:
        raise DataError(
            f"{path}: {name} has shape {counts.shape}; allowed are [N, num_steps, C, H, W], "
            f"[N, num_steps, C, units] and [N, num_steps, units], none of them 0"
        )
    if counts.shape[1] != num_steps:
        raise DataError(
            f"{path}: {name} is binned in {counted(counts.shape[1], 'step')}, the network has "
            f"num_steps {num_steps}; take as many steps as the file has, or give the events as "
            f"recorded"
        )
    if counts.min() < 0:
        raise DataError(f"{path}: {name} holds {counts.min()}; counts are 0 or more")
    labels = check_labels(arrays[f"y_{part}"], len(counts), path, f"y_{part}")
    kept, clipped = clip_counts(counts, input_bits)
    return BinnedEvents(np.ascontiguousarray(kept), labels, input_bits, clipped)


def _recorded(
    path: Path, found: list[str], part: str, num_steps: int, input_bits: int
) -> BinnedEvents:
    """Read and check events, and bin them."""
    fields = _read_fields(path, found, part)
    arrays = read_arrays(path, [f"y_{part}", _SENSOR_SIZE])
    size = arrays[_SENSOR_SIZE]
    if size.shape != (3,) or size.dtype.kind not in "iu":
        raise DataError(
            f"{path}: {_SENSOR_SIZE} is {size.dtype} {size.shape}; 3 integers (width, height, "
            f"polarities) are needed"
        )
    labels = arrays[f"y_{part}"]
    labels = check_labels(labels, labels.size, path, f"y_{part}")
    sample = fields.pop("sample")
    if sample.size and not 0 <= int(sample.min()) <= int(sample.max()) < len(labels):
        raise DataError(
            f"{path}: events_{part} belong to samples {sample.min()} to {sample.max()}; y_{part} "
            f"has labels for 0 to {len(labels) - 1}"
        )
    width, height, polarities = (int(value) for value in size)
    counts = len(labels) * num_steps * math.prod((width, height, polarities))
    if counts > expanded_limit(path.stat().st_size):
        raise DataError(
            f"{path}: {counted(len(labels), 'sample')} of {counted(num_steps, 'step')} and "
            f"{_SENSOR_SIZE} "
            f"{(width, height, polarities)} are {counts} counts, far more than a file of "
            f"{path.stat().st_size} bytes says; check {_SENSOR_SIZE}, take fewer steps, or give "
            f"the events binned"
        )
    return bin_events(
        _Recorded(sample, fields, labels),
        num_steps=num_steps,
        input_bits=input_bits,
        sensor_size=(width, height, polarities),
        name=f"{path}: events_{part}",
    )


def _read_fields(path: Path, found: list[str], part: str) -> dict[str, npt.NDArray[Any]]:
    """Return sample, x, t, p and perhaps y, one-dimensional, of integers and of one length."""
    whole = f"events_{part}"
    if whole in found:
        events = read_arrays(path, [whole])[whole]
        fields = {name: events[name] for name in events.dtype.names or ()}
    else:
        prefix = f"{whole}_"
        names = [name for name in found if name.startswith(prefix)]
        arrays = read_arrays(path, names)
        fields = {name[len(prefix) :]: array for name, array in arrays.items() if name in names}
    missing = [name for name in _FIELDS if name not in fields]
    unknown = sorted(set(fields) - {*_FIELDS, "y"})
    if missing or unknown:
        raise DataError(
            f"{path}: {whole} has the fields {sorted(fields)}; sample, x, t, p and, on a plane, y "
            f"are needed, and no others"
        )
    length = fields["sample"].shape
    for name, values in fields.items():
        kinds = "iubf" if name == "t" else "iub"
        if values.dtype.kind not in kinds or values.ndim != 1 or values.shape != length:
            raise DataError(
                f"{path}: {whole}, field {name} is {values.dtype} {values.shape}; integers [M], as "
                f"many as events, are needed"
            )
    return fields


class _Recorded:
    """The recordings of a file, as a tonic data set gives its own."""

    def __init__(
        self, sample: npt.NDArray[Any], fields: dict[str, npt.NDArray[Any]], labels: LabelArray
    ) -> None:
        order = np.argsort(sample, kind="stable")
        self.labels = labels
        self.edges = np.searchsorted(sample[order], np.arange(len(labels) + 1))
        self.events = np.empty(
            len(sample), [(name, values.dtype) for name, values in fields.items()]
        )
        for name, values in fields.items():
            self.events[name] = values[order]

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[Any], np.int64]:
        """Return the events of a recording and its label."""
        start, end = self.edges[index : index + 2]
        return self.events[start:end], self.labels[index]
