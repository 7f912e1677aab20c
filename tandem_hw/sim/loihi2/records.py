"""What is made of the outputs that a board's host recorded step by step: pure functions.

Steps are counted from 1, as Lava does: index i of an array [steps, ...] is step i + 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.errors import BackendError
from tandem_hw.network.fixed_point import STATE_FRACTION_BITS
from tandem_hw.sim.loihi2.assumptions import ADAPTER_DELAY_MAX, STATE_MESSAGE_BITS
from tandem_hw.sim.loihi2.schedule import CLOCK_PERIOD, Schedule

IntArray = npt.NDArray[np.integer[Any]]


def sign_extend(values: IntArray, bits: int = STATE_MESSAGE_BITS) -> npt.NDArray[np.int32]:
    """Give values their sign back that came as ``bits`` bits without one.

    x -> ((x + 2^(bits-1)) mod 2^bits) - 2^(bits-1); a value that has its sign already stays.

    Args:
        values: integers.
        bits: width, 2 to 32.
    """
    half = 1 << (bits - 1)
    wide = values.astype(np.int64)
    return (((wide + half) & ((half << 1) - 1)) - half).astype(np.int32)


def clock_delay(spikes: IntArray) -> int:
    """Return by how many steps an output adapter delays, from the record of the chip's clock.

    Args:
        spikes: [steps, 1], spikes of a neuron that fires in the steps K, 2K, ... (K is
            ``CLOCK_PERIOD``) of the chip.

    Raises:
        BackendError: it never fired, fired too early or late, or not once in K steps.
    """
    fired = np.flatnonzero(spikes.reshape(len(spikes), -1).any(axis=1)) + 1
    if not len(fired):
        raise BackendError(
            f"the clock on the chip never fired in {counted(len(spikes), 'step')}; nothing comes "
            f"back from the board (see docs/loihi2.md, first contact)"
        )
    delay = int(fired[0]) - CLOCK_PERIOD
    if not 0 <= delay <= ADAPTER_DELAY_MAX or np.any(np.diff(fired) != CLOCK_PERIOD):
        raise BackendError(
            f"the clock on the chip fired in the host's steps {_some(fired)}; expected is every "
            f"{CLOCK_PERIOD} steps from step {CLOCK_PERIOD} plus a delay of at most "
            f"{ADAPTER_DELAY_MAX}"
        )
    return delay


def read_delay(voltage: IntArray) -> int:
    """Return by how many steps a read of a state delays, from the clock's recorded voltage.

    The clock's voltage at the end of step t is 64 t for t < K.

    Args:
        voltage: [steps, 1], as the board sends it.

    Raises:
        BackendError: no delay explains what was read.
    """
    series = sign_extend(voltage).reshape(len(voltage), -1)[:, 0]
    expected = np.arange(1, CLOCK_PERIOD) << STATE_FRACTION_BITS
    for delay in range(ADAPTER_DELAY_MAX + 1):
        if np.array_equal(series[delay : delay + len(expected)], expected):
            return delay
    raise BackendError(
        f"the voltage of the clock on the chip was read as {_some(series)}; expected is "
        f"{_some(expected)} after at most {ADAPTER_DELAY_MAX} steps"
    )


def matching_delay(
    recorded: IntArray, expected: IntArray, known: npt.NDArray[np.bool_], name: str
) -> int:
    """Return the one input delay that explains what the first layer did.

    Args:
        recorded: [steps, *shape], what came back from the calibration.
        expected: [delays, steps, *shape], what would have come back with each delay.
        known: bool [delays, steps], where that holds.
        name: name of the layer, for messages.

    Raises:
        BackendError: no delay explains it, or several do.
    """
    flat = (expected != recorded).reshape(*known.shape, -1)
    differing = (flat & known[..., None]).sum(axis=(1, 2))
    fits = np.flatnonzero(differing == 0)
    if not recorded.any() and expected.any():
        raise BackendError(
            f"layer {name} stayed silent in the calibration; the input does not reach the chip"
        )
    if not len(fits):
        best = int(differing.argmin())
        raise BackendError(
            f"layer {name}: no input delay up to {counted(len(expected) - 1, 'step')} explains "
            f"what it did in "
            f"the calibration (with {best}, the nearest, "
            f"{counted(int(differing[best]), 'value differs', 'values differ')}). "
            f"The chip does not compute what is assumed: see docs/loihi2.md, what is assumed"
        )
    if bool((expected == expected[:1]).all()):
        return 0  # no input moves the layer, so that no delay can either
    if len(fits) > 1:
        raise BackendError(
            f"layer {name}: the input delays {_some(fits)} explain what it did alike; use samples "
            f"that make it fire more"
        )
    return int(fits[0])


def cut_counts(
    spikes: IntArray, schedule: Schedule, start: int, delay: int, name: str
) -> npt.NDArray[np.int32]:
    """Count the spikes of each slot's window in a record of single steps.

    Args:
        spikes: [steps, *shape], 0 or 1.
        schedule: when which sample runs.
        start: steps by which the layer may fire after the window of the input starts
            (``Wiring.first_spikes``).
        delay: from a spike to the host, in steps.
        name: name of the layer, for messages.

    Returns:
        int32 [slots, *shape], one slot for each entry of ``schedule.order``.

    Raises:
        BackendError: the record is too short, holds anything but spikes, or a neuron fired between
            two windows.
    """
    first, slots = schedule.first_step(start) + delay - 1, len(schedule.order)
    counts = np.zeros((slots, *spikes.shape[1:]), dtype=np.int32)
    for slot in range(slots):
        begin = first + slot * schedule.period
        end = begin + schedule.num_steps
        _check_length(len(spikes), end, name)
        window = spikes[begin:end]
        if window.size and (window.min() < 0 or window.max() > 1):
            raise BackendError(
                f"layer {name}: the board sent the values {_some(np.unique(window))} for spikes"
            )
        counts[slot] = window.sum(axis=0)
        between = spikes[end : begin + schedule.period]
        if between.any():
            step = end + 1 + int(np.flatnonzero(between.reshape(len(between), -1).any(axis=1))[0])
            raise BackendError(
                f"layer {name} fired in the host's step {step}, between two windows, where its "
                f"guard keeps it silent; see docs/loihi2.md, what is assumed"
            )
    return counts


def cut_potentials(
    voltage: IntArray, schedule: Schedule, delay: int, name: str
) -> npt.NDArray[np.int32]:
    """Take the readout's potential at each window's end out of a record of single steps.

    Args:
        voltage: [steps, *shape], as the board sends it, in units of 1/64 weight unit.
        schedule: when which sample runs.
        delay: from the end of a step to the host, in steps.
        name: name of the readout, for messages.

    Returns:
        int32 [slots, *shape] in weight units.

    Raises:
        BackendError: the record is too short.
    """
    first = schedule.first_step(schedule.last_start) + schedule.num_steps - 1 + delay - 1
    steps = first + np.arange(len(schedule.order)) * schedule.period
    _check_length(len(voltage), int(steps[-1]) + 1, name)
    return sign_extend(voltage[steps]) >> STATE_FRACTION_BITS


def require_reset(values: IntArray, order: npt.NDArray[np.int64], name: str) -> None:
    """Refuse a run in which the repeated sample did not give the same every time.

    Args:
        values: [slots, *shape], counts or potentials.
        order: index of the sample in every slot; the first sample comes at least twice.
        name: name of the layer, for messages.

    Raises:
        BackendError: names the first place where a repetition differs.
    """
    first, *repeated = np.flatnonzero(order == order[0])
    assert repeated  # repeated_order sees to it
    for slot in repeated:
        places = np.argwhere(values[slot] != values[first])
        if len(places):
            neuron = tuple(int(axis) for axis in places[0])
            raise BackendError(
                f"layer {name}: sample {order[0]} gave {values[slot][neuron]} when it was repeated "
                f"in slot {slot} and {values[first][neuron]} at first (neuron {list(neuron)}, "
                f"{counted(len(places), 'neuron differs', 'neurons differ')}): the chip's state "
                f"was not reset between samples"
            )


def first_of_each(values: IntArray, order: npt.NDArray[np.int64]) -> IntArray:
    """Return the values of each sample's first slot, in the order of the samples.

    Args:
        values: [slots, *shape].
        order: index of the sample in every slot.
    """
    _, slots = np.unique(order, return_index=True)
    return values[slots]


def _check_length(length: int, needed: int, name: str) -> None:
    if length < needed:
        raise BackendError(
            f"layer {name}: {counted(length, 'step was', 'steps were')} recorded and {needed} are "
            f"needed; the run ended "
            f"early"
        )


def _some(values: IntArray) -> str:
    shown = ", ".join(str(int(value)) for value in values[:8])
    return shown + (", ..." if len(values) > 8 else "")
