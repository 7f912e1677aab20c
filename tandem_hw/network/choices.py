"""What can be chosen for a network, by name, what each encoding of its input means, and how long
layers may wait before they fire.

A new encoding is a name in ``Encoding`` and a row in ``ENCODINGS``. What follows from the row, such
as the frames of a window, is in ``tandem_hw.network.input_spec`` (NumPy) and in
``tandem_hw.arithmetic.spikes.trains`` (PyTorch).

A layer that fires from its first input on sends spikes that a later inhibition cannot take back.
With a firing delay of d it takes input in steps 1 ... T of its window and may fire in steps
1 + d ... T + d. With d = T - 1, called phased, the sum is whole before the first spike, and the
count is

    c = clip(floor((W c_in + B) / theta), 0, T)

whatever the order in which the spikes came: the activation of QCFS (Bu et al., ICLR 2022), exactly.

Plain Python, without NumPy: the options of the command line are made from these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from tandem_hw.errors import TandemError
from tandem_hw.network.fixed_point import NUM_STEPS_RANGE
from tandem_hw.ranges import whole_number

#: What a neuron does when it fires.
Reset = Literal["subtract", "zero"]
#: The word for a firing delay of num_steps - 1.
Phased = Literal["phased"]
PHASED: Final[Phased] = "phased"
#: How a sample is sent (``ENCODINGS``).
Encoding = Literal["first_step", "constant", "events"]
#: What the last layer gives (``tandem_hw.network.quantized.QuantizedNetwork``).
Readout = Literal["potential", "count"]


@dataclass(frozen=True)
class EncodingRule:
    """What is sent in which step of a window.

    Attributes:
        sent_steps: from the length T of a window, 1 or more, to the steps in which samples are
            sent, at least one of 0 to T - 1, ascending; with events all of them.
        takes_events: whether a sample holds the integers of every step, [T, *shape], as counts of
            events do; the t-th are sent in step t. Otherwise it is one array of integers, [*shape],
            as an image is, and is sent as it is in each of ``sent_steps``.
    """

    sent_steps: Callable[[int], range]
    takes_events: bool = False


#: What every encoding means: the integers once, as graded spikes in the window's first step; the
#: same integers in every step; and in every step integers of its own.
ENCODINGS: Final[Mapping[Encoding, EncodingRule]] = {
    "first_step": EncodingRule(lambda num_steps: range(1)),
    "constant": EncodingRule(range),
    "events": EncodingRule(range, takes_events=True),
}
#: What networks are given where nothing else is said.
FIRST_STEP: Final[Encoding] = "first_step"
#: The encoding of event data.
EVENTS: Final[Encoding] = "events"


def default_encoding(reset: Reset, *, events: bool = False) -> Encoding:
    """Return how samples are sent where nobody says how.

    A neuron that resets to zero forgets at its first spike what was left of a charge that came at
    once, so images are sent to it in every step.

    Args:
        reset: what the neurons do when they fire.
        events: whether samples are counts of events, otherwise they are images.
    """
    if events:
        return EVENTS
    return FIRST_STEP if reset == "subtract" else "constant"


def encodings_for(*, events: bool) -> str:
    """Return the names of the encodings of events, or of those of images, for a message."""
    names = [f'"{name}"' for name, rule in ENCODINGS.items() if rule.takes_events == events]
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def check_firing_delay(
    firing_delay: int, num_steps: int, reset: Reset, error: type[TandemError]
) -> None:
    """Refuse a firing delay that a network cannot have.

    Args:
        firing_delay: steps that a layer waits.
        num_steps: length T of a window.
        reset: what a spike does to the potential.
        error: what to raise.

    Raises:
        TandemError: it is no whole number from 0 to T - 1, or more than 0 with a reset to zero.
    """
    try:
        whole_number("firing_delay", firing_delay, range(num_steps), error)
    except error as reason:
        raise error(f"{reason}, less than num_steps, which is {num_steps}") from reason
    if firing_delay and reset != "subtract":
        raise error(
            f'firing_delay is {firing_delay} with reset "{reset}", which forgets at a spike what '
            f'was gathered in silence; a firing delay needs reset "subtract"'
        )


def steps_of_delay(firing_delay: int | Phased, num_steps: int, error: type[TandemError]) -> int:
    """Return the steps of a firing delay that may be given as a word.

    Args:
        firing_delay: "phased", or steps, which are not looked at here.
        num_steps: length T of a window.
        error: what to raise.

    Raises:
        TandemError: it is a word, and num_steps is no length of a window.
    """
    if isinstance(firing_delay, str) and firing_delay == PHASED:
        return whole_number("num_steps", num_steps, NUM_STEPS_RANGE, error) - 1
    return firing_delay


def is_phased(firing_delay: int, num_steps: int) -> bool:
    """Return whether a layer takes in a whole window before it fires."""
    return firing_delay >= num_steps - 1
