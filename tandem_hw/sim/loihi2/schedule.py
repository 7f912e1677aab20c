"""When which sample is on the board, counted in steps of the chip.

    calibration                      | sample 0 | sample 1 | ...       | sample 0 again
    marker frames, then waiting      | P steps  | P steps  |           | P steps

The chip's windows are fixed when the graph is built (``tandem_hw.chip.timing``); what is measured
in the calibration moves the host's side only: the input is sent earlier by its delay, and what is
recorded is read later by its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tandem_hw.chip.timing import board_period, check_period, window_start
from tandem_hw.counted import counted
from tandem_hw.errors import NetworkError
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim.loihi2.assumptions import ADAPTER_DELAY_MAX, RESET_INTERVAL_MAX

#: The chip's clock fires every so many steps, for the first time in this step.
CLOCK_PERIOD = 16
#: Step in which the source sends its first frame, as Lava's ``SpikeDataloader`` does.
SOURCE_STEP = 2
#: Frames of the marker are sent within so many periods.
MARKER_PERIODS = 8


@dataclass(frozen=True)
class Delays:
    """What the calibration measured, in steps.

    Attributes:
        input: from the host to the first layer, beside the synapse's own step.
        output: from a neuron's spike to the host.
        read: from a voltage at a step's end to the host; None without a readout by potential.
    """

    input: int
    output: int
    read: int | None = None


@dataclass(frozen=True)
class Schedule:
    """The steps of a run.

    Attributes:
        last_start: steps by which the first spike of the last layer, or the window of a readout by
            potential, may follow the input's (``Wiring.first_spikes``).
        num_steps: length T of a window.
        period: steps P from one sample to the next.
        order: index of the sample in every slot; the first one comes again (``repeated_order``).
    """

    last_start: int
    num_steps: int
    period: int
    order: npt.NDArray[np.int64]

    @property
    def calibration_steps(self) -> int:
        """Steps of the calibration: the marker and the clock, with the longest delays there are."""
        marker = window_start(1) + MARKER_PERIODS * self.period + self.num_steps
        return max(marker, 2 * CLOCK_PERIOD) + 2 * ADAPTER_DELAY_MAX

    @property
    def first_slot(self) -> int:
        """Number of periods before the first sample's: its frames come after the calibration."""
        free = self.calibration_steps + ADAPTER_DELAY_MAX
        return -(-free // self.period) + 1

    @property
    def total_steps(self) -> int:
        """Steps after which the last sample has reached the host, whatever the delays."""
        last = self.first_step(self.last_start) + (len(self.order) - 1) * self.period
        return last + self.num_steps - 1 + ADAPTER_DELAY_MAX

    def first_step(self, start: int) -> int:
        """Return the chip's step in which a layer may fire for the first sample.

        Args:
            start: steps by which that may follow the input's window.
        """
        return window_start(start) + self.first_slot * self.period

    def source_start(self, delays: Delays) -> int:
        """Return the host's step in which the first sample's first frame is sent."""
        return SOURCE_STEP + self.first_slot * self.period - delays.input


def check_board_period(network: QuantizedNetwork, period: int) -> None:
    """Refuse a period that a board cannot have, or that the lowered graph cannot keep exact.

    Raises:
        NetworkError: it is no power of two, too short or longer than any that was seen on a board.
    """
    shortest = board_period(network)
    if shortest > RESET_INTERVAL_MAX:
        raise NetworkError(
            f"num_steps {network.num_steps} needs a reset_interval of {shortest} on Loihi 2; "
            f"powers of two up to {RESET_INTERVAL_MAX} have been seen there. Use fewer steps"
        )
    if period < shortest or period > RESET_INTERVAL_MAX or period & (period - 1):
        raise NetworkError(
            f"a period of {counted(period, 'step')} cannot run on Loihi 2, where reset_interval is "
            f"a power of two: give one from {shortest} to {RESET_INTERVAL_MAX}"
        )
    check_period(network, period)


def repeated_order(samples: int) -> npt.NDArray[np.int64]:
    """Return the samples in the order in which they run: the first one again, amid and at the end.

    If a state outlived a reset, the repeated sample would not give the same spikes after other
    neighbours.

    Args:
        samples: number of samples, at least 1.
    """
    middle = (samples + 1) // 2
    rest = np.arange(middle, samples)
    amid = [0] if len(rest) else []
    return np.concatenate([np.arange(middle), amid, rest, [0]]).astype(np.int64)
