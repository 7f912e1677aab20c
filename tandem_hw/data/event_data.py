"""Event data as counts: how many events of each polarity a pixel sent in each step of the window.

A recording of t_first to t_last, in whole units of time, is cut into num_steps bins of
(t_last - t_first) // num_steps + 1 units. So every event is in exactly one bin. The network takes
the counts of bin t in step t (encoding "events"). Transforms of tonic's augment.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.data.dataset import Dataset, Images, Labels
from tandem_hw.data.npz_arrays import LabelArray, check_labels
from tandem_hw.data.recordings.counting import Windows, count_events, plain_events
from tandem_hw.errors import DataError, TandemError, how_to_install
from tandem_hw.network.choices import encodings_for
from tandem_hw.network.fixed_point import INPUT_BITS_RANGE, NUM_STEPS_RANGE
from tandem_hw.network.quantized import InputSpec
from tandem_hw.ranges import whole_number

Counts = npt.NDArray[np.uint8]

_LOG = logging.getLogger(__name__)
_INSTALL: Final = how_to_install("events")
#: A sensor with more values than this is taken for a mistake; real ones have some millions.
_SENSOR_VALUES_MAX: Final = 1 << 26


class Recordings(Protocol):
    """What a tonic data set is: recordings by index, each with its label."""

    def __len__(self) -> int:
        """Return the number of recordings."""

    def __getitem__(self, index: int, /) -> tuple[Any, Any]:
        """Return the events, a structured array of x, t, p and perhaps y, and the label."""


@dataclass(frozen=True, eq=False)
class BinnedEvents:
    """One part of an event data set.

    Attributes:
        counts: uint8 [N, num_steps, C, H, W], [N, num_steps, C, units] or [N, num_steps, units],
            0 to 2^input_bits - 1.
        labels: int64 [N], from 0.
        input_bits: width of a count, 1 to 8.
        clipped: events that came on top of a full count and are lost.
    """

    counts: Counts
    labels: LabelArray
    input_bits: int
    clipped: int


@dataclass(frozen=True, eq=False)
class EventDataset(Dataset):
    """Counts of events and their labels, in two parts.

    Attributes:
        name: the spec that it was loaded by.
        x_train: uint8 [N, num_steps, C, H, W], [N, num_steps, C, units] or [N, num_steps, units];
            no samples where only the test part was asked for.
        wanted_train: their labels.
        x_test: as ``x_train``.
        wanted_test: as ``wanted_train``.
        input_bits: counts are 0 to 2^input_bits - 1.
        clipped: events that came on top of a full count and are lost.
    """

    input_bits: int
    clipped: int
    holds_events: ClassVar[bool] = True

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one step of a sample, (C, H, W), (C, units) or (units,)."""
        return tuple(self.x_test.shape[2:])

    @property
    def num_steps(self) -> int:
        """Number of bins."""
        return int(self.x_test.shape[1])

    def check_fit(self, spec: InputSpec, num_steps: int) -> None:
        """Refuse a network that takes images, another shape, fewer bits or other bins."""
        if not spec.takes_events:
            raise DataError(
                f"{self.name}: holds events, and the network takes images (encoding "
                f'"{spec.encoding}"); train with encoding {encodings_for(events=True)}'
            )
        super().check_fit(spec, num_steps)
        if self.num_steps != num_steps:
            raise DataError(
                f"{self.name}: is binned in {counted(self.num_steps, 'step')}; the network has "
                f"num_steps {num_steps}, load the data with the same"
            )
        if self.input_bits > spec.bits:
            raise DataError(
                f"{self.name}: counts have {self.input_bits} bits; the network takes {spec.bits}, "
                f"load the data with the same"
            )

    def integers(self, samples: Images, spec: InputSpec) -> Counts:
        """Return the counts as they are."""
        counts: Counts = np.ascontiguousarray(samples, np.uint8)
        return counts


def event_dataset(
    name: str,
    train: BinnedEvents | None,
    test: BinnedEvents,
    classes: int | None = None,
    class_names: tuple[str, ...] | None = None,
) -> EventDataset:
    """Join two parts to a data set; what was clipped is logged as a warning.

    Args:
        name: goes into checkpoints and messages.
        train: None for a data set that is there to be tested on.
        test: the other part, of the same shape.
        classes: number of labels, by default the highest one's number plus one.
        class_names: what the user calls each class, by its number.

    Raises:
        DataError: the parts are not alike.
    """
    if train is None:
        train = BinnedEvents(test.counts[:0], test.labels[:0], test.input_bits, 0)
    if train.counts.shape[1:] != test.counts.shape[1:] or train.input_bits != test.input_bits:
        raise DataError(
            f"{name}: training samples are {train.counts.shape[1:]} of {train.input_bits} bits, "
            f"test samples {test.counts.shape[1:]} of {test.input_bits}; bin both parts alike"
        )
    if classes is None:
        classes = int(np.concatenate([train.labels, test.labels]).max()) + 1
    clipped = train.clipped + test.clipped
    if clipped:
        kept = sum(int(part.counts.sum(dtype=np.int64)) for part in (train, test))
        _LOG.warning(
            "%s: %d of %d events came on top of %d in their pixel and bin, the most that "
            "input_bits %d can say, and are left out",
            *(name, clipped, kept + clipped, (1 << test.input_bits) - 1, test.input_bits),
        )
    return EventDataset(
        name,
        *(train.counts, Labels(train.labels, classes, class_names)),
        *(test.counts, Labels(test.labels, classes, class_names)),
        input_bits=test.input_bits,
        clipped=clipped,
    )


def bin_events(
    recordings: Recordings,
    *,
    num_steps: int,
    input_bits: int,
    sensor_size: tuple[int, int, int] | None = None,
    transform: Callable[[Any], Any] | None = None,
    copies: int = 1,
    window: int | None = None,
    stride: int | None = None,
    name: str | None = None,
) -> BinnedEvents:
    """Count the events of every recording in bins of time.

    Args:
        recordings: a tonic data set, or anything with its ``len`` and ``[]``. Events are a
            structured array with whole numbers in the fields x, t, p and, on a plane, y. Times that
            are floats are seconds and become microseconds; polarities -1 and 1 become 0 and 1.
        num_steps: number of bins, which is the length T of the network's window.
        input_bits: width of a count, 1 to 8.
        sensor_size: (width, height, polarities) after ``transform``; by default that of
            ``recordings``. Without a field y the height is 1.
        transform: applied to the events of every recording, for instance a tonic transform or
            several as ``tonic.transforms.Compose``: augmentation, or ``Downsample``. tonic's draw
            from NumPy's global random numbers.
        copies: times that the recordings are gone through, each time with ``transform`` anew: with
            an augmentation the data set grows so many times.
        window: length of a window, in the recordings' unit of time (microseconds where times are
            seconds): a recording then gives a sample for each of its windows, with its label. The
            windows slide from the first event on, and end before the last one does.
        stride: from the start of a window to that of the next, by default the window.
        name: the data set in messages, by default its class.

    Returns:
        The counts [copies * N, num_steps, polarities, height, width]; without y
        [..., polarities, units], or [..., units] where there is one polarity; and the labels. With
        windows as many samples as there are windows.

    Raises:
        DataError: an argument is out of range, or a recording cannot be read or does not fit.
    """
    check_binning(num_steps, input_bits)
    if copies < 1:
        raise DataError(f"copies is {copies}; give 1 or more")
    name = type(recordings).__name__ if name is None else name
    size = _sensor_size(getattr(recordings, "sensor_size", None), sensor_size, name)
    if not len(recordings):
        raise DataError(f"{name}: there are no recordings")
    windows = None
    if window is not None or stride is not None:
        windows = Windows(_given(window, stride), _given(stride, window))
    room = _Samples(copies * len(recordings))
    for row in range(copies * len(recordings)):
        index = row % len(recordings)
        where = f"{name}: recording {index}"
        events, label = _read_recording(recordings, index, transform, where)
        plain = plain_events(events, size, where)
        for counts, lost in count_events(plain, size, num_steps, input_bits, windows, where):
            if room.shape not in (None, counts.shape):
                raise DataError(f"{where}: has fields {events.dtype.names}, others have other ones")
            room.add(counts, label, lost)
    counts = room.counts
    labels = check_labels(np.asarray(room.labels), len(counts), name, "labels")
    return BinnedEvents(counts, labels, input_bits, room.clipped)


def _given(one: int | None, other: int | None) -> Any:
    return other if one is None else one


class _Samples:
    """Counts that come one sample after the other, at least as many as was said."""

    def __init__(self, expected: int) -> None:
        self._expected, self._filled = expected, 0
        self._room: Counts | None = None
        self.labels: list[Any] = []
        self.clipped = 0

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of a sample; None before the first."""
        return None if self._room is None else self._room.shape[1:]

    @property
    def counts(self) -> Counts:
        """Counts of all samples."""
        assert self._room is not None  # there is a recording, and a window of each
        return self._room[: self._filled]

    def add(self, counts: Counts, label: Any, lost: int) -> None:
        """Take in a sample."""
        if self._room is None:
            self._room = np.zeros((self._expected, *counts.shape), np.uint8)
        if self._filled == len(self._room):
            self._room = np.concatenate([self._room, np.zeros_like(self._room)])
        self._room[self._filled] = counts
        self._filled += 1
        self.labels.append(label)
        self.clipped += lost


def check_binning(num_steps: int, input_bits: int) -> None:
    """Refuse numbers that no network can have.

    Raises:
        DataError: ``num_steps`` or ``input_bits`` is out of range.
    """
    whole_number("num_steps", num_steps, NUM_STEPS_RANGE, DataError)
    whole_number("input_bits", input_bits, INPUT_BITS_RANGE, DataError)


def clip_counts(counts: npt.NDArray[Any], input_bits: int) -> tuple[Counts, int]:
    """Limit counts to 2^input_bits - 1.

    Args:
        counts: integers of any shape, 0 or more.
        input_bits: width of a count, 1 to 8.

    Returns:
        The counts as uint8, and how many events are lost.
    """
    largest = (1 << input_bits) - 1
    kept: Counts = np.minimum(counts, largest).astype(np.uint8)
    full = counts[counts > largest]
    return kept, int(full.sum(dtype=np.int64)) - largest * full.size


def import_tonic() -> Any:
    """Import tonic.

    Raises:
        DataError: it is not installed.
    """
    try:
        import tonic
        import tonic.datasets
        import tonic.transforms
    except ImportError as error:
        raise DataError(
            f"event data sets by name need tonic, which cannot be imported ({error}): {_INSTALL}"
        ) from error
    return tonic


# One recording -----------------------------------------------------------------------------------


def _sensor_size(found: Any, given: Any, name: str) -> tuple[int, int, int]:
    """Check and return (width, height, polarities)."""
    size = found if given is None else given
    if size is None:
        raise DataError(f"{name}: has no sensor_size; give (width, height, polarities)")
    try:
        width, height, polarities = (int(value) for value in size)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name}: sensor_size is {size}; three numbers (width, height, polarities) are needed"
        ) from error
    if min(width, height, polarities) < 1 or math.prod((width, height, polarities)) > (
        _SENSOR_VALUES_MAX
    ):
        raise DataError(
            f"{name}: sensor_size is {size}; allowed are positive numbers, {_SENSOR_VALUES_MAX} "
            f"pixels and polarities at most"
        )
    return width, height, polarities


def _read_recording(
    recordings: Recordings, index: int, transform: Callable[[Any], Any] | None, where: str
) -> tuple[Any, Any]:
    try:
        events, label = recordings[index]
        if transform is not None:
            events = transform(events)
    except ImportError as error:  # some of tonic's readers import theirs when they are used
        raise DataError(f"{where}: cannot be read ({error}); {_INSTALL}") from error
    except TandemError:
        raise
    except Exception as error:  # of whatever class, from damaged files or from the transform
        raise DataError(
            f"{where}: cannot be read or transformed ({error}); check the files and the transform"
        ) from error
    return events, label
