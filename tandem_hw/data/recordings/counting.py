"""How many events each pixel sent in each bin of time, over a recording or over windows of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.data.recordings.recording import polarities, whole_times
from tandem_hw.errors import DataError

#: Windows that a recording may have beside one for each of its events: most would be silent.
_SILENT_WINDOWS = 1000


@dataclass(frozen=True)
class Windows:
    """Windows that slide over recordings.

    Attributes:
        length: of a window, in the recordings' unit of time.
        stride: from the start of one to that of the next.

    Raises:
        DataError: one of them is no whole number from 1.
    """

    length: int
    stride: int

    def __post_init__(self) -> None:
        """Check both."""
        for name, value in (("window", self.length), ("stride", self.stride)):
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
                raise DataError(
                    f"{name} is {value!r}; give a whole number from 1, in the recordings' unit of "
                    f"time (microseconds, where times are seconds or files)"
                )


def plain_events(events: Any, size: tuple[int, int, int], where: str) -> npt.NDArray[Any]:
    """Check one recording and return a copy of int64 fields, sorted by time.

    Args:
        events: a structured array of x, t, p and perhaps y; whole numbers, and times may be seconds
            as floats.
        size: (width, height, polarities).
        where: the recording, for messages.

    Raises:
        DataError: it is something else, or an event lies outside of the sensor.
    """
    names = getattr(getattr(events, "dtype", None), "names", None) or ()
    wanted = [name for name in ("x", "y", "t", "p") if name in names]
    if not {"x", "t", "p"} <= set(wanted):
        raise DataError(
            f"{where}: is {type(events).__name__} with fields {names}; a structured array with x, "
            f"t, p and perhaps y is needed"
        )
    width, height, count = size
    if "y" not in wanted and height != 1:
        raise DataError(f"{where}: has no field y, and the sensor's height is {height}, not 1")
    plain = np.empty(len(events), [(name, np.int64) for name in wanted])
    for name in wanted:
        values = whole_times(events[name], where) if name == "t" else events[name]
        if values.dtype.kind not in "iub":
            raise DataError(
                f"{where}: {name} is {values.dtype}; whole numbers are needed, times for "
                f"instance in microseconds"
            )
        plain[name] = polarities(values, where) if name == "p" else values
    if count == 1 and len(np.unique(plain["p"])) == 1:
        plain["p"] = 0  # such sensors write any number there
    limits = {"x": width, "y": height, "p": count}
    for name in wanted:
        if name in limits and len(plain):
            low, high = int(plain[name].min()), int(plain[name].max())
            if low < 0 or high >= limits[name]:
                raise DataError(
                    f"{where}: {name} spans {low} to {high}; allowed are 0 to {limits[name] - 1} "
                    f"with sensor_size {size}"
                )
    return plain[np.argsort(plain["t"], kind="stable")]


def count_events(
    events: npt.NDArray[Any],
    size: tuple[int, int, int],
    num_steps: int,
    input_bits: int,
    windows: Windows | None,
    where: str,
) -> Iterator[tuple[npt.NDArray[np.uint8], int]]:
    """Yield the counts of a recording, or of each window of it, and how many events they lack.

    A window of L units starts at the first event and every ``stride`` units behind it, as long as
    it ends before the last event does, or is the first one. Its bins are those of a recording from
    its start to L - 1 units later.

    Args:
        events: as ``plain_events`` returns them.
        size: (width, height, polarities).
        num_steps: number of bins.
        input_bits: counts are 2^input_bits - 1 at most.
        windows: None for the whole recording.
        where: the recording, for messages.

    Yields:
        uint8 [num_steps, polarities, height, width]; without y [..., polarities, units], or
        [..., units] where there is one polarity.

    Raises:
        DataError: it has far more windows than events.
    """
    times = events["t"]
    first, last = (int(times[0]), int(times[-1])) if len(times) else (0, 0)
    if windows is None:
        yield _counted(events, size, num_steps, input_bits, first, last)
        return
    count = max(0, (last - first + 1 - windows.length) // windows.stride) + 1
    if count > len(events) + _SILENT_WINDOWS:
        raise DataError(
            f"{where}: {len(events)} events over {last - first} units of time would be {count} "
            f"windows of {windows.length}; check the times, or give a longer window and stride"
        )
    for number in range(count):
        start = first + number * windows.stride
        end = start + windows.length
        inside = slice(*np.searchsorted(times, [start, end]).tolist())
        yield _counted(events[inside], size, num_steps, input_bits, start, end - 1)


def _counted(
    events: npt.NDArray[Any],
    size: tuple[int, int, int],
    num_steps: int,
    input_bits: int,
    first: int,
    last: int,
) -> tuple[npt.NDArray[np.uint8], int]:
    """Count events from ``first`` to ``last`` in bins of (last - first) // num_steps + 1 units."""
    width, height, count = size
    is_plane = "y" in (events.dtype.names or ())
    shape = (num_steps, count, height, width) if is_plane else (num_steps, count, width)
    place = ((events["t"] - first) // ((last - first) // num_steps + 1)) * count + events["p"]
    if is_plane:
        place = place * height + events["y"]
    places, found = np.unique(place * width + events["x"], return_counts=True)
    largest = (1 << input_bits) - 1
    counts = np.zeros(shape, np.uint8)
    counts.reshape(-1)[places] = np.minimum(found, largest)
    lost = int(np.maximum(found - largest, 0).sum())
    return (counts if is_plane or count > 1 else counts[:, 0]), lost
