"""What the axes of samples are, and samples as a network takes them: channels first, in [0, 1]."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.errors import DataError

#: Images, with N samples of C channels, H rows and W columns; signals of length L; F features.
Layout = Literal["NCHW", "NHWC", "NHW", "NCL", "NLC", "NL", "NF"]
LAYOUTS: Final[tuple[str, ...]] = get_args(Layout)
#: Numbers that samples may be before they are quantized.
Pixels: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.float32] | npt.NDArray[np.float64]
#: From the least to the largest value of samples, which become 0.0 and 1.0.
ValueRange = tuple[float, float]

#: Numbers of channels by which the axis order of four-dimensional images is told.
_CHANNELS: Final = range(1, 5)
#: How the axes are put: an axis that a layout lacks is added behind the samples.
_ORDERS: Final[dict[str, tuple[int, ...]]] = {"NHWC": (0, 3, 1, 2), "NLC": (0, 2, 1)}
_WITHOUT_CHANNELS: Final = ("NHW", "NL")
#: Three axes are an image if neither side is so many times as long as the other one.
_SLIM: Final = 8


def check_layout(layout: object, where: object) -> Layout:
    """Return a layout that was said.

    Args:
        layout: what was said.
        where: the data, for the message.

    Raises:
        DataError: it is none.
    """
    if layout not in LAYOUTS:
        raise DataError(
            f"{where}: layout is {layout!r}; allowed are {', '.join(LAYOUTS)} (N samples, C "
            f"channels, H rows, W columns, L steps of time, F features)"
        )
    return cast(Layout, layout)


def check_samples(
    samples: npt.NDArray[Any], where: object, name: str, layout: Layout | None = None
) -> Pixels:
    """Check data type and range, and put the channels first.

    Args:
        samples: what was given, [N, ...]; what lies in a file stays there.
        where: the file or data set, for messages.
        name: the array, for messages.
        layout: what its axes are; where nobody says, two axes are features, three an image, and
            four an image whose channels are 1 to 4.

    Returns:
        uint8 (0 to 255), float32 or float64 (0.0 to 1.0), [N, C, H, W], [N, C, L] or [N, features].

    Raises:
        DataError: the type, a value or the shape is another, there are no samples, or it has to be
            said what the axes are.
    """
    native = samples.dtype.newbyteorder("=")
    if native not in (np.uint8, np.float32, np.float64):
        raise DataError(
            f"{where}: {name} is {samples.dtype}; uint8 (0 to 255), float32 or float64 (0.0 to "
            f"1.0) is needed"
        )
    if samples.size == 0:
        raise DataError(f"{where}: {name} has shape {samples.shape}: there are no samples")
    if native != np.uint8:
        low, high = samples.min(), samples.max()
        if not (low >= 0 and high <= 1):  # not a number compares false
            raise DataError(
                f"{where}: {name} spans {low} to {high}; floats must be finite and in 0.0 to "
                f"1.0, or their range is said: range=-5:5 behind a path and a comma, in Python "
                f"value_range=(-5, 5)"
            )
    samples = arranged(samples, layout or _told_by(samples.shape, where, name), where, name)
    if isinstance(samples, np.memmap) and samples.dtype == native:
        return samples  # it stays in its file
    return np.ascontiguousarray(samples, native)


def arranged(
    samples: npt.NDArray[Any], layout: Layout, where: object, name: str
) -> npt.NDArray[Any]:
    """Put the channels of samples first; nothing is copied.

    Args:
        samples: [N, ...].
        layout: what the axes are.
        where: the data, for the message.
        name: the array, for the message.

    Raises:
        DataError: there are more or fewer axes.
    """
    if samples.ndim != len(layout):
        raise DataError(
            f"{where}: {name} has shape {samples.shape}; layout {layout} has {len(layout)} axes"
        )
    if layout in _WITHOUT_CHANNELS:
        return samples[:, np.newaxis]
    return samples.transpose(_ORDERS.get(layout, range(samples.ndim)))


def _told_by(shape: tuple[int, ...], where: object, name: str) -> Layout:
    """Return the layout that a shape tells."""
    if len(shape) == 2:
        return "NF"
    if len(shape) == 3:
        if max(shape[1:]) > _SLIM * min(shape[1:]):
            as_rows, as_columns = (
                f"{counted(channels, 'channel')} and {counted(steps, 'step')}"
                for channels, steps in (shape[1:], shape[:0:-1])
            )
            raise DataError(
                f"{where}: {name} has shape {shape}, which is ambiguous: signals of {as_rows}, of "
                f"{as_columns}, or images of {shape[1]} by {shape[2]} pixels; say layout NCL, NLC "
                f"or NHW"
            )
        return "NHW"
    if len(shape) != 4:
        raise DataError(
            f"{where}: {name} has shape {shape}; allowed are [N, H, W], [N, H, W, C], "
            f"[N, C, H, W] and [N, features], and [N, C, length] with layout NCL"
        )
    first, last = shape[1] in _CHANNELS, shape[3] in _CHANNELS
    if first == last:
        raise DataError(
            f"{where}: {name} has shape {shape}, which is ambiguous: exactly one of axis 1 "
            f"and axis 3 must have 1 to 4 entries, the channels; or say layout NCHW or NHWC"
        )
    return "NCHW" if first else "NHWC"


def in_range(
    samples: npt.NDArray[Any], value_range: ValueRange, where: object, name: str
) -> npt.NDArray[np.float32]:
    """Return (x - least) / (largest - least), computed in float64.

    Args:
        samples: real numbers of any type and shape.
        value_range: (least, largest), what becomes 0.0 and 1.0.
        where: the data, for messages.
        name: the array, for messages.

    Raises:
        DataError: the range is none, or a sample is no number in it.
    """
    try:
        least, largest = (float(end) for end in value_range)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{where}: value_range is {value_range!r}; two numbers, (least, largest), are needed"
        ) from error
    if not least < largest or not np.isfinite(largest - least):
        raise DataError(
            f"{where}: value_range is {least} to {largest}; the least value has to be below the "
            f"largest one, and both finite, as their difference is"
        )
    if samples.dtype.kind not in "iufb":
        raise DataError(f"{where}: {name} is {samples.dtype}; real numbers are needed")
    if samples.size and not (samples.min() >= least and samples.max() <= largest):
        raise DataError(
            f"{where}: {name} spans {samples.min()} to {samples.max()}, beyond value_range "
            f"{least} to {largest}; give a wider one, the same for all data of a network"
        )
    scaled: npt.NDArray[np.float32] = (
        (samples.astype(np.float64) - least) / (largest - least)
    ).astype(np.float32)
    return scaled
