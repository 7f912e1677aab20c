from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem_hw.errors import DataError
from tandem_hw.network import inputs as input_encoding
from tandem_hw.network.inputs import default_scale, quantize_inputs
from tandem_hw.user_warnings import InputWarning

EVERY_PIXEL = np.arange(256, dtype=np.uint8)


def exact(x: Fraction, bits: int, step: Fraction) -> int:
    return min(max(math.floor(x / step + Fraction(1, 2)), 0), 2**bits - 1)


@pytest.mark.parametrize("bits", range(1, 9))
def test_every_pixel_value_is_rounded_exactly(bits: int) -> None:
    found = quantize_inputs(EVERY_PIXEL, bits, default_scale(bits))
    step = Fraction(1, 2**bits - 1)
    assert found.dtype == np.uint8
    assert found.tolist() == [exact(Fraction(value, 255), bits, step) for value in range(256)]


@pytest.mark.parametrize("bits", range(1, 9))
def test_bytes_and_the_floats_that_they_mean_give_the_same_integers(bits: int) -> None:
    scale = default_scale(bits)
    expected = quantize_inputs(EVERY_PIXEL, bits, scale)
    for dtype in (np.float64, np.float32):
        found = quantize_inputs((EVERY_PIXEL / 255).astype(dtype), bits, scale)
        assert found.tolist() == expected.tolist()


def test_eight_bits_keep_every_pixel() -> None:
    assert quantize_inputs(EVERY_PIXEL, 8, default_scale(8)).tolist() == EVERY_PIXEL.tolist()


@given(x=st.floats(0, 1, width=32), bits=st.integers(1, 8), scale=st.floats(2**-20, 4, width=32))
@settings(deadline=None, max_examples=200)
def test_floats_are_rounded_half_up_and_clipped(x: float, bits: int, scale: float) -> None:
    found = int(quantize_inputs(np.array([x]), bits, scale)[0])
    quotient = Fraction(x) / Fraction(scale) + Fraction(1, 2)
    assert 0 <= found <= 2**bits - 1
    # The division in float64 may only matter within its rounding error of an integer.
    if abs(quotient - round(quotient)) > quotient * Fraction(1, 2**50):
        assert found == exact(Fraction(x), bits, Fraction(scale))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_large_arrays_are_quantized_in_chunks_and_keep_their_shape(
    dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 2, 5, 3), dtype=np.uint8)
    images = pixels if dtype is np.uint8 else (pixels / 255).astype(dtype)
    whole = quantize_inputs(images, 4, default_scale(4))
    monkeypatch.setattr(input_encoding, "_CHUNK_VALUES", 16)
    chunked = quantize_inputs(images.transpose(0, 2, 3, 1), 4, default_scale(4))
    assert whole.shape == images.shape
    assert np.array_equal(chunked, whole.transpose(0, 2, 3, 1))


def test_an_empty_array_stays_empty() -> None:
    assert quantize_inputs(np.empty((0, 3), np.float32), 4, default_scale(4)).shape == (0, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.01, 1.01, 255.0])
def test_values_outside_of_zero_to_one_are_refused(value: float) -> None:
    with pytest.raises(DataError, match=r"must be finite and in 0\.0 to 1\.0"):
        quantize_inputs(np.array([0.5, value]), 4, default_scale(4))


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint16, bool, complex, object])
def test_other_types_are_refused(dtype: type) -> None:
    with pytest.raises(DataError, match=r"samples are .*; give uint8"):
        quantize_inputs(np.zeros(3, dtype), 4, default_scale(4))


@pytest.mark.parametrize("bits", [0, 9, -1])
def test_bits_out_of_range_are_refused(bits: int) -> None:
    with pytest.raises(DataError, match=f"input_bits is {bits}; allowed are 1 to 8"):
        default_scale(bits)
    with pytest.raises(DataError, match=f"input_bits is {bits}; allowed are 1 to 8"):
        quantize_inputs(EVERY_PIXEL, bits, 0.1)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_a_scale_that_is_not_positive_is_refused(scale: float) -> None:
    with pytest.raises(DataError, match="input scale is"):
        quantize_inputs(EVERY_PIXEL, 4, scale)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.eye(3, dtype=np.uint8), "samples reach 1 of 255, and 0 as integers; give uint8 from"),
        (np.full((2, 3), 0.02), r"samples reach 0\.02, and 0 as integers"),
    ],
)
def test_images_of_which_nothing_is_left_are_warned_of(
    images: npt.NDArray[Any], message: str
) -> None:
    with pytest.warns(InputWarning, match=message):
        assert not quantize_inputs(images, 4, 1 / 15).any()
    assert not quantize_inputs(np.zeros((2, 3), np.uint8), 4, 1 / 15).any()  # black is black
