"""How much of the ordinary network is left in a converted one, whose spikes come one by one.

Nothing need saturate for a network to be lost: a neuron that is excited first and inhibited later
has fired by then, and every layer passes on what the one before it has sent too much.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from tandem_hw.counted import counted
from tandem_hw.learning.calibration import without_ceilings
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.user_warnings import ConversionWarning, warn_caller

#: Samples that are compared at most.
_SAMPLES: Final = 256
#: Samples that are run at a time.
_BATCH: Final = 64
#: Shares of equal results, and of explained variance, below which a conversion is warned of.
_EQUAL_MIN: Final = 0.95
_EXPLAINED_MIN: Final = 0.9
_PHASED: Final = 'convert with firing_delay="phased", with which counts are of whole windows, or '
_REMEDY: Final = (
    "train the model for a few epochs from here (tandem_hw.train), or use more num_steps; "
    "model(samples, spiking=k), in which the first k layers spike, shows where it is lost"
)


@torch.no_grad()
def warn_of_loss(model: TandemNetwork, samples: Tensor) -> None:
    """Warn if the integer network gives other results than the ordinary one.

    Of two or more classes the largest output has to be the same for 95 % of the samples; of other
    outputs 90 % of the variance have to be explained,

        1 - sum (integer - ordinary)^2 / sum (ordinary - mean over the samples)^2

    Args:
        model: a calibrated network; left as it is.
        samples: uint8 [samples, *sample_shape], on the model's device; at most 256 are compared,
            taken evenly.
    """
    samples = samples[:: -(-len(samples) // _SAMPLES)]
    integer = _outputs(model, samples, None)
    with without_ceilings(model):
        ordinary = _outputs(model, samples, 0)
    if _are_classes(model):
        # Of several largest counts any may be the result.
        chosen = integer.gather(1, ordinary.argmax(1, keepdim=True))[:, 0]
        equal = chosen == integer.amax(1)
        if float(equal.double().mean()) < _EQUAL_MIN:
            count = int((~equal).sum())
            _warn(model, f"gives another result than the ordinary one for {count} of", samples)
        return
    missed = (integer - ordinary).double().square().sum()
    variance = (ordinary - ordinary.mean(0)).double().square().sum()
    explained = max(0.0, 1 - float(missed / variance)) if float(variance) > 0 else 1.0
    if explained < _EXPLAINED_MIN:
        found = f"explains {explained:.0%} of the variance of the ordinary one's results on"
        _warn(model, found, samples)


def _outputs(model: TandemNetwork, samples: Tensor, spiking: int | None) -> Tensor:
    """Return the results in evaluation mode, real numbers [samples, outputs]."""
    was_training = model.training
    model.eval()
    try:
        batches = [model(batch, spiking=spiking) for batch in torch.split(samples, _BATCH)]
    finally:
        model.train(was_training)
    return torch.cat(batches)


def _are_classes(model: TandemNetwork) -> bool:
    """Whether there are two or more outputs that are no image."""
    return model.outputs > 1 and math.prod(model.output_shape[1:]) == 1


def _warn(model: TandemNetwork, found: str, samples: Tensor) -> None:
    options = model.architecture.options
    remedy = _REMEDY if options.phased or options.reset != "subtract" else f"{_PHASED}{_REMEDY}"
    warn_caller(
        f"the integer network {found} {counted(len(samples), 'sample')}; {remedy}",
        ConversionWarning,
    )
