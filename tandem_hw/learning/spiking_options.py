"""What all layers of a tandem network share, checked when it is made.

Without PyTorch: the options of the command line are made from it.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from tandem_hw.errors import ConversionError, NetworkError
from tandem_hw.network.choices import Reset, check_firing_delay, is_phased
from tandem_hw.network.fixed_point import (
    DECAY_UNITY,
    NUM_STEPS_RANGE,
    WEIGHT_BITS_RANGE,
    check_decay,
)
from tandem_hw.ranges import POSITIVE, SHARE, RealRange, whole_number

#: Gradient mask of the ordinary twin.
Twin = Literal["clip", "relu"]
#: Shares of a layer's positive activations that its neurons can send, in per cent.
PERCENTILES: Final = RealRange("one above 0, up to 100", 0, 100, without_least=True)


@dataclass(frozen=True)
class SpikingOptions:
    """What all layers of one network share.

    Attributes:
        num_steps: length T of the window.
        reset: "subtract" or "zero".
        weight_bits: width of the signed weights, 2 to 8.
        twin: gradient mask, "clip" or "relu".
        activation_max: real activation at which a neuron fires in every step; the real value of one
            spike is activation_max / T. Where thresholds are learnt, what they start from.
        current_decay: what the current of firing layers loses a step, in 1/4096, with reset "zero".
        voltage_decay: what their voltage loses a step, in 1/4096, with reset "zero".
        initial_potential: share of the threshold that a window starts from, 0 to below 1, with
            reset "subtract". With 0.5 a count is the activation rounded to the nearest, with 0 it
            is rounded down.
        learn_thresholds: train the firing threshold of every layer along with the weights.
        firing_delay: steps d of its window that a firing layer waits before its first spike, 0 to
            T - 1, with reset "subtract" (``tandem_hw.network.choices``).

    Raises:
        ConversionError: a value is of another type or out of range.
    """

    num_steps: int
    reset: Reset
    weight_bits: int = 8
    twin: Twin = "clip"
    activation_max: float = 2.0
    current_decay: int = DECAY_UNITY
    voltage_decay: int = 0
    initial_potential: float = 0.0
    learn_thresholds: bool = False
    firing_delay: int = 0

    def __post_init__(self) -> None:
        """Check the values."""
        for name, kind in (("reset", Reset), ("twin", Twin)):
            value, choices = getattr(self, name), get_args(kind)
            if value not in choices:
                raise ConversionError(f'{name} is "{value}"; allowed are {", ".join(choices)}')
        for name, allowed in (("num_steps", NUM_STEPS_RANGE), ("weight_bits", WEIGHT_BITS_RANGE)):
            self._set(name, whole_number(name, getattr(self, name), allowed, ConversionError))
        check_firing_delay(self.firing_delay, self.num_steps, self.reset, ConversionError)
        self._set("firing_delay", operator.index(self.firing_delay))
        self._check_leak()
        self._check_start()
        ceiling = self._real("activation_max")
        if ceiling not in POSITIVE:
            raise ConversionError(
                f"activation_max must be {POSITIVE.words}, found {self.activation_max}"
            )
        self._set("activation_max", ceiling)
        if not isinstance(self.learn_thresholds, bool):
            raise ConversionError(
                f"learn_thresholds is {self.learn_thresholds!r}; allowed are True and False"
            )

    @property
    def phased(self) -> bool:
        """Whether layers take in a whole window before they fire."""
        return self.firing_delay > 0 and is_phased(self.firing_delay, self.num_steps)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _real(self, name: str) -> float:
        value = getattr(self, name)
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise ConversionError(f"{name} must be a number, found {value!r}") from error

    def _check_leak(self) -> None:
        current, voltage = self.current_decay, self.voltage_decay
        try:
            current, voltage = operator.index(current), operator.index(voltage)
            check_decay(current, voltage)
        except (NetworkError, TypeError) as error:
            raise ConversionError(f"the decays must be integers in range: {error}") from error
        if self.reset != "zero" and (current, voltage) != (DECAY_UNITY, 0):
            raise ConversionError(
                f"current_decay {current} and voltage_decay {voltage} are not possible with reset "
                f'"{self.reset}"; only neurons with reset "zero" leak'
            )
        self._set("current_decay", current)
        self._set("voltage_decay", voltage)

    def _check_start(self) -> None:
        share = self._real("initial_potential")
        if share not in SHARE:
            raise ConversionError(
                f"initial_potential is {share}; allowed are shares of the threshold from 0 to "
                f"below 1"
            )
        if share and self.reset != "subtract":
            raise ConversionError(
                f'initial_potential {share} is not possible with reset "{self.reset}", '
                f'whose windows start from zero on the chip; use 0, or reset "subtract"'
            )
        self._set("initial_potential", share)
