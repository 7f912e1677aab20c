"""The marker tells every delay apart; the answers to it are those of the oracle."""

from __future__ import annotations

from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem_hw.chip.timing import board_period, window_start
from tandem_hw.conformance.layers import (
    conv1d_layer,
    conv_transpose2d_layer,
    dense_layer,
    network_of,
    one_to_one_layer,
)
from tandem_hw.conformance.oracle import run_layer
from tandem_hw.errors import BackendError, DataError, NetworkError
from tandem_hw.network.quantized import Encoding, InputSpec, Layer, QuantizedNetwork
from tandem_hw.sim.loihi2.assumptions import ADAPTER_DELAY_MAX, RESET_INTERVAL_MAX
from tandem_hw.sim.loihi2.calibration import (
    Marker,
    calibrate,
    check_input_path,
    choose_marker,
    expected_answers,
)
from tandem_hw.sim.loihi2.schedule import (
    CLOCK_PERIOD,
    Delays,
    Schedule,
    check_board_period,
    repeated_order,
)
from tests.helpers.networks import random_inputs, small_network

RESETS_AND_STEPS = [
    ("subtract", 1), ("subtract", 3), ("subtract", 5), ("zero", 1), ("zero", 3), ("zero", 8)
]  # fmt: skip


def example(
    reset: str,
    num_steps: int,
    encoding: Encoding,
    *,
    readout_only: bool = False,
    threshold: int = 40,
    bias: int = 0,
) -> QuantizedNetwork:
    generator = np.random.default_rng(num_steps)
    spec = InputSpec((6,), 4, 1 / 15, encoding)
    first = dense_layer(
        "first", 2 * generator.integers(-20, 30, (4, 6)), 8, np.full(4, bias), threshold, (6,)
    )
    last = dense_layer(
        "last", 2 * generator.integers(-20, 30, (3, 4)), 8, np.zeros(3, int), None, (4,)
    )
    if readout_only:
        only = dense_layer("only", first.synapses[0].weight, 8, np.full(4, bias), None, (6,))
        return network_of(spec, (only,), num_steps, reset)  # type: ignore[arg-type]
    return network_of(spec, (first, last), num_steps, reset)  # type: ignore[arg-type]


def random_frames(network: QuantizedNetwork) -> npt.NDArray[np.uint8]:
    return network.input.frames(random_inputs(network), network.num_steps)


def schedule_of(network: QuantizedNetwork, samples: int = 3) -> Schedule:
    order = repeated_order(samples)
    return Schedule(len(network.layers), network.num_steps, board_period(network), order)


def chip(
    network: QuantizedNetwork, marker: Marker, schedule: Schedule, delays: Delays
) -> dict[str, npt.NDArray[np.int64]]:
    """Return what the host would record, from the oracle and with the chip's own step numbers."""
    steps, layer = schedule.calibration_steps, network.layers[0]
    arriving = np.zeros((steps + 1, *network.input.shape), dtype=np.int64)
    for index in np.flatnonzero(marker.pattern):
        # Sent from step 2 on, and a synapse takes a step.
        step = 2 + int(index) + delays.input + 1
        if step <= steps:
            arriving[step] = marker.frame
    spikes = np.zeros((steps + ADAPTER_DELAY_MAX + 2, layer.num_neurons), dtype=np.int64)
    voltage = spikes.copy()
    padding = schedule.period - network.num_steps
    for start in range(window_start(1), steps - network.num_steps, schedule.period):
        # What comes between two windows may fire there, and inhibit the first step of the next.
        disturbed = arriving[start - padding : start].any()
        train = arriving[start : start + network.num_steps].reshape(network.num_steps, -1)
        for step in range(1, network.num_steps + 1):
            result = run_layer(layer, network.reset, train[:step].tolist())
            spikes[start + step - 1 + delays.output] = result.spikes[-1]
            if disturbed:
                spikes[start + step - 1 + delays.output] ^= 1
            if delays.read is not None:
                voltage[start + step - 1 + delays.read] = np.array(result.potential) << 6
    chip_steps = np.arange(1, steps + 1)
    clock = (chip_steps - delays.output) % CLOCK_PERIOD == 0
    clock &= chip_steps > delays.output
    read = chip_steps - (delays.read or 0)
    return {
        "clock": clock[:, None].astype(np.int64),
        "clock_voltage": np.where(read > 0, read % CLOCK_PERIOD << 6, 0)[:, None],
        "first_layer": voltage[1 : steps + 1] & 0xFFFFFF
        if not layer.fires
        else spikes[1 : steps + 1],
    }


@pytest.mark.parametrize("encoding", get_args(Encoding))
@pytest.mark.parametrize(("reset", "num_steps"), RESETS_AND_STEPS)
def test_every_delay_of_the_input_is_found(reset: str, num_steps: int, encoding: Encoding) -> None:
    network = example(reset, num_steps, encoding)
    schedule = schedule_of(network)
    marker = choose_marker(network, random_frames(network), schedule)
    answers = expected_answers(network, marker, schedule)
    assert answers.all_differ()
    assert len(answers.values) == ADAPTER_DELAY_MAX + 1
    for delays in (Delays(0, 0, 1), Delays(3, 1, 2), Delays(ADAPTER_DELAY_MAX, 5, 4)):
        assert calibrate(network, marker, schedule, **chip(network, marker, schedule, delays)) == (
            delays
        )


@pytest.mark.parametrize(("reset", "num_steps"), RESETS_AND_STEPS)
def test_delay_is_found_where_the_first_layer_is_the_readout(reset: str, num_steps: int) -> None:
    network = example(reset, num_steps, "constant", readout_only=True, bias=-300)
    schedule = schedule_of(network)
    marker = choose_marker(network, random_frames(network), schedule)
    for delays in (Delays(0, 0, 1), Delays(2, 3, 0)):
        assert calibrate(network, marker, schedule, **chip(network, marker, schedule, delays)) == (
            delays
        )


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 8), st.integers(0, 8), st.integers(-200, 200))
def test_delays_are_found_whatever_the_bias(delay: int, output: int, bias: int) -> None:
    network = example("subtract", 3, "constant", threshold=320, bias=bias)
    schedule = schedule_of(network)
    marker = choose_marker(network, random_frames(network), schedule)
    delays = Delays(delay, output, 1)
    recorded = chip(network, marker, schedule, delays)
    assert recorded["first_layer"].any()
    assert calibrate(network, marker, schedule, **recorded) == delays


def test_chip_that_computes_otherwise_is_reported() -> None:
    network = example("subtract", 3, "constant")
    schedule = schedule_of(network)
    marker = choose_marker(network, random_frames(network), schedule)
    recorded = chip(network, marker, schedule, Delays(0, 0, 1))
    step = int(np.flatnonzero(recorded["first_layer"].any(axis=1))[2])
    recorded["first_layer"][step] = 0
    with pytest.raises(BackendError, match="no input delay up to 16 steps explains what"):
        calibrate(network, marker, schedule, **recorded)


def test_first_step_marker_sends_at_most_one_frame_a_window() -> None:
    network = example("subtract", 3, "first_step")
    schedule = schedule_of(network)
    marker = choose_marker(network, random_frames(network), schedule)
    sent = np.flatnonzero(marker.pattern)
    assert len(sent) > 1
    assert np.diff(sent).min() >= schedule.period


def test_layer_that_no_input_moves_is_calibrated_all_the_same() -> None:
    network = example("subtract", 3, "constant", threshold=100 << 10, bias=0)
    schedule = schedule_of(network)
    inputs = random_inputs(network)
    marker = choose_marker(network, network.input.frames(inputs, network.num_steps), schedule)
    assert not expected_answers(network, marker, schedule).values.any()
    recorded = chip(network, marker, schedule, Delays(0, 2, 1))
    assert calibrate(network, marker, schedule, **recorded) == Delays(0, 2, 1)


def test_layer_that_answers_some_delays_alike_is_refused() -> None:
    # It fires only when a frame comes in every step of a window, as in the samples.
    spec = InputSpec((1,), 1, 1.0, "constant")
    first = dense_layer("first", np.array([[2]]), 8, np.zeros(1, int), 16, (1,))
    last = dense_layer("last", np.array([[2]]), 8, np.zeros(1, int), None, (1,))
    network = network_of(spec, (first, last), 8, "zero")
    schedule = schedule_of(network)
    with pytest.raises(DataError, match="layer first does not fire enough on these samples"):
        choose_marker(network, np.ones((2, 8, 1), np.uint8), schedule)


def test_samples_begin_after_the_calibration_whatever_the_delay() -> None:
    for reset, num_steps in RESETS_AND_STEPS:
        schedule = schedule_of(small_network(reset, num_steps))  # type: ignore[arg-type]
        first = schedule.source_start(Delays(ADAPTER_DELAY_MAX, 0, 0))
        assert first > schedule.calibration_steps
        # A frame needs a step for the synapse; then the first layer's window starts.
        assert schedule.source_start(Delays(0, 0, 0)) + 1 == schedule.first_step(1)
        assert schedule.first_step(1) % schedule.period == window_start(1) % schedule.period


@pytest.mark.parametrize("period", [3, 5, 6, 12, 2 * RESET_INTERVAL_MAX])
def test_period_that_a_board_cannot_have_is_refused(period: int) -> None:
    network = small_network("subtract", 3)
    for legal in (4, 8, RESET_INTERVAL_MAX):
        check_board_period(network, legal)
    with pytest.raises(NetworkError, match=f"a period of {period} steps cannot run on Loihi 2"):
        check_board_period(network, period)


def test_window_longer_than_any_period_is_refused() -> None:
    network = small_network("subtract", RESET_INTERVAL_MAX)
    with pytest.raises(NetworkError, match="needs a reset_interval of 2048 on Loihi 2"):
        check_board_period(network, board_period(network))


def taking_input(first: Layer, *others: Layer) -> QuantizedNetwork:
    """Return a network over (2, 6) whose first layers are given; the last one takes them all."""
    shape = first.output_shape
    skips = tuple(
        one_to_one_layer(f"to {other.name}", np.array([2]), 8, np.zeros(1, int), None, shape,
                 source=other.name)
        for other in others
    )  # fmt: skip
    width = first.num_neurons
    joint = one_to_one_layer(
        "joint", np.array([4]), 8, np.zeros(1, int), 4, shape, source=first.name, skips=skips
    )
    middle = (joint,) if others else ()
    last = dense_layer("last", 2 * np.eye(width, dtype=int), 8, np.zeros(width, int), None, shape)
    spec = InputSpec(first.synapses[0].input_shape, 4, 1 / 15, "constant")
    return network_of(spec, (first, *others, *middle, last), 3, "zero")


def series(name: str, source: str = "") -> Layer:
    return conv1d_layer(
        name, 2 * np.ones((2, 2, 1), int), 8, np.zeros(2, int), 40, (2, 6), source=source
    )


def test_input_of_one_layer_of_every_kind_with_a_known_adapter_is_taken() -> None:
    check_input_path(example("zero", 3, "constant"))
    check_input_path(taking_input(series("a")))


def test_input_of_two_layers_is_refused() -> None:
    network = taking_input(series("a"), series("b", source="input"))
    with pytest.raises(NetworkError, match="input goes to a, b; backend loihi2 feeds one layer"):
        check_input_path(network)


@pytest.mark.parametrize(
    "first",
    [
        conv_transpose2d_layer(
            "first", 2 * np.ones((2, 2, 1, 1), int), 8, np.zeros(2, int), 40, (2, 3, 2)
        ),
        one_to_one_layer("first", np.array([2]), 8, np.zeros(1, int), 40, (2, 6)),
    ],
    ids=lambda layer: type(layer.synapses[0]).__name__,
)
def test_input_of_a_sparse_matrix_is_refused(first: Layer) -> None:
    kind = type(first.synapses[0]).__name__
    message = f"layer first: backend loihi2 feeds Dense, Conv1d and Conv2d .*, not {kind}; put one"
    with pytest.raises(NetworkError, match=message):
        check_input_path(taking_input(first))
