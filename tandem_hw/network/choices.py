"""What can be chosen for a network, by name, and what each encoding of its input means.

A new encoding is a name in ``Encoding`` and a row in ``ENCODINGS``. What follows from the row, such
as the frames of a window, is in ``tandem_hw.network.input_spec`` (NumPy) and in
``tandem_hw.arithmetic.neurons.SpikeTrain`` (PyTorch).

Plain Python, without NumPy: the options of the command line are made from these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

#: What a neuron does when it fires.
Reset = Literal["subtract", "zero"]
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
