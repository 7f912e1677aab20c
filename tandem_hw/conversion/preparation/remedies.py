"""What would bring back the accuracy that a conversion has lost: tried, not guessed.

Without a firing delay a neuron that is excited first and inhibited later has fired by then, and
each layer passes on what the one before it has sent too much. A phased network counts windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from torch import Tensor

from tandem_hw.errors import ConversionError
from tandem_hw.learning.calibration import calibrate
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.network.choices import PHASED, steps_of_delay
from tandem_hw.network.fixed_point import NUM_STEPS_RANGE
from tandem_hw.training.loop import evaluate
from tandem_hw.training.objectives import Objective

#: A conversion may cost so much accuracy, or raise a squared error by this factor.
_POINT: Final = 0.01
_ERROR_FACTOR: Final = 1.1


def is_lost(objective: Objective, before: Mapping[str, float], after: Mapping[str, float]) -> bool:
    """Whether a converted network is worse than the ordinary one: by more than a point of accuracy.

    Of a regression the squared error is to rise by no more than a tenth.

    Args:
        objective: says by which number a network is judged.
        before, after: the numbers of the ordinary and of the converted network.
    """
    was, became = before[objective.metric], after[objective.metric]
    if objective.metric == "accuracy":
        return was - became > _POINT + 1e-9  # of a hundred samples, one is a point
    return became > _ERROR_FACTOR * was


@dataclass(frozen=True)
class Remedy:
    """A longer way for a sample, and what the same network does on it.

    Attributes:
        num_steps: of the window.
        metrics: the numbers of the integer network, all layers phased.
        is_enough: whether that is within a point of the ordinary network.
    """

    num_steps: int
    metrics: Mapping[str, float]
    is_enough: bool


def remedies(
    network: TandemNetwork,
    samples: Tensor,
    percentile: float | None,
    inputs: Tensor,
    targets: Tensor,
    objective: Objective,
    before: Mapping[str, float],
) -> Sequence[Remedy]:
    """Try the network phased, and where that is not enough with about twice as many steps.

    Args:
        network: a calibrated network that has lost some accuracy; left as it is.
        samples: what it was calibrated with, uint8 [samples, *sample_shape].
        percentile: as for ``calibrate``.
        inputs: to judge by, uint8 [samples, *sample_shape], on the network's device.
        targets: [samples, ...], as the objective has them, on the same device.
        objective: what is measured.
        before: the numbers of the ordinary network.

    Returns:
        What was tried, the last of it enough if any is; nothing where neurons cannot wait.
    """
    tried: list[Remedy] = []
    for phased in _phased(network):
        calibrate(phased, samples, percentile)
        metrics = evaluate(phased, inputs, targets, objective) or {}
        enough = not is_lost(objective, before, metrics)
        tried.append(Remedy(phased.architecture.options.num_steps, metrics, enough))
        if enough:
            break
    return tried


def _phased(network: TandemNetwork) -> Iterator[TandemNetwork]:
    """Yield the same network with longer and longer waits."""
    architecture = network.architecture
    options = architecture.options
    if options.reset != "subtract":
        return
    windows = [] if options.phased else [options.num_steps]
    if not architecture.input.takes_events:  # a recording has its steps
        windows.append(2 * options.num_steps + 1)
    for num_steps in windows:
        if num_steps == 1 or num_steps not in NUM_STEPS_RANGE:
            continue  # in one step nothing waits
        delay = steps_of_delay(PHASED, num_steps, ConversionError)
        longer = replace(options, num_steps=num_steps, firing_delay=delay)
        other = TandemNetwork(replace(architecture, options=longer))
        other.load_state_dict(network.state_dict())
        device = next(network.parameters()).device
        yield other.to(device).eval()
