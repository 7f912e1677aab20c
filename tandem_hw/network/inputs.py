"""From real-valued samples to the unsigned integers that a network takes in.

Training, export and simulation all use this one definition, so that they see the same integers.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import DataError
from tandem_hw.network.fixed_point import INPUT_BITS_RANGE
from tandem_hw.ranges import POSITIVE, whole_number
from tandem_hw.user_warnings import InputWarning

#: Values turned at a time: the float64 copy or the indices of a chunk stay near 8 MiB, whatever
#: the data set.
_CHUNK_VALUES = 1 << 20


def default_scale(bits: int) -> float:
    """Return the scale at which 1.0 becomes the largest integer, 1 / (2^bits - 1).

    Args:
        bits: width of the unsigned integers, 1 to 8.

    Returns:
        The real value of one integer step.

    Raises:
        DataError: ``bits`` is out of range.
    """
    return 1.0 / _largest(bits)


def quantize_inputs(
    images: npt.NDArray[np.uint8] | npt.NDArray[np.floating[Any]], bits: int, scale: float
) -> npt.NDArray[np.uint8]:
    """Quantize samples: clip(floor(x / scale + 1/2), 0, 2^bits - 1), in float64.

    Args:
        images: samples of any shape. Floating-point values, 0.0 to 1.0, are x itself; a uint8
            value v means x = v / 255.
        bits: width of the unsigned integers, 1 to 8.
        scale: the real value of one integer step, as ``default_scale`` gives it.

    Returns:
        uint8 array of the same shape with values of ``bits`` bits.

    Raises:
        DataError: another dtype, a value that is not finite or not in [0, 1], or ``bits`` or
            ``scale`` out of range.
    """
    images = np.asarray(images)
    largest = _largest(bits)
    if scale not in POSITIVE:
        raise DataError(f"input scale is {scale}; a positive number is needed")
    is_uint8 = images.dtype == np.uint8
    if not is_uint8 and not np.issubdtype(images.dtype, np.floating):
        raise DataError(
            f"samples are {images.dtype}; give uint8 (0 to 255) or floating-point numbers "
            f"(0.0 to 1.0)"
        )
    table = _quantize(np.arange(256) / 255, largest, scale)
    flat = images.reshape(-1)
    result = np.empty(flat.shape, dtype=np.uint8)
    for start in range(0, flat.size, _CHUNK_VALUES):
        part = slice(start, start + _CHUNK_VALUES)
        values = flat[part]
        result[part] = (
            table[values] if is_uint8 else _quantize(values.astype(np.float64), largest, scale)
        )
    _warn_of_darkness(images, result)
    return result.reshape(images.shape)


def check_brightness(images: npt.NDArray[Any], bits: int, scale: float, where: str) -> None:
    """Refuse images of which nothing reaches a network, such as a mask of 0 and 1 in uint8.

    Args:
        images: a part of a data set, at least one sample, as ``quantize_inputs`` takes it.
        bits: as for ``quantize_inputs``.
        scale: as for ``quantize_inputs``.
        where: names the part, for the message.

    Raises:
        DataError: they are all black, or nearly.
    """
    brightest = images.max()
    if images.dtype == np.uint8 and brightest == 1:
        raise DataError(
            f"{where} is uint8 and reaches 1 of 255, which is almost black; multiply it by 255, or "
            f"give it as floats from 0.0 to 1.0"
        )
    if brightest == 0 or not _quantize(_real(brightest), _largest(bits), scale).any():
        raise DataError(
            f"{where} reaches {brightest}, which is 0 in {bits} bits, so nothing would reach the "
            f"network; give uint8 from 0 to 255 or floats from 0.0 to 1.0, or use more input bits"
        )


def _real(value: Any) -> npt.NDArray[np.float64]:
    """Return a sample's value as a real number."""
    return np.atleast_1d(np.float64(value) / (255 if value.dtype == np.uint8 else 1))


def _warn_of_darkness(images: npt.NDArray[Any], quantized: npt.NDArray[np.uint8]) -> None:
    """Warn of samples that are not black and of which nothing is left, or that look like a mask."""
    if images.ndim < 2:  # a few values say nothing about the range
        return
    brightest = images.max(initial=0)
    is_mask = images.dtype == np.uint8 and brightest == 1
    if is_mask or (brightest > 0 and not quantized.any()):
        range_of_uint8 = " of 255" if images.dtype == np.uint8 else ""
        warnings.warn(
            f"samples reach {brightest}{range_of_uint8}, and {int(quantized.max())} as integers; "
            f"give uint8 from 0 to 255 or floats from 0.0 to 1.0",
            InputWarning,
            stacklevel=3,
        )


def _largest(bits: int) -> int:
    return (1 << whole_number("input_bits", bits, INPUT_BITS_RANGE, DataError)) - 1


def _quantize(x: npt.NDArray[np.float64], largest: int, scale: float) -> npt.NDArray[np.uint8]:
    if x.size and not (x.min() >= 0 and x.max() <= 1):  # false for what is not a number as well
        raise DataError(
            f"samples span {x.min()} to {x.max()}; they must be finite and in 0.0 to 1.0"
        )
    # A tiny scale may carry a quotient to infinity; the clip brings it back.
    with np.errstate(over="ignore"):
        integers = np.floor(x / scale + 0.5)
    quantized: npt.NDArray[np.uint8] = np.clip(integers, 0, largest).astype(np.uint8)
    return quantized
