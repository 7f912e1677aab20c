"""Our leaf model of the paper's neuron is, step by step, a construction of Lava's stock parts."""

from __future__ import annotations

from dataclasses import dataclass
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
from lava.utils.weightutils import SignMode

from tandem_hw.export.lava_graph import run_config
from tandem_hw.fixed_point import (
    STATE_FRACTION_BITS,
    STATE_LIMIT,
    bias_exponent,
    floor_threshold,
    threshold_parts,
)
from tandem_hw.sim.processes.integrate_and_fire import IF, PyIFModel, wrap_current

pytestmark = [
    pytest.mark.timeout(60),
    # Lava imports every file beside a Process, and one of its own asks for pandas.
    pytest.mark.filterwarnings("ignore:pandas not found:ImportWarning"),
]

Integers = npt.NDArray[np.integer[Any]]

_NEURONS = 12
_WINDOWS = 8
#: What the guard takes from every neuron of a layer, 255 * 2^8 weight units: enough to silence one
#: of half the state's range, and not enough to wrap it.
_GUARD_MANTISSA, _GUARD_EXPONENT = 255, 8


@dataclass(frozen=True)
class Window:
    """When a layer may fire: T steps from ``offset`` on, again after every ``period`` steps."""

    num_steps: int
    period: int
    offset: int

    @property
    def steps(self) -> npt.NDArray[np.int64]:
        """All steps until the last window and its padding are over, from 1."""
        return np.arange(1, self.offset + _WINDOWS * self.period)

    @property
    def phases(self) -> npt.NDArray[np.int64]:
        """Each step's place in its window or, from ``num_steps`` on, in the padding."""
        return (self.steps - self.offset) % self.period


def _stock_bias(bias: Integers) -> dict[str, Any]:
    exponent = bias_exponent(bias)
    return {"bias_mant": bias >> (exponent - STATE_FRACTION_BITS), "bias_exp": exponent}


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
    for phase in window.phases:
        if phase == 0:
            u, fired = np.zeros_like(u), np.zeros_like(u)
        u = u - threshold * fired
        wide = generator.integers(-reach, reach + 1, len(bias))
        near = generator.integers(-threshold, 2 * threshold + 1, len(bias))
        if phase < window.num_steps - 1:
            inputs.append(wide)
        else:
            inputs.append(near - (u + bias) * (phase == window.num_steps - 1))
        u = u + inputs[-1]
        wraps += int((abs(u) > STATE_LIMIT).sum())
        u = (u + STATE_LIMIT) % (2 * STATE_LIMIT) - STATE_LIMIT
        fired = (u + bias >= threshold) & (phase < window.num_steps)
    return np.stack(inputs, axis=-1).astype(np.int32), wraps


def _guard(window: Window) -> tuple[LIF, Dense]:
    """Return a neuron that fires once a period, and the synapses that blank the layer with it."""
    fires = window.offset + window.num_steps - 1  # the synapses take one step
    clock = LIF(
        shape=(1,),
        du=4095,
        dv=0,
        vth=window.period - 1,
        bias_mant=1,
        bias_exp=STATE_FRACTION_BITS,
        v=(-fires % window.period) << STATE_FRACTION_BITS,
    )
    blank = Dense(
        weights=np.full((_NEURONS, 1), -_GUARD_MANTISSA),
        weight_exp=_GUARD_EXPONENT,
        sign_mode=SignMode.INHIBITORY,
    )
    clock.s_out.connect(blank.s_in)
    return clock, blank


def _stock_parts(window: Window, threshold: int, bias: Integers) -> LIFReset:
    """Return the construction of docs/arithmetic.md, wired but for its input."""
    neuron = LIFReset(
        shape=(_NEURONS,),
        du=-1,
        dv=4096,
        vth=threshold - 1,
        reset_interval=window.period,
        reset_offset=window.offset % window.period,
        **_stock_bias(bias),
    )
    mantissa, exponent = threshold_parts(threshold)
    inhibition = Sparse(
        weights=-mantissa * np.eye(_NEURONS, dtype=np.int32),
        weight_exp=exponent,
        sign_mode=SignMode.INHIBITORY,
    )
    neuron.s_out.connect(inhibition.s_in)
    inhibition.a_out.connect(neuron.a_in)
    _, blank = _guard(window)
    blank.a_out.connect(neuron.a_in)
    return neuron


def _run_both(
    window: Window, threshold: int, bias: Integers, inputs: npt.NDArray[np.int32]
) -> dict[str, npt.NDArray[np.int64]]:
    """Return spikes and currents [neuron, step] of our model and of the stock parts."""
    source = Source(data=inputs)
    ours = IF(
        shape=(_NEURONS,),
        threshold=threshold,
        bias=bias,
        num_steps=window.num_steps,
        period=window.period,
        offset=window.offset,
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
    ],
    ids=["in range", "wraps", "long padding", "one step"],
)
def test_leaf_model_equals_the_stock_parts_in_every_step(
    window: Window, threshold: int, reach: int
) -> None:
    bias = np.linspace(-threshold, threshold, _NEURONS).astype(np.int32) & ~1
    bias = np.clip(bias, -4096, 4095)
    inputs, wraps = _random_inputs(window, threshold, bias, reach, seed=window.period)
    assert (wraps > _NEURONS) == (reach == STATE_LIMIT - 1), f"{wraps} wraps"
    found = _run_both(window, threshold, bias, inputs)
    inside = window.phases < window.num_steps
    spikes = found["ours spikes"]
    assert spikes[:, inside].any(axis=1).all(), "a neuron is silent"
    assert not spikes[:, inside].all(axis=1).any(), "a neuron always fires"
    assert spikes[:, window.phases == window.num_steps - 1].any(), "the last step is silent"
    np.testing.assert_array_equal(found["ours spikes"], found["stock spikes"])
    assert not found["stock spikes"][:, ~inside].any()
    np.testing.assert_array_equal(found["ours u"][:, inside], found["stock u"][:, inside])


class _Port:
    """Stands for a model's port: hands out what was put in, keeps what was sent."""

    def __init__(self) -> None:
        self.value: Any = None

    def recv(self) -> Any:
        return self.value

    def send(self, value: Any) -> None:
        self.value = np.array(value, dtype=np.int32)


def _leaf_model(window: Window, threshold: int, bias: Integers) -> PyIFModel:
    model = PyIFModel(
        {
            "shape": bias.shape,
            "num_steps": window.num_steps,
            "period": window.period,
            "offset": window.offset,
        }
    )
    model.bias, model.threshold = bias.astype(np.int32), np.array([threshold], dtype=np.int32)
    return model


def _stock_model(window: Window, threshold: int, bias: Integers) -> PyLifResetModelBitAcc:
    model = PyLifResetModelBitAcc(
        {"reset_interval": window.period, "reset_offset": window.offset % window.period}
    )
    model.du, model.dv, model.vth = -1, 4096, threshold - 1
    stock = _stock_bias(bias)
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
    inputs = generator.integers(-reach, reach + 1, (len(window.steps), _NEURONS)).astype(np.int32)
    inputs[0, -2:] = STATE_LIMIT + 1, STATE_LIMIT
    ours, stock = (make(window, threshold, bias) for make in (_leaf_model, _stock_model))
    for model in (ours, stock):
        _drive(model, _NEURONS)
    fired = np.zeros(_NEURONS, dtype=np.int32)
    for step, phase, a_in in zip(window.steps, window.phases, inputs, strict=True):
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


def test_neurons_without_a_step_between_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="a period of 4 steps leaves none after 4 steps"):
        IF(shape=(1,), threshold=1, bias=np.zeros(1, int), num_steps=4, period=4, offset=3)
