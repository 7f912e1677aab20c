"""Moving digits: event data of ten classes that are made by code and stored nowhere.

scikit-learn's digits are enlarged and moved along three saccades, as the camera does that recorded
N-MNIST (Orchard et al., *Converting Static Image Datasets to Spiking Neuromorphic Datasets Using
Saccades*, arXiv 1507.07629): down to the right, up to the right, and back to the left. A pixel
sends an event for every step of contrast that its log intensity crosses, as an event camera does.
All of it is computed in whole numbers, so every machine makes the same events.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.data.catalogue import MOVING_DIGITS
from tandem_hw.data.dataset import Need
from tandem_hw.data.event_data import (
    BinnedEvents,
    Counts,
    EventDataset,
    check_binning,
    clip_counts,
    event_dataset,
)
from tandem_hw.data.images import read_digits
from tandem_hw.errors import DataError
from tandem_hw.ranges import SEEDS, whole_number

NAME: Final = MOVING_DIGITS
#: Pixels of the sensor along each axis.
_SENSOR: Final = 24
#: Sensor pixels that a pixel of a digit covers along each axis.
_ENLARGEMENT: Final = 2
#: Positions that a digit takes in crossing one sensor pixel.
_SUBSTEPS: Final = 4
#: Way of the digit in the three saccades, (down, right), in sensor pixels; N-MNIST's shape.
_SACCADES: Final = ((6, 3), (-6, 3), (0, -6))
#: A digit starts up to this many positions from the middle of its way, along each axis, by chance.
_JITTER: Final = 4
#: Recordings of each training digit; a test digit is recorded once.
_RECORDINGS: Final = 4
#: Ratio of intensities between which a pixel sends one event.
_CONTRAST: Final = 1.4
#: Brightness of the ground, where a digit's pixels span 0 to 16.
_GROUND: Final = 1
#: Instants of the recording, one for each position along the longer axis of a saccade.
INSTANTS: Final = sum(max(map(abs, way)) for way in _SACCADES) * _SUBSTEPS


def moving_digits(
    num_steps: int, input_bits: int, *, need: Need = "all", seed: int = 0
) -> EventDataset:
    """Make the data set.

    Args:
        num_steps: number of bins, 1 to ``INSTANTS``, 72; of equal length, but for one instant.
        input_bits: counts are clipped at 2^input_bits - 1.
        need: "test" makes the test part alone.
        seed: 0 to 2^32 - 1, of where a digit starts; the split is that of the digits.

    Returns:
        Counts [N, num_steps, 2, 24, 24] of 4 recordings of each of the 1438 training digits and of
        one of each of the 359 test digits; channel 0 counts events of falling intensity, channel 1
        those of rising intensity, as tonic has it.

    Raises:
        DataError: an argument is out of range.
    """
    check_binning(num_steps, input_bits)
    if num_steps > INSTANTS:
        raise DataError(
            f"{NAME}: num_steps is {num_steps}; a recording has {INSTANTS} instants, give no more "
            f"bins"
        )
    whole_number(f"{NAME}: seed", seed, SEEDS, DataError)
    digits, labels, train, test = read_digits()
    # RandomState's stream is frozen for good; that of NumPy's newer Generator may change.
    random = np.random.RandomState(seed)
    starts = random.randint(-_JITTER, _JITTER + 1, (_RECORDINGS, len(digits), 2))

    def record(indices: npt.NDArray[np.int64], times: int) -> BinnedEvents:
        levels = _levels(digits[indices])
        recordings = [
            clip_counts(_count(_start(levels, starts[time, indices]), num_steps), input_bits)
            for time in range(times)
        ]
        counts = np.concatenate([counts for counts, _ in recordings])
        clipped = sum(clipped for _, clipped in recordings)
        return BinnedEvents(counts, np.tile(labels[indices], times), input_bits, clipped)

    whole = need == "all"
    return event_dataset(NAME, record(train, _RECORDINGS) if whole else None, record(test, 1))


def _levels(digits: npt.NDArray[Any]) -> Counts:
    """Return the steps of contrast above the ground at every position that a pixel may look at.

    The digit is in the middle: it is in the sensor's middle when it is in the middle of its way.
    """
    fine = _ENLARGEMENT * _SUBSTEPS
    way = np.cumsum([(0, 0), *_SACCADES], axis=0) * _SUBSTEPS
    down, across = (
        _interpolation(_SENSOR * _SUBSTEPS + int(span) + 2 * _JITTER, fine)
        for span in np.ptp(way, axis=0)
    )
    # Sums of whole numbers below 2^24: exact in float32.
    intensity = down @ digits.astype(np.float32) @ across.T + _GROUND * fine**2
    # An intensity is a whole number, so it reaches a step where it reaches the next whole number.
    ladder = np.ceil(_GROUND * fine**2 * _CONTRAST ** np.arange(1, 64))
    steps = np.searchsorted(ladder, np.arange((_GROUND + 16) * fine**2 + 1), side="right")
    levels: Counts = steps.astype(np.uint8)[intensity.astype(np.int32)]
    return levels


def _start(levels: Counts, starts: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
    """Cut out what the sensor sees from each digit's start, [positions, positions, N].

    The digits come last: what a step reads lies side by side.
    """
    rows, columns = (size - 2 * _JITTER for size in levels.shape[1:])
    cut = [
        canvas[_JITTER + y : _JITTER + y + rows, _JITTER + x : _JITTER + x + columns]
        for canvas, (y, x) in zip(levels, starts, strict=True)
    ]
    seen: npt.NDArray[np.int8] = np.stack(cut, axis=2).astype(np.int8)
    return seen


def _interpolation(positions: int, fine: int) -> npt.NDArray[np.float32]:
    """Return the whole-number weights, 0 to ``fine``, by which 8 pixels make up each position."""
    centres = (positions - 1) / 2 + (np.arange(8) - 3.5) * fine
    distance = np.abs(np.arange(positions)[:, np.newaxis] - np.floor(centres))
    weights: npt.NDArray[np.float32] = np.maximum(fine - distance, 0).astype(np.float32)
    return weights


def _count(levels: npt.NDArray[np.int8], num_steps: int) -> npt.NDArray[np.int16]:
    """Move the sensor over the levels and count the steps crossed, [N, num_steps, 2, H, W]."""
    counts = np.zeros((num_steps, 2, _SENSOR, _SENSOR, levels.shape[2]), np.int16)
    size = _SENSOR * _SUBSTEPS
    frames = [levels[y : y + size : _SUBSTEPS, x : x + size : _SUBSTEPS] for y, x in _places()]
    for instant, (before, after) in enumerate(pairwise(frames)):
        change = after - before
        step = instant * num_steps // INSTANTS
        counts[step, 0] += np.maximum(-change, 0)
        counts[step, 1] += np.maximum(change, 0)
    return np.ascontiguousarray(counts.transpose(4, 0, 1, 2, 3))


def _places() -> list[tuple[int, int]]:
    """Return where the sensor's corner lies on the levels at the start and at every instant.

    The sensor moves against the way of the digit.
    """
    corner = np.zeros(2, np.int64)
    places = [corner]
    for way in _SACCADES:
        instants = max(map(abs, way)) * _SUBSTEPS
        moved = [-np.array(way) * _SUBSTEPS * k // instants for k in range(1, instants + 1)]
        places += [corner + offset for offset in moved]
        corner = places[-1]
    least = np.min(places, axis=0)
    return [(int(y), int(x)) for y, x in (place - least for place in places)]
