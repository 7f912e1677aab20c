"""The matrix of a transposed convolution is PyTorch's, in Lava's order of the neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tandem_hw.chip.axis_order import from_lava, lava_shape, to_lava
from tandem_hw.chip.connection_matrix import connection_matrix
from tandem_hw.network.quantized import ConvTranspose2d


@st.composite
def geometries(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the geometry of a transposed convolution, one that leaves an output."""
    pair = st.tuples
    stride, dilation = (draw(pair(st.integers(1, 3), st.integers(1, 3))) for _ in range(2))
    kernel, size = (draw(pair(st.integers(1, 3), st.integers(1, 4))) for _ in range(2))
    padding = draw(pair(st.integers(0, 2), st.integers(0, 2)))
    added = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
    for axis in range(2):
        full = (size[axis] - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1
        assume(full + added[axis] > 2 * padding[axis])
    return {
        "kernel": kernel,
        "size": size,
        "groups": draw(st.integers(1, 3)),
        "geometry": {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "output_padding": tuple(added),
        },
    }


@settings(max_examples=150, deadline=None)
@given(geometries(), st.integers(1, 2), st.integers(1, 2), st.integers(0, 2**32 - 1))
def test_matrix_is_the_transposed_convolution_of_pytorch(
    drawn: dict[str, Any], in_group: int, out_group: int, seed: int
) -> None:
    generator, groups = np.random.default_rng(seed), drawn["groups"]
    weight = 2 * generator.integers(-127, 128, (groups * out_group, in_group, *drawn["kernel"]))
    shape = (groups * in_group, *drawn["size"])
    layer = ConvTranspose2d(
        "t", weight, 8, np.zeros(len(weight), int), 2, shape, groups=groups, **drawn["geometry"]
    )
    signal = generator.integers(0, 256, shape)
    # PyTorch has the input channels first: [in, out / groups, y, x].
    ordered = weight.reshape(groups, out_group, in_group, *drawn["kernel"]).swapaxes(1, 2)
    expected = functional.conv_transpose2d(
        torch.from_numpy(signal[None].astype(np.float64)),
        torch.from_numpy(np.concatenate(list(ordered)).astype(np.float64)),
        groups=groups,
        **drawn["geometry"],
    )[0].numpy()
    matrix = connection_matrix(layer)
    found = matrix @ to_lava(signal, shape).reshape(-1)
    assert matrix.dtype == np.int32
    assert matrix.nnz == np.count_nonzero(matrix.toarray())
    neurons = layer.output_shape
    np.testing.assert_array_equal(from_lava(found.reshape(lava_shape(neurons)), neurons), expected)
    # What one spike of each input reaches, where no weight is 0.
    reached = np.diff(connection_matrix(_without_zeros(layer)).tocsc().indptr)
    fan_out = from_lava(reached.reshape(lava_shape(shape)), shape)
    np.testing.assert_array_equal(fan_out, layer.fan_out)


def _without_zeros(layer: ConvTranspose2d) -> ConvTranspose2d:
    fields = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")}
    return ConvTranspose2d(
        "ones", np.full_like(layer.weight, 2), 8, layer.bias, 2, layer.input_shape,
        output_padding=layer.output_padding, **fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "expected"), [((5,), (5,)), ((3, 7), (7, 1, 3)), ((2, 3, 4), (4, 3, 2))]
)
def test_axes_of_lava_and_back(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert lava_shape(shape) == expected
    ours = np.arange(2 * np.prod(shape)).reshape(2, *shape)
    lava = to_lava(ours, shape)
    assert lava.shape == (2, *expected)
    if len(shape) > 1:
        # The channel is Lava's last axis, the place along x its first.
        assert lava[1, -1, 0, 1] == ours[1, 1, ..., -1].flat[0]
    back = from_lava(lava, shape)
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, ours)
