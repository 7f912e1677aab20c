"""What a neuron of SANA-FE is given, so that it does what ours does, number for number.

SANA-FE's neuron keeps a real potential p, adds the bias of the step and what came in, and fires if
p is greater than its threshold; then p is lowered by the threshold ("soft") or becomes 0 ("hard").

| ours | start of a window | bias of a step | threshold | reset |
|---|---|---|---|---|
| reset "subtract", fires if u + B >= theta | B + 1/2 | 0 | theta | soft |
| reset "zero", fires if v >= theta | 0 | B | theta - 1 | hard |
| readout | B | 0 | none | none |

For whole numbers x, x + 1/2 > theta is x >= theta, and x > theta - 1 is the same. A voltage that
leaks is a multiple of 1/64 on both sides, rounded toward zero after its decay, and Lava compares it
with theta - 1 as well. What the network's input brings is whole and known before: it is added to
the bias of the step, since Loihi 1 has no graded spikes.

SANA-FE takes numbers as int32 or float32. Ours have at most 23 bits and the half, so both are
exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tandem_hw.network.fixed_point import DECAY_UNITY, STATE_FRACTION_BITS
from tandem_hw.network.layers import Layer

#: A threshold that no potential reaches: of a readout, and of layers outside of their windows.
NEVER: Final = float(1 << 40)
#: What is added to potentials of neurons with a reset by subtraction.
_HALF: Final = 0.5


@dataclass(frozen=True, eq=False)
class NeuronValues:
    """The numbers for the neurons of a layer.

    Attributes:
        attributes: what does not change in a run, by SANA-FE's names.
        start: float64 [neurons], the potentials that a window starts from.
        step_bias: int64 [neurons], what is added in every step.
        threshold: while they may fire.
    """

    attributes: dict[str, float | str | bool]
    start: npt.NDArray[np.float64]
    step_bias: npt.NDArray[np.int64]
    threshold: float

    def bias_and_threshold(self, reset: str) -> tuple[npt.NDArray[np.float64], float | None]:
        """Return our bias and threshold of the neurons that these numbers make.

        Args:
            reset: of the network.
        """
        if self.threshold == NEVER:
            return self.start, None
        if reset == "subtract":
            return self.start - _HALF, self.threshold
        return self.start + self.step_bias, self.threshold + 1

    def final_state(
        self, potential: npt.NDArray[np.float64], fired: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float64]:
        """Return the states after a window's last step, as ``Recording`` has them.

        Args:
            potential: SANA-FE's potentials after that step.
            fired: which neurons fired in it.

        Returns:
            Of firing layers in units of 1/64 weight unit, of a readout in weight units.
        """
        if self.threshold == NEVER:
            return potential
        state = potential
        if self.attributes["reset_mode"] == "soft":  # without bias, before the last inhibition
            state = potential - self.start + np.where(fired, self.threshold, 0.0)
        return state * (1 << STATE_FRACTION_BITS)


def neuron_values(layer: Layer, reset: str) -> NeuronValues:
    """Return the numbers for the neurons of a layer.

    Args:
        layer: of a network that ``check_exact`` has let pass.
        reset: of the network.
    """
    neurons = layer.neurons
    bias = np.broadcast_to(layer.bias_image(), layer.output_shape).reshape(-1).astype(np.int64)
    nothing = np.zeros_like(bias)
    if neurons.threshold is None:
        return NeuronValues(_attributes("none"), bias.astype(np.float64), nothing, NEVER)
    if reset == "subtract":
        return NeuronValues(_attributes("soft"), bias + _HALF, nothing, float(neurons.threshold))
    kept = (DECAY_UNITY - neurons.voltage_decay) / DECAY_UNITY
    attributes = _attributes("hard", kept)
    return NeuronValues(attributes, nothing.astype(float), bias, float(neurons.threshold - 1))


def relay_attributes() -> dict[str, float | str | bool]:
    """Return what makes a neuron that fires in the step in which a spike reaches it."""
    return {**_attributes("hard"), "threshold": _HALF}


def _attributes(reset_mode: str, kept: float = 1.0) -> dict[str, float | str | bool]:
    """Return the attributes of neurons that never fire yet.

    Args:
        reset_mode: what a spike does to the potential.
        kept: share of the potential that a step leaves.
    """
    return {
        "threshold": NEVER,
        "reset_mode": reset_mode,
        "leak_decay": kept,
        "input_decay": 0.0,
        "force_update": True,
    }
