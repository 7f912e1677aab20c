"""The marker that is sent before the samples, and what the first layer answers for every delay.

Nobody outside Intel's community can know how many steps an adapter takes, so it is measured: frames
of one sample are sent in a pattern that gives other spikes for every delay, and what comes back is
compared with what the integer arithmetic gives for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tandem_hw.arithmetic.neurons import (
    Incoming,
    NeuronParameters,
    SpikeTrain,
    Synapse,
    simulate_layer,
)
from tandem_hw.arithmetic.synapses import WeightedSynapse, synapse_of
from tandem_hw.chip.timing import window_start
from tandem_hw.errors import DataError, NetworkError
from tandem_hw.network.fixed_point import STATE_FRACTION_BITS
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.whole_numbers import whole_numbers
from tandem_hw.sim.loihi2.assumptions import ADAPTER_DELAY_MAX, INPUT_ADAPTERS
from tandem_hw.sim.loihi2.records import (
    clock_delay,
    matching_delay,
    read_delay,
    sign_extend,
)
from tandem_hw.sim.loihi2.schedule import MARKER_PERIODS, Delays, Schedule

IntArray = npt.NDArray[np.integer[Any]]
#: Samples that are looked at for a marker.
_SAMPLES = 64
#: Frames and patterns that are tried until the answers to all delays differ.
_FRAMES = 16
_PATTERNS = 8


@dataclass(frozen=True)
class Marker:
    """What is sent in the calibration.

    Attributes:
        frame: uint8, one frame of the network's input shape.
        pattern: bool [steps], the steps in which it is sent, from the source's first.
    """

    frame: npt.NDArray[np.uint8]
    pattern: npt.NDArray[np.bool_]


def check_input_path(network: QuantizedNetwork) -> None:
    """Refuse a network whose input does not enter a board as it is calibrated.

    One adapter feeds the synapses of one layer, and what this layer alone answers to the marker
    tells the delay. Which adapter a sparse matrix takes was never seen in public.

    Args:
        network: what shall run.

    Raises:
        NetworkError: several synapses take the input, or those of another kind.
    """
    taking = [
        connection.synapses
        for connections in network.wiring.connections
        for connection in connections
        if connection.source is None
    ]
    if len(taking) > 1:
        raise NetworkError(
            f"the network's input goes to {', '.join(layer.name for layer in taking)}; backend "
            f"loihi2 feeds one layer only: put a layer before them, or run it on lava-stock"
        )
    if type(taking[0]) not in INPUT_ADAPTERS:
        *names, last = [kind.__name__ for kind in INPUT_ADAPTERS]
        raise NetworkError(
            f"layer {taking[0].name}: backend loihi2 feeds {', '.join(names)} and {last} with the "
            f"network's input, not {type(taking[0]).__name__}; put one of them before it, or run "
            f"it on lava-stock"
        )


def choose_marker(
    network: QuantizedNetwork, frames: npt.NDArray[np.uint8], schedule: Schedule
) -> Marker:
    """Find a frame and a pattern to which the first layer answers otherwise for every delay.

    A first layer that no input moves answers alike to all of them; then any marker will do, since
    the delay makes no difference.

    Args:
        network: what shall run.
        frames: what the samples send, uint8 [samples, sends, *network.input.shape], which is tried
            first.
        schedule: when which sample runs.

    Raises:
        DataError: none was found, since the first layer hardly fires.
    """
    shape = network.input.shape
    tried = frames[:_SAMPLES].reshape(-1, *shape)
    busiest = np.argsort(-tried.reshape(len(tried), -1).sum(axis=1, dtype=np.int64), kind="stable")
    brightest = np.full(shape, network.input.largest, dtype=np.uint8)
    unmoved: Marker | None = None
    for frame in (*tried[busiest[:_FRAMES]], brightest):
        for pattern in _patterns(network, schedule):
            marker = Marker(frame, pattern)
            answers = expected_answers(network, marker, schedule)
            if answers.all_differ():
                return marker
            unmoved = marker if answers.all_equal() else unmoved
    if unmoved is not None and not _moves(network, frames[:_SAMPLES]):
        return unmoved  # whatever the delay, the first layer does the same
    raise DataError(
        f"layer {network.layers[0].name} does not fire enough on these samples to measure the "
        f"delay of the board's input; give more samples, or look at the network with tandem-hw "
        f"inspect"
    )


def _patterns(network: QuantizedNetwork, schedule: Schedule) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield patterns that keep the network within its bounds whatever the delay.

    They are bursts a period or more apart: of at most a window's length, or of one frame where the
    bounds are proven for no two in a row. The gaps differ, so that one burst meets a window for
    every delay.
    """
    length, period = MARKER_PERIODS * schedule.period, schedule.period
    sent = network.input.sent_steps(schedule.num_steps)
    longest = len(sent) if sent.step == 1 else 1
    generator = np.random.default_rng(0)
    for _ in range(_PATTERNS):
        pattern = np.zeros(length, dtype=np.bool_)
        start = 0
        while start < length:
            burst = int(generator.integers(1, longest + 1))
            pattern[start : start + burst] = True
            start += burst + period + int(generator.integers(0, period))
        yield pattern


@dataclass(frozen=True)
class Answers:
    """What the first layer does in the calibration, for every input delay.

    Index 0 of the steps is the chip's step ``window_start(1)``.

    Attributes:
        values: int32 [delays, steps, *output_shape], spikes, or potentials in weight units where
            the first layer is the readout.
        known: bool [delays, steps], where the values hold. They do not between two windows, nor in
            a window before which a frame came between two: what then fires in the last step before
            the window would inhibit its first.
    """

    values: npt.NDArray[np.int32]
    known: npt.NDArray[np.bool_]

    def all_differ(self) -> bool:
        """Whether every two delays differ in a step that is known for both."""
        flat = self.values.reshape(*self.known.shape, -1)
        return all(
            (self.known[one] & self.known[other] & (flat[one] != flat[other]).any(axis=1)).any()
            for one in range(len(flat))
            for other in range(one)
        )

    def all_equal(self) -> bool:
        """Whether all delays are answered alike."""
        return bool((self.values == self.values[:1]).all())


def expected_answers(network: QuantizedNetwork, marker: Marker, schedule: Schedule) -> Answers:
    """Return what the first layer does in the calibration for every input delay.

    Args:
        network: what runs.
        marker: what is sent.
        schedule: when which sample runs.
    """
    period, num_steps = schedule.period, schedule.num_steps
    slots = MARKER_PERIODS + -(-ADAPTER_DELAY_MAX // period) + 1
    sent = np.zeros((ADAPTER_DELAY_MAX + 1, slots * period), dtype=np.uint8)
    for delay in range(len(sent)):
        sent[delay, delay : delay + len(marker.pattern)] = marker.pattern
    periods = sent.reshape(len(sent), slots, period)
    values = _first_layer(network, marker.frame, periods[..., :num_steps].reshape(-1, num_steps))
    padding = [(0, 0), (0, period - num_steps), *[(0, 0)] * (values.ndim - 2)]
    known = np.zeros(periods.shape, dtype=np.bool_)
    known[..., :num_steps] = True
    known[:, 1:][periods[:, :-1, num_steps:].any(axis=2)] = False
    return Answers(
        np.pad(values, padding).reshape(*sent.shape, *values.shape[2:]), known.reshape(sent.shape)
    )


def _first_layer(
    network: QuantizedNetwork, frame: npt.NDArray[np.uint8], windows: npt.NDArray[np.uint8]
) -> npt.NDArray[np.int32]:
    """Return spikes or potentials [windows, steps, *output_shape] of the first layer."""
    drive = _first_synapse(network)(torch.from_numpy(frame[None].astype(np.float32)))

    def scaled(signal: torch.Tensor) -> torch.Tensor:
        return signal.reshape(-1, *([1] * (drive.ndim - 1))) * drive

    return _simulate(network, windows.T, scaled)


def _first_synapse(network: QuantizedNetwork) -> WeightedSynapse:
    """Return what takes the input: one path only, as ``check_input_path`` sees to."""
    (synapses,) = network.layers[0].synapses
    return synapse_of(synapses)


def _moves(network: QuantizedNetwork, frames: npt.NDArray[np.uint8]) -> bool:
    """Whether samples [samples, sends, *input.shape] make the first layer do anything else."""
    train = np.zeros((network.num_steps, *frames.shape[:1], *frames.shape[2:]), dtype=np.uint8)
    synapse = _first_synapse(network)
    silent = _simulate(network, train[:, :1], synapse)
    train[: frames.shape[1]] = frames.swapaxes(0, 1)
    return bool((_simulate(network, train, synapse) != silent).any())


def _simulate(
    network: QuantizedNetwork, signal: npt.NDArray[np.uint8], synapse: Synapse
) -> npt.NDArray[np.int32]:
    """Run the first layer on a signal [steps, batch, ...]; return [batch, steps, *output_shape]."""
    layer, steps = network.layers[0], len(signal)
    # Not proven: the steps are others than those that the bounds are proven for.
    neurons = NeuronParameters.of_layer(layer, network.reset, proven=False)
    incoming = [Incoming(SpikeTrain(torch.from_numpy(np.ascontiguousarray(signal))), synapse)]
    if not layer.fires:
        runs = (simulate_layer(incoming, neurons, end) for end in range(1, steps + 1))
        states = torch.stack([run.potential for run in runs if run.potential is not None], dim=1)
    else:
        activity = simulate_layer(incoming, neurons, steps)
        assert activity.spikes is not None  # a layer that fires
        states = activity.spikes.transpose(0, 1)
    return whole_numbers(states.numpy(), np.int32, f"layer {layer.name}: states")


def calibrate(
    network: QuantizedNetwork,
    marker: Marker,
    schedule: Schedule,
    *,
    clock: IntArray,
    first_layer: IntArray,
    clock_voltage: IntArray | None,
) -> Delays:
    """Measure the delays of the adapters from what was recorded in the calibration.

    Args:
        network: what runs.
        marker: what was sent.
        schedule: when which sample runs.
        clock: [steps, 1], spikes of the chip's clock.
        first_layer: [steps, *output_shape], spikes of the first layer, or its voltage as the board
            sends it where it is the readout.
        clock_voltage: [steps, 1], voltage of the clock as the board sends it; None without reads.

    Raises:
        BackendError: the recording cannot be explained by delays.
    """
    output = clock_delay(clock)
    read = None if clock_voltage is None else read_delay(clock_voltage)
    answers = expected_answers(network, marker, schedule)
    begin = window_start(1) - 1 + output
    if not network.layers[0].fires:
        assert read is not None  # a readout by potential is read
        first_layer = sign_extend(first_layer) >> STATE_FRACTION_BITS
        begin = window_start(1) - 1 + read
    recorded = first_layer[begin : begin + answers.known.shape[1]]
    steps, name = len(recorded), network.layers[0].name
    values, known = answers.values[:, :steps], answers.known[:, :steps]
    return Delays(matching_delay(recorded, values, known, name), output, read)
