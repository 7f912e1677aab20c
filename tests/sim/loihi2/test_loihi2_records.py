"""What is decided on a board's recorded outputs, on outputs whose answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem_hw.errors import BackendError
from tandem_hw.sim.loihi2.assumptions import ADAPTER_DELAY_MAX
from tandem_hw.sim.loihi2.records import (
    clock_delay,
    cut_counts,
    cut_potentials,
    first_of_each,
    matching_delay,
    read_delay,
    require_reset,
    sign_extend,
)
from tandem_hw.sim.loihi2.schedule import CLOCK_PERIOD, Schedule, repeated_order

Record = npt.NDArray[Any]
SHAPE = (2, 3)
KNOWN = np.ones((5, 12), dtype=bool)


def schedule_of(samples: int = 3, num_steps: int = 3, period: int = 4) -> Schedule:
    return Schedule(2, num_steps, period, repeated_order(samples))


def test_sign_extension_of_all_8_bit_values_is_that_of_two_s_complement() -> None:
    unsigned = np.arange(256)
    assert sign_extend(unsigned, 8).tolist() == [*range(128), *range(-128, 0)]


@given(st.integers(-(1 << 23), (1 << 23) - 1))
def test_sign_extension_undoes_the_loss_of_the_sign_and_keeps_a_sign(value: int) -> None:
    assert sign_extend(np.array([value & 0xFFFFFF]))[0] == value
    assert sign_extend(np.array([value]))[0] == value
    # The expression of lava-dl's test of NetX on the board.
    lava_dl = (np.array([value & 0xFFFFFF]).astype(np.int32) << 8) >> 8
    assert lava_dl[0] == value


def clock(delay: int, steps: int = 70) -> Record:
    """Return the record of a neuron that fires in steps K, 2K, ... and is seen later."""
    chip = np.arange(1, steps + 1) - delay
    fires: Record = (chip > 0) & (chip % CLOCK_PERIOD == 0)
    return fires.astype(np.uint8)[:, None]


@pytest.mark.parametrize("delay", range(ADAPTER_DELAY_MAX + 1))
def test_delay_of_the_clock_is_found(delay: int) -> None:
    assert clock_delay(clock(delay)) == delay


def test_clock_that_never_fires_is_reported() -> None:
    with pytest.raises(BackendError, match="never fired in 70 steps; nothing comes back"):
        clock_delay(np.zeros((70, 1), np.uint8))


@pytest.mark.parametrize("delay", [-1, ADAPTER_DELAY_MAX + 1])
def test_clock_with_an_impossible_delay_is_reported(delay: int) -> None:
    with pytest.raises(BackendError, match="fired in the host's steps"):
        clock_delay(clock(delay))


def test_clock_that_skips_a_period_is_reported() -> None:
    spikes = clock(2)
    spikes[2 * CLOCK_PERIOD + 1] = 0
    with pytest.raises(BackendError, match="fired in the host's steps 18, 50, 66"):
        clock_delay(spikes)


def voltage(delay: int, steps: int = 50) -> Record:
    """Return the clock's voltage as a board sends it, of which nothing is sent before."""
    chip = np.arange(1, steps + 1) - delay
    return np.where(chip > 0, (chip % CLOCK_PERIOD) << 6, 0)[:, None]


@pytest.mark.parametrize("delay", range(ADAPTER_DELAY_MAX + 1))
def test_delay_of_a_read_is_found(delay: int) -> None:
    assert read_delay(voltage(delay)) == delay


@pytest.mark.parametrize("wrong", [voltage(ADAPTER_DELAY_MAX + 1), voltage(1) * 2, voltage(1) * 0])
def test_read_that_no_delay_explains_is_reported(wrong: Record) -> None:
    with pytest.raises(BackendError, match="expected is 64, 128, 192"):
        read_delay(wrong)


def answers(delays: int = 5, steps: int = 12) -> Record:
    generator = np.random.default_rng(3)
    return generator.integers(0, 2, (delays, steps, *SHAPE))


def test_the_one_answer_that_was_recorded_tells_the_delay() -> None:
    expected = answers()
    for delay, recorded in enumerate(expected):
        assert matching_delay(recorded, expected, KNOWN, "conv") == delay


def test_answer_that_no_delay_explains_is_reported_with_the_nearest() -> None:
    expected = answers()
    recorded = expected[3].copy()
    recorded[5, 1, 2] ^= 1
    with pytest.raises(
        BackendError,
        match=r"conv: no input delay up to 4 .*with 3, the nearest, 1 value differs",
    ):
        matching_delay(recorded, expected, KNOWN, "conv")


def test_what_is_not_known_is_not_compared() -> None:
    expected, known = answers(), KNOWN.copy()
    recorded = expected[3].copy()
    recorded[5] ^= 1
    known[:, 5] = False
    assert matching_delay(recorded, expected, known, "conv") == 3


def test_answer_that_two_delays_explain_is_reported() -> None:
    expected = answers()
    expected[4] = expected[2]
    with pytest.raises(BackendError, match="the input delays 2, 4 explain what it did alike"):
        matching_delay(expected[2], expected, KNOWN, "conv")


def test_silence_where_spikes_are_expected_is_reported() -> None:
    expected = answers()
    with pytest.raises(BackendError, match="layer conv stayed silent in the calibration"):
        matching_delay(np.zeros_like(expected[0]), expected, KNOWN, "conv")


def test_layer_that_no_input_moves_needs_no_delay_but_has_to_answer_right() -> None:
    expected = np.repeat(answers()[:1], 5, axis=0)
    assert matching_delay(expected[0], expected, KNOWN, "conv") == 0
    with pytest.raises(BackendError, match="no input delay"):
        matching_delay(1 - expected[0], expected, KNOWN, "conv")


def test_the_first_sample_is_repeated_amid_and_at_the_end() -> None:
    assert repeated_order(1).tolist() == [0, 0]
    assert repeated_order(2).tolist() == [0, 0, 1, 0]
    assert repeated_order(5).tolist() == [0, 1, 2, 0, 3, 4, 0]
    for samples in range(1, 12):
        order = repeated_order(samples)
        assert np.unique(order).tolist() == list(range(samples))
        assert np.count_nonzero(order == 0) == (2 if samples == 1 else 3)


@given(
    st.integers(1, 4), st.integers(1, 5), st.integers(0, 5), st.integers(1, 2), st.integers(0, 9)
)
def test_counts_are_those_of_the_windows(
    samples: int, num_steps: int, delay: int, index: int, seed: int
) -> None:
    schedule = schedule_of(samples, num_steps, period=8)
    expected = np.random.default_rng(seed).integers(0, num_steps + 1, (len(schedule.order), *SHAPE))
    spikes = np.zeros((schedule.total_steps, *SHAPE), np.uint8)
    spikes[: schedule.first_step(index) - 2] = 1  # the calibration is not looked at
    start = schedule.first_step(index) + delay - 1
    for slot, counts in enumerate(expected):
        for step in range(num_steps):
            spikes[start + 8 * slot + step] = counts > step
    found = cut_counts(spikes, schedule, index, delay, "conv")
    assert found.dtype == np.int32
    assert np.array_equal(found, expected)


@pytest.fixture
def spikes() -> Record:
    schedule = schedule_of()
    record = np.zeros((schedule.total_steps, *SHAPE), np.uint8)
    record[schedule.first_step(1) - 1, 1, 2] = 1
    assert cut_counts(record, schedule, 1, 0, "conv").sum() == 1
    return record


def test_spike_between_two_windows_is_reported(spikes: Record) -> None:
    schedule = schedule_of()
    step = schedule.first_step(1) + 2 * schedule.period - 1  # the padding of the second slot
    spikes[step - 1, 0, 1] = 1
    with pytest.raises(BackendError, match=rf"layer conv fired in the host's step {step}, between"):
        cut_counts(spikes, schedule, 1, 0, "conv")


def test_value_that_is_no_spike_is_reported(spikes: Record) -> None:
    spikes[spikes > 0] = 128
    with pytest.raises(BackendError, match="layer conv: the board sent the values 0, 128 for spi"):
        cut_counts(spikes, schedule_of(), 1, 0, "conv")


def test_record_that_ends_early_is_reported(spikes: Record) -> None:
    schedule = schedule_of()
    needed = schedule.first_step(1) + (len(schedule.order) - 1) * 4 + 2
    assert cut_counts(spikes[:needed], schedule, 1, 0, "conv").sum() == 1
    with pytest.raises(BackendError, match=f"{needed - 1} steps were recorded and {needed} are n"):
        cut_counts(spikes[: needed - 1], schedule, 1, 0, "conv")
    with pytest.raises(BackendError, match="layer out: 40 steps were recorded"):
        cut_potentials(np.zeros((40, 2), np.int32), schedule, 0, "out")


@given(st.integers(0, 5), st.lists(st.integers(-(1 << 17), (1 << 17) - 1), min_size=5, max_size=5))
def test_potentials_are_those_of_the_windows_last_steps(delay: int, values: list[int]) -> None:
    schedule = schedule_of(samples=3)
    assert len(schedule.order) == len(values)
    record = np.full((schedule.total_steps, 1), 77, np.int32)
    for slot, value in enumerate(values):
        last = schedule.first_step(2) + slot * schedule.period + schedule.num_steps - 1
        record[last + delay - 1] = ((value << 6) + 13) & 0xFFFFFF
    assert cut_potentials(record, schedule, delay, "out")[:, 0].tolist() == values


def test_repetition_that_differs_shows_that_the_state_was_not_reset() -> None:
    order = repeated_order(3)
    values = np.random.default_rng(1).integers(0, 9, (3, *SHAPE))[order]
    require_reset(values, order, "conv")
    for slot in np.flatnonzero(order == 0)[1:]:
        wrong = values.copy()
        wrong[slot, 1, 0] += 1
        with pytest.raises(
            BackendError,
            match=rf"layer conv: sample 0 gave .* in slot {slot} .*\[1, 0\], 1 n",
        ):
            require_reset(wrong, order, "conv")


def test_repetitions_are_left_out_of_what_is_kept() -> None:
    order = repeated_order(4)
    assert first_of_each(order * 10, order).tolist() == [0, 10, 20, 30]
