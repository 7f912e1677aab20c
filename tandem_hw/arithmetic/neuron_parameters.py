"""What the neurons of one layer share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tandem_hw.arithmetic.deferred_checks import DeferredChecks
from tandem_hw.arithmetic.states.short_states import ShortStates
from tandem_hw.network.fixed_point import ACCUMULATOR_LIMIT, DECAY_UNITY
from tandem_hw.network.layers import Layer


@dataclass(frozen=True)
class NeuronParameters:
    """What the neurons of one layer share.

    Attributes:
        bias: bias in weight units, broadcastable over [batch, *shape].
        threshold: firing threshold in weight units, on a device a tensor [] of whole numbers in
            floating point, or None for a readout.
        reset: "subtract" or "zero".
        proven: whether no reachable state leaves 24 bits.
        input_reach: largest magnitude that the synaptic input of one step can have; on a device a
            tensor [].
        current_decay: what the current loses a step, in 1/4096; only a firing layer that resets to
            zero may have another one than 4096.
        voltage_decay: what the voltage loses a step, in 1/4096, 0 elsewhere as above.
        number: neurons of one sample, by which a batch is run in parts that fit a cache; None
            where they are few.
        checks: takes up whether a state came too near to 24 bits, which is looked at part by part
            and mended at once otherwise. Only where there is one are numbers left on the device.
        layer: name of the layer, for the checks.
        firing_delay: steps before the first one in which the neurons may fire.
        short: whether its states fit in 16 bits, where that is worth trying.
    """

    bias: Tensor
    threshold: int | Tensor | None
    reset: str
    proven: bool
    input_reach: int | Tensor = ACCUMULATOR_LIMIT
    current_decay: int = DECAY_UNITY
    voltage_decay: int = 0
    number: int | None = None
    checks: DeferredChecks | None = None
    layer: str = ""
    firing_delay: int = 0
    short: ShortStates | None = None

    @classmethod
    def of_layer(
        cls,
        layer: Layer,
        reset: str,
        *,
        proven: bool,
        input_reach: int = ACCUMULATOR_LIMIT,
        firing_delay: int = 0,
        bounds: tuple[int, int] | None = None,
        device: torch.device | str = "cpu",
    ) -> NeuronParameters:
        """Return those of a layer of a quantized network.

        Args:
            layer: whose neurons they are.
            reset: "subtract" or "zero".
            proven: as above.
            input_reach: as above.
            firing_delay: as above.
            bounds: lowest and highest state of a window that is proven, where 16 bits may be tried.
            device: where the bias is kept.
        """
        neurons = layer.neurons
        bias = layer.bias_image()
        found = cls(
            bias=torch.from_numpy(bias.astype(np.float64)).to(device),
            threshold=neurons.threshold,
            reset=reset,
            proven=proven,
            input_reach=input_reach,
            current_decay=neurons.current_decay,
            voltage_decay=neurons.voltage_decay,
            number=layer.num_neurons,
            firing_delay=firing_delay if layer.fires else 0,
        )
        if bounds is None or neurons.threshold is None or found.leaks:
            return found
        reach = int(np.abs(bias).max())
        return replace(found, short=ShortStates(input_reach, reach, neurons.threshold, bounds))

    @property
    def whole_threshold(self) -> int | None:
        """``threshold`` as a number; a GPU is waited for if it is there."""
        return None if self.threshold is None else int(self.threshold)

    @property
    def resets_to_zero(self) -> bool:
        """Whether a spike clears the membrane; a readout integrates as "subtract" does."""
        return self.reset == "zero" and self.threshold is not None

    @property
    def wraps(self) -> bool:
        """Whether the states are known to leave 24 bits, so that nothing faster is tried."""
        return self.checks is not None and self.layer in self.checks.wrapping

    @property
    def leaks(self) -> bool:
        """Whether the current is kept for more than a step, or the voltage leaks."""
        return (self.current_decay, self.voltage_decay) != (DECAY_UNITY, 0)
