"""Event data sets by name, which tonic downloads and reads."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from tandem_hw.data.dataset import Need
from tandem_hw.data.event_data import (
    BinnedEvents,
    EventDataset,
    Recordings,
    bin_events,
    event_dataset,
    import_tonic,
)
from tandem_hw.data.splits import split_validation
from tandem_hw.errors import DataError


@dataclass(frozen=True)
class _Source:
    """A class in ``tonic.datasets`` and how many labels it has.

    Attributes:
        class_name: the class.
        classes: number of labels.
        split: whether it has a training and a test part.
    """

    class_name: str
    classes: int
    split: bool = True


_SOURCES: Final = {
    "nmnist": _Source("NMNIST", 10),
    "dvs-gesture": _Source("DVSGesture", 11),
    "cifar10-dvs": _Source("CIFAR10DVS", 10, split=False),
    "shd": _Source("SHD", 20),
}
#: Share of a data set without a test part that is tested on, as is usual for CIFAR10-DVS.
_TEST_FRACTION: Final = 0.1


def load_tonic(
    spec: str, need: Need, folder: Path, num_steps: int, input_bits: int
) -> EventDataset:
    """Load N-MNIST, DVS Gesture, CIFAR10-DVS or SHD, at the sensor's full size.

    CIFAR10-DVS has no test part: a tenth of each class is taken, always the same.

    Args:
        spec: a name in ``catalogue.TONIC``.
        need: "test" leaves the training part out.
        folder: where downloads are kept.
        num_steps: number of bins.
        input_bits: width of a count, 1 to 8.

    Raises:
        DataError: tonic is missing, or cannot download or read the data.
    """
    source = _SOURCES[spec]
    make = getattr(import_tonic().datasets, source.class_name)

    def binned(recordings: Any, indices: Any) -> BinnedEvents:
        return bin_events(
            _Chosen(recordings, indices),
            num_steps=num_steps,
            input_bits=input_bits,
            sensor_size=make.sensor_size,
            name=spec,
        )

    train: BinnedEvents | None = None
    if source.split:
        if need == "all":
            part = _open(spec, make, folder, train=True)
            train = binned(part, _order(part))
        part = _open(spec, make, folder, train=False)
        return event_dataset(spec, train, binned(part, _order(part)), source.classes)
    whole = _open(spec, make, folder)
    order = np.asarray(_order(whole))
    labels = np.asarray(whole.targets)[order]
    train_rows, test_rows = split_validation(len(order), labels, _TEST_FRACTION, seed=0)
    if need == "all":
        train = binned(whole, order[train_rows].tolist())
    return event_dataset(spec, train, binned(whole, order[test_rows].tolist()), source.classes)


@dataclass(frozen=True)
class _Chosen:
    """Some recordings of a data set.

    Attributes:
        recordings: the data set.
        indices: which of them, in this order.
    """

    recordings: Recordings
    indices: Sequence[int]

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Return the events and the label of a recording."""
        return self.recordings[self.indices[index]]


def _open(spec: str, make: Callable[..., Any], folder: Path, **part: bool) -> Any:
    """Make a tonic data set, which downloads what is not there."""
    try:
        # tonic prints what it downloads; standard output is for results.
        with contextlib.redirect_stdout(sys.stderr):
            recordings = make(save_to=str(folder), **part)
    except Exception as error:  # of whatever class, from a download or from damaged files
        raise DataError(
            f'data set "{spec}" could not be downloaded to {folder} or read from there ({error}); '
            f"without a connection, put the archive that tonic.datasets.{make.__name__} names into "
            f"{folder / make.__name__}, or bin the events elsewhere and give events:PATH"
        ) from error
    if not len(recordings):
        raise DataError(
            f'data set "{spec}": {folder / make.__name__} holds no recordings; remove that folder '
            f"and load it again"
        )
    return recordings


def _order(recordings: Any) -> list[int]:
    """Return the indices by name of file: tonic's order is that of the folder's listing."""
    files = recordings.data
    return sorted(range(len(recordings)), key=lambda index: str(files[index]) if files else index)
