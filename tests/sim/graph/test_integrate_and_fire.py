"""The leaf model of our neurons is, step by step, the construction of Lava's stock parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("lava.magma", reason="Lava is not installed; it needs Python 3.10")

from lava.magma.core.run_conditions import RunSteps
from lava.proc.dense.process import Dense
from lava.proc.io.sink import Read
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source
from lava.proc.lif.models import PyLifResetModelBitAcc
from lava.proc.lif.process import LIF, LIFReset
from lava.proc.sparse.process import Sparse

from tandem_hw.chip.guard import Guard
from tandem_hw.network.fixed_point import (
    STATE_LIMIT,
    floor_threshold,
    threshold_parts,
)
from tandem_hw.sim.graph.processes.integrate_and_fire import (
    IF,
    PyIFModel,
    StockIFModel,
    wrap_current,
)
from tandem_hw.sim.graph.stock_neurons import stock_bias, stock_neurons
from tandem_hw.sim.graph.window import Window
from tandem_hw.sim.lava_cpu.graph import run_config

pytestmark = [
    pytest.mark.timeout(240),
    # Lava imports every file beside a Process, and one of its own asks for pandas.
    pytest.mark.filterwarnings("ignore:pandas not found:ImportWarning"),
]

Integers = npt.NDArray[np.integer[Any]]

_NEURONS = 12
_WINDOWS = 8
#: What the guard takes from every neuron of a layer, 254 * 2^8 weight units: enough to silence one
#: of half the state's range, and not enough to wrap it.
_GUARD_MANTISSA, _GUARD_EXPONENT = 254, 8


def _steps(window: Window) -> npt.NDArray[np.int64]:
    """Return all steps until the last window and its padding are over, from 1."""
    return np.arange(1, window.offset + _WINDOWS * window.period)


def _phases(window: Window) -> npt.NDArray[np.int64]:
    """Return each step's place in its window or, behind its last step, in the padding."""
    return (_steps(window) - window.offset) % window.period


def _may_fire(window: Window) -> npt.NDArray[np.bool_]:
    """Return for all steps whether neurons may fire."""
    phases = _phases(window) - window.firing_delay
    return (phases >= 0) & (phases < window.num_steps)


def _random_inputs(
    window: Window, threshold: int, bias: Integers, reach: int, seed: int
) -> tuple[npt.NDArray[np.int32], int]:
    """Return inputs [neuron, step] up to ``reach``, and how often they make a current wrap.

    The current is small again at a window's end. The guard of the stock parts relies on that; our
    leaf model does not.
    """
    generator = np.random.default_rng(seed)
    u, fired = np.zeros((2, len(bias)), dtype=np.int64)
    inputs: list[npt.NDArray[np.int64]] = []
    wraps = 0
    last = window.firing_delay + window.num_steps - 1
    for phase, may_fire in zip(_phases(window), _may_fire(window), strict=True):
        if phase == 0:
            u, fired = np.zeros_like(u), np.zeros_like(u)
        u = u - threshold * fired
        wide = generator.integers(-reach, reach + 1, len(bias))
        near = generator.integers(-threshold, 2 * threshold + 1, len(bias))
        if phase < last:
            inputs.append(wide)
        else:
            inputs.append(near - (u + bias) * (phase == last))
        u = u + inputs[-1]
        wraps += int((abs(u) > STATE_LIMIT).sum())
        u = (u + STATE_LIMIT) % (2 * STATE_LIMIT) - STATE_LIMIT
        fired = (u + bias >= threshold) & may_fire
    return np.stack(inputs, axis=-1).astype(np.int32), wraps


def _stock_parts(window: Window, threshold: int, bias: Integers) -> LIFReset:
    """Return what the package builds of stock processes, wired but for its input."""
    start = max(0, int(bias.max()) - threshold + 1)
    holds = window.firing_delay > 0
    guard = Guard(_GUARD_MANTISSA, _GUARD_EXPONENT, 1, proven=False, start=start, holds=holds)
    neurons = stock_neurons(
        (_NEURONS,), threshold, bias, window, "subtract", threshold_parts(threshold), guard
    )
    assert [type(part) for part in neurons.parts] == [LIFReset, Sparse, LIF, Dense]
    return neurons.lif


def _run_both(
    window: Window, threshold: int, bias: Integers, inputs: npt.NDArray[np.int32]
) -> dict[str, npt.NDArray[np.int64]]:
    """Return spikes and currents [neuron, step] of our model and of the stock parts."""
    source = Source(data=inputs)
    ours = IF(
        shape=(_NEURONS,),
        threshold=threshold,
        bias=bias,
        window=window,
    )
    stock = _stock_parts(window, threshold, bias)
    steps = inputs.shape[1]
    sinks: dict[str, Any] = {}
    for name, neuron in (("ours", ours), ("stock", stock)):
        source.s_out.connect(neuron.a_in)
        sinks[f"{name} spikes"] = Sink(shape=(_NEURONS,), buffer=steps)
        neuron.s_out.connect(sinks[f"{name} spikes"].a_in)
        sinks[f"{name} u"] = Read(buffer=steps)
        sinks[f"{name} u"].connect_var(neuron.u)
    try:
        source.run(RunSteps(num_steps=steps), run_config())
        return {name: sink.data.get().astype(np.int64) for name, sink in sinks.items()}
    finally:
        source.stop()


@pytest.mark.parametrize(
    ("window", "threshold", "reach"),
    [
        (Window(num_steps=4, period=5, offset=3), 320, 400),
        (Window(num_steps=5, period=6, offset=4), floor_threshold(20_000), STATE_LIMIT - 1),
        (Window(num_steps=3, period=8, offset=9), floor_threshold(3_000), STATE_LIMIT // 2),
        (Window(num_steps=1, period=2, offset=3), 90, 0),
        (Window(num_steps=4, period=6, offset=3, firing_delay=1), 320, 400),
        (Window(num_steps=4, period=8, offset=9, firing_delay=3), floor_threshold(3_000), 9_000),
        pytest.param(
            *(Window(num_steps=2, period=16, offset=20, firing_delay=1), 320, 400),
            marks=pytest.mark.exhaustive,
        ),
        (Window(num_steps=7, period=16, offset=13, firing_delay=5), 320, 400),
    ],
    ids=[
        "in range",
        "wraps",
        "long padding",
        "one step",
        *("waits", "phased", "2 of 16", "5 of 7"),
    ],
)
def test_leaf_model_equals_the_stock_parts_in_every_step(
    window: Window, threshold: int, reach: int
) -> None:
    bias = np.linspace(-threshold, threshold, _NEURONS).astype(np.int32) & ~1
    bias = np.clip(bias, -4096, 4095)
    inputs, wraps = _random_inputs(window, threshold, bias, reach, seed=window.period)
    assert (wraps > _NEURONS) == (reach == STATE_LIMIT - 1), f"{wraps} wraps"
    found = _run_both(window, threshold, bias, inputs)
    # Before the first window the stock parts are held down by the start of their current.
    found = {name: values[:, window.offset - 1 :] for name, values in found.items()}
    phases = _phases(window)[window.offset - 1 :]
    inside = _may_fire(window)[window.offset - 1 :]
    spikes = found["ours spikes"]
    assert spikes[:, inside].any(axis=1).all(), "a neuron is silent"
    assert not spikes[:, inside].all(axis=1).any(), "a neuron always fires"
    last = window.firing_delay + window.num_steps - 1
    assert spikes[:, phases == last].any(), "the last step is silent"
    waiting = found["ours u"][:, phases < window.firing_delay] + bias[:, np.newaxis]
    assert (waiting >= threshold).any() == (window.firing_delay > 0), "none had to be held"
    np.testing.assert_array_equal(found["ours spikes"], found["stock spikes"])
    assert not found["stock spikes"][:, ~inside].any()
    np.testing.assert_array_equal(found["ours u"][:, inside], found["stock u"][:, inside])


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("shape", [(6,), (2, 3, 4)], ids=["dense", "convolutional"])
def test_both_models_of_the_process_send_the_same_spikes(
    reset: str, shape: tuple[int, ...]
) -> None:
    window = Window(num_steps=3, period=8, offset=3)
    generator = np.random.default_rng(5)
    inputs = generator.integers(-90, 200, (*shape, len(_steps(window)))).astype(np.int32)
    inputs[..., _phases(window) >= window.num_steps] = 0
    bias = generator.integers(-100, 500, shape)
    spikes = []
    for model in (PyIFModel, StockIFModel):
        source, sink = Source(data=inputs), Sink(shape=shape, buffer=inputs.shape[-1])
        neuron = IF(
            shape=shape,
            threshold=320,
            bias=bias,
            window=window,
            reset=reset,
            inhibition=threshold_parts(320),
            guard=Guard(250, 4, copies=1, proven=True, start=200),
        )
        source.s_out.connect(neuron.a_in)
        neuron.s_out.connect(sink.a_in)
        config = run_config()
        config.exception_proc_model_map = config.exception_proc_model_map | {IF: model}
        try:
            source.run(RunSteps(num_steps=inputs.shape[-1]), config)
            spikes.append(sink.data.get()[..., window.offset - 1 :].astype(np.int64))
        finally:
            source.stop()
    inside = _phases(window)[window.offset - 1 :] < window.num_steps
    assert 0.1 < spikes[0][..., inside].mean() < 0.9
    np.testing.assert_array_equal(spikes[0], spikes[1])
    assert not spikes[1][..., ~inside].any()


class _Port:
    """Stands for a model's port: hands out what was put in, keeps what was sent."""

    def __init__(self) -> None:
        self.value: Any = None

    def recv(self) -> Any:
        return self.value

    def send(self, value: Any) -> None:
        self.value = np.array(value, dtype=np.int32)


def _leaf_model(window: Window, threshold: int, bias: Integers) -> PyIFModel:
    return PyIFModel(
        {
            "shape": bias.shape,
            "window": window,
            "threshold": threshold,
            "bias": bias,
            "reset": "subtract",
        }
    )


def _stock_model(window: Window, threshold: int, bias: Integers) -> PyLifResetModelBitAcc:
    model = PyLifResetModelBitAcc(
        {"reset_interval": window.period, "reset_offset": window.offset % window.period}
    )
    model.du, model.dv, model.vth = -1, 4096, threshold - 1
    stock = stock_bias(bias)
    model.bias_mant = stock["bias_mant"].astype(np.int16)
    model.bias_exp = np.array([stock["bias_exp"]], dtype=np.int16)
    return model


def _drive(model: Any, neurons: int) -> None:
    model.u, model.v = np.zeros((2, neurons), dtype=np.int32)
    model.a_in, model.s_out = _Port(), _Port()


@settings(max_examples=150, deadline=None)
@given(
    num_steps=st.integers(1, 8),
    padding=st.integers(1, 5),
    offset=st.integers(1, 20),
    threshold=st.integers(1, STATE_LIMIT).map(floor_threshold),
    magnitude=st.sampled_from([10, 17, 18, 23]),
    seed=st.integers(0, 2**32 - 1),
)
def test_leaf_model_has_the_states_of_lava_s_model_however_often_they_wrap(
    num_steps: int, padding: int, offset: int, threshold: int, magnitude: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    window = Window(num_steps, num_steps + padding, offset)
    bias = generator.integers(-4096, 4096, _NEURONS)
    # Of the last two the one leaves the state's range by a step and the other stays at its end.
    reach = (1 << magnitude) - 1
    inputs = generator.integers(-reach, reach + 1, (len(_steps(window)), _NEURONS)).astype(np.int32)
    inputs[0, -2:] = STATE_LIMIT + 1, STATE_LIMIT
    ours, stock = (make(window, threshold, bias) for make in (_leaf_model, _stock_model))
    for model in (ours, stock):
        _drive(model, _NEURONS)
    fired = np.zeros(_NEURONS, dtype=np.int32)
    for step, phase, a_in in zip(_steps(window), _phases(window), inputs, strict=True):
        ours.time_step = stock.time_step = step
        # At a window's start the guard has left no self-inhibition of the window before.
        ours.a_in.value = a_in
        stock.a_in.value = a_in - threshold * fired
        ours.run_spk()
        stock.run_spk()
        silent = stock.s_out.value == 0  # Lava's model sets the voltage to zero where it fires
        fired = stock.s_out.value * (phase < num_steps)  # in the padding the guard blanks it
        np.testing.assert_array_equal(ours.s_out.value, fired)
        np.testing.assert_array_equal(ours.u, stock.u)
        np.testing.assert_array_equal(ours.v[silent], stock.v[silent])


def test_current_of_two_to_the_23_stays_and_its_negative_wraps() -> None:
    half, span = 1 << 23, 1 << 24
    current = np.array([half, half + 1, -half, -half + 1, span, -span, 0], dtype=np.int32)
    wrapped = [half, half + 1 - span, half, -half + 1, 0, 0, 0]
    assert wrap_current(current).tolist() == wrapped
    alone = [wrap_current(current[index : index + 1]).item() for index in range(len(current))]
    assert alone == wrapped


def test_neurons_without_a_step_between_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="a period of 4 steps leaves none after 4 steps"):
        IF(shape=(1,), threshold=1, bias=np.zeros(1, int), window=Window(4, 4, 3))
    with pytest.raises(ValueError, match="a period of 7 steps leaves none after 7 steps"):
        IF(shape=(1,), threshold=1, bias=np.zeros(1, int), window=Window(4, 7, 3, 3))
