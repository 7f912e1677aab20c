from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem_hw.arithmetic.synapses import (
    _convolve_unfolded,
    _fold_products,
    convolve,
    convolve_transposed,
    dense,
    inputs_first,
    one_to_one,
)
from tandem_hw.network.fixed_point import ACCUMULATOR_LIMIT
from tandem_hw.network.synapses.geometry import Geometry, TransposedGeometry, row_geometry

Int64 = npt.NDArray[np.int64]
Problem = tuple[Int64, Int64, Geometry]


def brute_force(signal: Int64, weight: Int64, geometry: Geometry) -> Int64:
    """Add up every product by the definition of a convolution."""
    groups, (pad_y, pad_x) = geometry.groups, geometry.padding
    padded = np.pad(signal, [(0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)])
    reach = [d * (k - 1) + 1 for d, k in zip(geometry.dilation, weight.shape[2:], strict=True)]
    rows = range(0, padded.shape[2] - reach[0] + 1, geometry.stride[0])
    columns = range(0, padded.shape[3] - reach[1] + 1, geometry.stride[1])
    result = np.zeros((len(signal), len(weight), len(rows), len(columns)), np.int64)
    inputs, outputs = weight.shape[1], len(weight) // groups
    for out in range(len(weight)):
        first = out // outputs * inputs
        own = padded[:, first : first + inputs]
        for i, y in enumerate(rows):
            for j, x in enumerate(columns):
                patch = own[
                    :,
                    :,
                    y : y + reach[0] : geometry.dilation[0],
                    x : x + reach[1] : geometry.dilation[1],
                ]
                result[:, out, i, j] = (patch * weight[out]).sum(axis=(1, 2, 3))
    return result


def check(problem: Problem) -> None:
    signal, weight, geometry = problem
    expected = brute_force(signal, weight, geometry)
    floats = torch.from_numpy(signal).float(), torch.from_numpy(weight).float()
    sent = torch.from_numpy(signal).to(torch.uint8)
    for bytes_sent in (sent, sent.contiguous(memory_format=torch.channels_last)):
        found = convolve(bytes_sent, floats[1], geometry)
        assert np.array_equal(found.numpy(), expected)
    for algorithm in (convolve, _convolve_unfolded):
        found = algorithm(*floats, geometry)
        assert found.dtype == torch.float32
        assert found.shape == expected.shape
        assert np.array_equal(found.numpy(), expected), algorithm.__name__


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, stride, dilation = draw(pair), draw(pair), draw(pair)
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    groups = draw(st.integers(1, 3))
    inputs, outputs = draw(st.integers(1, 2)) * groups, draw(st.integers(1, 2)) * groups
    least = [
        max(1, d * (k - 1) + 1 - 2 * p) for d, k, p in zip(dilation, kernel, padding, strict=True)
    ]
    size = [length + draw(st.integers(0, 4)) for length in least]
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    signal = random.integers(0, 256, (draw(st.integers(1, 3)), inputs, *size))
    weight = 2 * random.integers(-127, 128, (outputs, inputs // groups, *kernel))
    return signal, weight, Geometry(stride, padding, dilation, groups)


@given(problems())
@settings(deadline=None, max_examples=80)
def test_both_convolutions_add_the_products_of_every_geometry(problem: Problem) -> None:
    check(problem)


@given(problems())
@settings(deadline=None, max_examples=40)
def test_a_convolution_over_one_axis_is_one_over_an_image_of_one_row(problem: Problem) -> None:
    signal, weight, geometry = problem
    signal, weight = signal[:, :, :1], weight[:, :, :1]
    one = Geometry(
        geometry.stride[1:], geometry.padding[1:], geometry.dilation[1:], geometry.groups
    )
    expected = brute_force(signal, weight, row_geometry(one))[:, :, 0]
    row, kernel = torch.from_numpy(signal).float(), torch.from_numpy(weight).float()
    assert np.array_equal(convolve(row[:, :, 0], kernel[:, :, 0], one).numpy(), expected)
    unfolded = _convolve_unfolded(row, kernel, row_geometry(one))[:, :, 0]
    assert np.array_equal(unfolded.numpy(), expected)


def brute_force_transposed(signal: Int64, weight: Int64, geometry: TransposedGeometry) -> Int64:
    """Send every input to the outputs that the definition of a transposed convolution gives it."""
    groups = geometry.groups
    lengths = [
        (n - 1) * s - 2 * p + d * (k - 1) + 1 + more
        for n, s, p, d, k, more in zip(
            signal.shape[2:],
            geometry.stride,
            geometry.padding,
            geometry.dilation,
            weight.shape[2:],
            geometry.output_padding,
            strict=True,
        )
    ]
    result = np.zeros((len(signal), len(weight), *lengths), np.int64)
    inputs, outputs = weight.shape[1], len(weight) // groups
    for out, part, y, x, i, j in np.ndindex(
        *weight.shape[:2], *signal.shape[2:], *weight.shape[2:]
    ):
        row = y * geometry.stride[0] - geometry.padding[0] + i * geometry.dilation[0]
        column = x * geometry.stride[1] - geometry.padding[1] + j * geometry.dilation[1]
        if 0 <= row < lengths[0] and 0 <= column < lengths[1]:
            channel = out // outputs * inputs + part
            result[:, out, row, column] += signal[:, channel, y, x] * weight[out, part, i, j]
    return result


@st.composite
def transposed_problems(draw: st.DrawFn) -> tuple[Int64, Int64, TransposedGeometry]:
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, stride, dilation, size = draw(pair), draw(pair), draw(pair), draw(pair)
    axes = list(zip(kernel, stride, dilation, size, strict=True))
    more = [draw(st.integers(0, max(s, d) - 1)) for _, s, d, _ in axes]
    padding = [
        draw(st.integers(0, min(3, ((n - 1) * s + d * (k - 1) + extra) // 2)))
        for (k, s, d, n), extra in zip(axes, more, strict=True)
    ]
    groups = draw(st.integers(1, 3))
    inputs, outputs = draw(st.integers(1, 2)) * groups, draw(st.integers(1, 2)) * groups
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    signal = random.integers(0, 256, (draw(st.integers(1, 2)), inputs, *size))
    weight = 2 * random.integers(-127, 128, (outputs, inputs // groups, *kernel))
    geometry = TransposedGeometry(stride, tuple(padding), dilation, groups, tuple(more))
    return signal, weight, geometry


@given(transposed_problems())
@settings(deadline=None, max_examples=60)
def test_both_transposed_convolutions_add_the_products_of_every_geometry(
    problem: tuple[Int64, Int64, TransposedGeometry],
) -> None:
    signal, weight, geometry = problem
    expected = brute_force_transposed(signal, weight, geometry)
    floats = torch.from_numpy(signal).float(), torch.from_numpy(weight).float()
    for algorithm in (convolve_transposed, _fold_products):
        found = algorithm(*floats, geometry)
        assert found.shape == expected.shape
        assert np.array_equal(found.numpy(), expected), algorithm.__name__


def test_weights_of_a_transposed_convolution_turn_over_and_back() -> None:
    weight = torch.arange(6 * 2 * 3).reshape(6, 2, 3)  # 6 outputs, 2 groups of 2 inputs each
    turned = inputs_first(weight, 2)
    assert turned.shape == (4, 3, 3)
    assert torch.equal(turned[2, 1], weight[4, 0])  # second group: its first input, second output
    assert torch.equal(inputs_first(turned, 2), weight)


def test_one_to_one_synapses_have_one_weight() -> None:
    signal = torch.arange(8.0).reshape(1, 2, 2, 2)
    assert torch.equal(one_to_one(signal, torch.tensor([96.0])), 96 * signal)


@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
@pytest.mark.parametrize("batch", [1, 16])
def test_sums_just_under_the_accumulator_limit_are_exact(
    batch: int, stride: tuple[int, int]
) -> None:
    # Kernels of 3x3 at batches of 16 are what Winograd's algorithm is chosen for, which rounds.
    random = np.random.default_rng(0)
    signal = random.integers(250, 256, (batch, 14, 8, 8))
    weight = np.full((16, 14, 3, 3), 254)
    weight[8:] = 2 * random.integers(-127, 128, (8, 14, 3, 3))
    geometry = Geometry(stride, (1, 1))
    reached = brute_force(signal, weight, geometry).max()
    assert 0.95 * ACCUMULATOR_LIMIT < reached < ACCUMULATOR_LIMIT
    check((signal, weight, geometry))


def test_a_dense_layer_flattens_images_in_c_order_and_adds_exactly() -> None:
    random = np.random.default_rng(1)
    signal = random.integers(0, 256, (3, 4, 5, 6))
    weight = 2 * random.integers(-127, 128, (7, 120))
    expected = np.einsum("bi,oi->bo", signal.reshape(3, -1), weight)
    found = dense(torch.from_numpy(signal).float(), torch.from_numpy(weight).float())
    assert np.abs(expected).max() > 0
    assert np.array_equal(found.numpy(), expected)
