"""One recording of an event camera: whole microseconds, polarities 0 and 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import DataError

#: Microseconds of a second: times that are real numbers are seconds.
MICROSECONDS: Final = 1_000_000
#: Seconds that a time may be away from zero: some thousand years, far within 64 bits.
_SECONDS_MAX: Final = 1e11
#: The largest whole number that a time can be, so that all differences are int64.
_TIME_MAX: Final = 1 << 62
FIELDS: Final = np.dtype([("x", np.int64), ("y", np.int64), ("t", np.int64), ("p", np.int64)])


@dataclass(frozen=True, eq=False)
class EventRecording:
    """The events of a recording.

    Attributes:
        events: [M], structured, int64 x, y, t (microseconds, or the file's own unit) and p (0 where
            a pixel became darker, 1 where it became brighter), in the order of the file.
        sensor_size: (width, height), or None where the file does not say it.
    """

    events: npt.NDArray[Any]
    sensor_size: tuple[int, int] | None


def whole_times(times: npt.NDArray[Any], where: object) -> npt.NDArray[Any]:
    """Return times as whole numbers: seconds, which real numbers are, become microseconds.

    Args:
        times: whole numbers of any unit, or real numbers, seconds.
        where: the recording, for messages.

    Returns:
        Whole numbers; seconds are rounded to the nearest microsecond.

    Raises:
        DataError: whole numbers are so large that a difference of two is none of 64 bits, or the
            real numbers are not finite, or all whole, as no seconds are.
    """
    if times.dtype.kind != "f":
        if times.dtype.kind in "iu" and times.size:
            low, high = int(times.min()), int(times.max())
            if low < -_TIME_MAX or high > _TIME_MAX:
                raise DataError(
                    f"{where}: t spans {low} to {high}; allowed are times up to 2^62 either way"
                )
        return times
    seconds = times.astype(np.float64)
    if not (np.abs(seconds) <= _SECONDS_MAX).all():  # not a number compares false
        raise DataError(
            f"{where}: t holds {times.dtype} that are not finite or beyond {_SECONDS_MAX:g} "
            f"seconds; give seconds as floats, or microseconds as whole numbers"
        )
    if len(seconds) > 1 and seconds[0] != seconds[-1] and (seconds == np.floor(seconds)).all():
        raise DataError(
            f"{where}: t is {times.dtype} and holds whole numbers only, so it is not clear whether "
            f"they are seconds; give seconds with their fractions, or microseconds as integers"
        )
    whole: npt.NDArray[np.int64] = np.rint(seconds * MICROSECONDS).astype(np.int64)
    return whole


def polarities(values: npt.NDArray[Any], where: object) -> npt.NDArray[Any]:
    """Return polarities from 0: those of -1 and 1 become 0 and 1.

    Args:
        values: whole numbers or truth values; real numbers that are whole.
        where: the recording, for messages.

    Raises:
        DataError: there are -1 and 0, of which either would be the darker one.
    """
    if values.dtype.kind == "f" and (values == np.floor(values)).all():
        values = values.astype(np.int64)
    if values.dtype.kind != "i" or not len(values) or values.min() != -1:
        return values
    if (values == 0).any():
        raise DataError(
            f"{where}: p holds -1 and 0; give polarities -1 and 1, or whole numbers from 0"
        )
    return np.maximum(values, 0)


def recording_of(
    fields: Mapping[str, npt.NDArray[Any]], sensor_size: tuple[int, int] | None, where: object
) -> EventRecording:
    """Make a recording of its fields.

    Args:
        fields: x, y, t and p, [M] each.
        sensor_size: (width, height), where it is known.
        where: the file, for messages.

    Raises:
        DataError: a field has another length or is no number.
    """
    count = len(fields["t"])
    events = np.empty(count, FIELDS)
    for name in FIELDS.names or ():
        values = fields[name]
        if name == "t":
            values = whole_times(values, where)
        elif name == "p":
            values = polarities(values, where)
        if values.shape != (count,) or values.dtype.kind not in "iub":
            raise DataError(
                f"{where}: {name} is {values.dtype} {values.shape}; whole numbers, one for each of "
                f"{count} events, are needed, and times may be seconds as floats"
            )
        events[name] = values
    return EventRecording(events, sensor_size)
