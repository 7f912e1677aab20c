"""The drop-in convolution gives the numbers of Lava's own, only faster."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("lava.magma", reason="Lava is not installed; it needs Python 3.10")

from lava.magma.core.run_conditions import RunSteps
from lava.proc.conv.models import PyConvModelFixed
from lava.proc.conv.process import Conv
from lava.proc.conv.utils import conv, signed_clamp
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source

from tandem_hw.sim.graph.processes.convolution import (
    PyUnfoldedConvModel,
    UnfoldedConvolution,
    wrapped_sums,
)
from tandem_hw.sim.lava_cpu.graph import run_config

pytestmark = [
    pytest.mark.timeout(240),
    # Lava imports every file beside a Process, and one of its own asks for pandas.
    pytest.mark.filterwarnings("ignore:pandas not found:ImportWarning"),
]

Pair = tuple[int, int]


def _pairs(low: int, high: int) -> st.SearchStrategy[Pair]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def _geometries(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a convolution whose output has at least one place along each axis."""
    kernel, dilation, padding = draw(_pairs(1, 4)), draw(_pairs(1, 3)), draw(_pairs(0, 3))
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(
        draw(st.integers(max(1, r - 2 * p), max(1, r - 2 * p) + 5))
        for r, p in zip(reach, padding, strict=True)
    )
    groups = draw(st.integers(1, 3))
    return {
        "size": (*size, groups * draw(st.integers(1, 3))),
        "out": groups * draw(st.integers(1, 3)),
        "kernel": kernel,
        "stride": draw(_pairs(1, 3)),
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
    }


def _random(
    generator: np.random.Generator, reach: int, shape: tuple[int, ...]
) -> npt.NDArray[np.int32]:
    return generator.integers(-reach, reach + 1, shape).astype(np.int32)


@settings(max_examples=150, deadline=None)
@given(
    geometry=_geometries(),
    largest=st.sampled_from([1, 255, 1 << 20]),
    seed=st.integers(0, 2**32 - 1),
)
def test_unfolded_convolution_equals_lava_s_convolution(
    geometry: dict[str, Any], largest: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    channels = geometry["size"][2] // geometry["groups"]
    # Lava's own sums are kept in 32 bits, so large signals meet small weights here.
    reach = 254 if largest < 1 << 20 else 3
    weight = _random(generator, reach, (geometry["out"], *geometry["kernel"], channels))
    signal = generator.integers(0, largest + 1, geometry["size"]).astype(np.int32)
    common = [geometry[name] for name in ("stride", "padding", "dilation", "groups")]
    found = UnfoldedConvolution(weight, *common)(signal)
    expected = conv(signal, weight, geometry["kernel"], *common)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)


def test_sums_beyond_the_exact_range_of_float32_are_exact() -> None:
    weight = np.array([[[[255, 1]]]], dtype=np.int32)
    signal = np.array([[[1 << 20, 1]]], dtype=np.int32)
    expected = 255 * (1 << 20) + 1
    assert int(np.float32(expected)) != expected
    convolution = UnfoldedConvolution(weight, (1, 1), (0, 0), (1, 1), groups=1)
    assert convolution(signal).tolist() == [[[expected]]]


@pytest.mark.parametrize("sign", [1, -1])
def test_largest_sum_that_float32_holds_is_exact_and_so_is_the_next(sign: int) -> None:
    weight = sign * np.ones((1, 1, 1, 3), dtype=np.int32)
    convolution = UnfoldedConvolution(weight, (1, 1), (0, 0), (1, 1), groups=1)
    for third in (((1 << 24) - 1) // 3, ((1 << 24) + 2) // 3):
        signal = np.full((1, 1, 3), third, dtype=np.int32)
        signal[0, 0, 2] -= 1
        assert convolution(signal).item() == sign * (3 * third - 1)


def test_memory_that_is_used_again_holds_nothing_of_the_signal_before() -> None:
    generator = np.random.default_rng(0)
    weight = _random(generator, 254, (4, 3, 2, 2))
    geometry: tuple[Any, ...] = ((2, 1), (1, 2), (1, 2), 2)
    convolution = UnfoldedConvolution(weight, *geometry)
    # Small and large values are unfolded as numbers of two formats, and another shape lies between.
    sizes = ((6, 5, 4), (3, 7, 4))
    signals = [
        generator.integers(-largest, largest + 1, size).astype(np.int32)
        for size in (*sizes, *sizes)
        for largest in (1, 1 << 20, 0)
    ]
    found = [convolution(signal) for signal in signals]
    for signal, sums in zip(signals, found, strict=True):
        assert sums.any() == signal.any()
        np.testing.assert_array_equal(sums, UnfoldedConvolution(weight, *geometry)(signal))


def test_sums_wrap_to_24_bits_as_lava_wraps_them() -> None:
    ends = [sign * (1 << bits) + step for bits in (23, 24, 40) for sign in (-1, 1)
            for step in (-1, 0, 1)]  # fmt: skip
    inside = np.random.default_rng(0).integers(-(1 << 45), 1 << 45, 1000)
    sums = np.array([*ends, 0, *inside], dtype=np.int64)
    found = wrapped_sums(sums)
    assert found.dtype == np.int32
    assert (found.min(), found.max()) == (-(1 << 23), (1 << 23) - 1)
    np.testing.assert_array_equal(found, signed_clamp(sums, bits=24))


def _frames(
    generator: np.random.Generator, shape: tuple[int, ...], largest: int, steps: int
) -> npt.NDArray[np.int32]:
    """Return inputs [*shape, step], one of them empty, the next one full."""
    frames = generator.integers(0, largest + 1, (*shape, steps))
    frames[..., 2], frames[..., 3] = 0, largest
    return frames.astype(np.int32)


def _run(
    frames: npt.NDArray[np.int32], stock: bool, arguments: dict[str, Any]
) -> npt.NDArray[np.int64]:
    """Run one convolution in a full Lava graph and return what it sends, [*shape, step]."""
    steps = frames.shape[-1]
    source, synapse = Source(data=frames), Conv(**arguments)
    sink = Sink(shape=synapse.a_out.shape, buffer=steps)
    source.s_out.connect(synapse.s_in)
    synapse.a_out.connect(sink.a_in)
    try:
        source.run(RunSteps(num_steps=steps), run_config(stock_conv=stock))
        model = PyConvModelFixed if stock else PyUnfoldedConvModel
        assert synapse.model_class is model
        return np.asarray(sink.data.get()).astype(np.int64)
    finally:
        source.stop()


@pytest.mark.parametrize("message_bits", [8, 0], ids=["graded", "binary"])
def test_full_graph_sends_what_lava_s_model_sends_one_step_late(message_bits: int) -> None:
    generator = np.random.default_rng(message_bits)
    arguments: dict[str, Any] = {
        "weight": _random(generator, 254, (4, 3, 2, 2)),
        "input_shape": (6, 5, 4),
        "stride": (2, 1),
        "padding": (1, 2),
        "dilation": (1, 2),
        "groups": 2,
        "num_message_bits": message_bits,
    }
    # Without message bits any value is a spike of one.
    frames = _frames(generator, arguments["input_shape"], 255 if message_bits else 3, steps=6)
    found, expected = (_run(frames, stock, dict(arguments)) for stock in (False, True))
    assert (found != 0).any(axis=(0, 1, 2)).tolist() == [False, True, True, False, True, True]
    np.testing.assert_array_equal(found, expected)


def test_sum_beyond_24_bits_wraps_as_in_lava_s_model() -> None:
    arguments: dict[str, Any] = {
        "weight": np.full((1, 4, 4, 16), 254, dtype=np.int32),
        "input_shape": (4, 4, 16),
        "num_message_bits": 8,
    }
    arguments["weight"][..., ::2] = 250
    frames = np.full((4, 4, 16, 2), 255, dtype=np.int32)
    total = 255 * int(arguments["weight"].sum())
    assert total >= 1 << 23
    found = _run(frames, stock=False, arguments=arguments)
    assert found.tolist() == [[[[0, signed_clamp(total, bits=24)]]]]
    np.testing.assert_array_equal(found, _run(frames, stock=True, arguments=arguments))
