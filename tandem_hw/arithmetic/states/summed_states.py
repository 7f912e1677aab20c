"""Windows whose synaptic inputs are added up before the neurons see them.

Where neurons take in a whole window before they may fire, or never fire, only its sum counts, even
if their current wraps on the way. A wrap takes off a span of 2^18 weight units, or adds one, so the
current is at all times the sum so far but for a number of spans. As long as no step moves it by a
span or more, one of them brings it back within 24 bits, where there is one such number. So a sum
that lies there in the end is the current itself. What wrapped on the way is looked at only where
somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from tandem_hw.arithmetic.neuron_parameters import NeuronParameters
from tandem_hw.arithmetic.states.exact_states import ExactState
from tandem_hw.arithmetic.states.fast_states import FastState
from tandem_hw.arithmetic.states.step_inputs import inputs_stay_below
from tandem_hw.network.fixed_point import ACCUMULATOR_LIMIT, STATE_LIMIT


def step_limit(num_steps: int) -> int:
    """Return what the input of every step must stay below in magnitude for a window to be summed.

    A span, and so little that float32 holds the sum of all steps in whatever order it is added.

    Args:
        num_steps: length T of the window.
    """
    return min(2 * STATE_LIMIT, ACCUMULATOR_LIMIT // num_steps)


def steps_are_small(
    neurons: NeuronParameters, num_steps: int, magnitude: Callable[[], Tensor] | None
) -> bool:
    """Return whether the input of every step stays below ``step_limit``.

    Args:
        neurons: the neurons.
        num_steps: length T of the window.
        magnitude: returns what the input of no step exceeds in magnitude, a tensor [], or None
            where only the weights are known.
    """
    return inputs_stay_below(neurons, step_limit(num_steps), magnitude)


class SummedState(FastState):
    """The membranes of one layer over a window whose inputs came as one sum."""

    def __init__(
        self,
        neurons: NeuronParameters,
        bias: Tensor,
        steps: Callable[[], Sequence[Tensor | None]],
    ) -> None:
        """Take the neurons.

        Args:
            neurons: what they share.
            bias: float32 [neurons].
            steps: returns the synaptic input of every step, as ``FastState.run`` takes it.
        """
        super().__init__(neurons, bias, follow_peak=not neurons.proven)
        self._neurons, self._whole_bias, self._steps = neurons, bias, steps

    def saturated(self) -> Tensor:
        """Count the values of each sample that left 24 bits, int64 [batch]."""
        if self._neurons.proven:
            return super().saturated()
        exact = ExactState(self._neurons, self._whole_bias, False)
        exact.run(self._steps(), None)
        return exact.saturated()
