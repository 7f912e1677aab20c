"""How far the synaptic input of a step can move a state: by the weights, or by what came in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tandem_hw.arithmetic.neuron_parameters import NeuronParameters


def inputs_stay_below(
    neurons: NeuronParameters, limit: int, magnitude: Callable[[], Tensor] | None
) -> bool:
    """Return whether the input of every step stays below a limit in magnitude.

    The weights may show it (``NeuronParameters.input_reach``), or what comes in. Where there are
    deferred checks they are told, and it is taken as so; what comes in is then looked at only where
    the weights did not show it in an earlier pass.

    Args:
        neurons: the neurons.
        limit: in weight units.
        magnitude: returns what the input of no step exceeds in magnitude, a tensor [], or None
            where only the weights are known.
    """
    checks = neurons.checks
    if checks is None and neurons.input_reach < limit:
        return True
    if magnitude is None:
        return False
    if checks is not None and neurons.layer not in checks.watched:
        reach = torch.as_tensor(neurons.input_reach)
        checks.fail_if(reach >= limit, neurons.layer, may_be_watched=True)
        return True
    too_far = ~(magnitude() < limit)
    if checks is None:
        return not too_far
    checks.fail_if(too_far & (neurons.input_reach >= limit), neurons.layer)
    return True


def largest_input(inputs: Sequence[Tensor | None]) -> Tensor:
    """Return the largest magnitude of what comes in, a tensor [].

    Args:
        inputs: synaptic input of every step, None for silence; one of them is not None.
    """
    different = {id(one): one for one in inputs if one is not None}
    ends = [end for one in different.values() for end in torch.aminmax(one)]
    return torch.stack(ends).abs().max()
