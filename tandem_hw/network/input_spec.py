"""What a network takes in, and what of it is sent in every step of a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import NetworkError
from tandem_hw.network.choices import ENCODINGS, FIRST_STEP, Encoding
from tandem_hw.network.fixed_point import INPUT_BITS_RANGE
from tandem_hw.network.synapses.geometry import Shape
from tandem_hw.network.synapses.kind import plain_integers
from tandem_hw.ranges import POSITIVE, whole_number


@dataclass(frozen=True)
class InputSpec:
    """What the network takes in.

    Attributes:
        shape: shape of what is sent in one step, (C, H, W), (C, L) or (N,).
        bits: samples are unsigned integers of this many bits, 1 to 8.
        scale: the real value of one integer step; a real x is sent as round(x / scale).
        encoding: in which steps samples are sent, and whether they hold integers for every step
            (``tandem_hw.network.choices``).
    """

    shape: Shape
    bits: int
    scale: float
    encoding: Encoding = FIRST_STEP

    def __post_init__(self) -> None:
        """Check every field."""
        plain_integers(self, "", "shape", "bits")
        object.__setattr__(self, "scale", float(self.scale))
        if len(self.shape) not in (1, 2, 3) or min(self.shape, default=0) < 1:
            raise NetworkError(
                f"input shape {self.shape} is not supported; give (channels, height, width), "
                f"(channels, length) or (features,)"
            )
        whole_number("input_bits", self.bits, INPUT_BITS_RANGE, NetworkError)
        if self.scale not in POSITIVE:
            raise NetworkError(f"input scale is {self.scale}; a positive number is needed")
        if self.encoding not in tuple(ENCODINGS):
            raise NetworkError(f'encoding is "{self.encoding}"; allowed are {tuple(ENCODINGS)}')

    @property
    def largest(self) -> int:
        """The largest integer that an input can take."""
        return (1 << self.bits) - 1

    @property
    def takes_events(self) -> bool:
        """Whether a sample holds the integers of every step, otherwise it is an image."""
        return ENCODINGS[self.encoding].takes_events

    def sample_shape(self, num_steps: int) -> Shape:
        """Return the shape of one sample; with events the steps of the window come first.

        Args:
            num_steps: length T of the window.
        """
        return (num_steps, *self.shape) if self.takes_events else self.shape

    def sent_steps(self, num_steps: int) -> range:
        """Return the steps of a window in which something is sent, at least one of 0 to T - 1.

        Args:
            num_steps: length T of the window.
        """
        return ENCODINGS[self.encoding].sent_steps(num_steps)

    def sends(self, num_steps: int) -> int:
        """Return how often each integer of a sample is sent in a window.

        Args:
            num_steps: length T of the window.
        """
        return 1 if self.takes_events else len(self.sent_steps(num_steps))

    def frames(self, inputs: npt.NDArray[np.uint8], num_steps: int) -> npt.NDArray[np.uint8]:
        """Return what samples send in consecutive steps, from the window's first step on.

        Args:
            inputs: uint8 [samples, *sample_shape(num_steps)].
            num_steps: length T of the window.

        Returns:
            uint8 [samples, steps, *shape], up to the last step in which something is sent. It is a
            view of the inputs, to be read only, unless there are silent steps in between.
        """
        if self.takes_events:
            return inputs
        sent = self.sent_steps(num_steps)
        shape = (len(inputs), sent[-1] + 1, *self.shape)
        if len(sent) == shape[1]:
            return np.broadcast_to(inputs[:, None], shape)
        frames = np.zeros(shape, inputs.dtype)
        frames[:, list(sent)] = inputs[:, None]
        return frames

    def spikes(self, inputs: npt.NDArray[np.uint8], num_steps: int) -> npt.NDArray[np.int64]:
        """Return how many graded spikes each input sends in a window; what is 0 sends none.

        Args:
            inputs: uint8 [samples, *sample_shape(num_steps)].
            num_steps: length T of the window.

        Returns:
            int64 [samples, *shape].
        """
        given = (inputs > 0).astype(np.int64)
        return given.sum(axis=1) if self.takes_events else given * self.sends(num_steps)
