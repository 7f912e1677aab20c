"""How far the results of two ordinary networks are apart, in double precision."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from tandem_hw.conversion.borrowed_network import borrowed, device_of
from tandem_hw.conversion.forward_recorder import plain_arithmetic

#: Samples that are run at a time.
_BATCH: Final = 64
#: A difference of this share of the results is what rounding makes of the same computation.
_ROUNDING: Final = 1e-9


@dataclass(frozen=True)
class OutputDifference:
    """How far the results of a changed network are from those of the network that was given.

    Attributes:
        samples: number of samples that were compared.
        are_random: whether they were random numbers from 0 to 1, since none were given.
        largest: the largest difference of two results.
        relative: root mean square of the differences, over that of the given network's results.
        same_class: share of the samples with the same largest output; None with a single one.
    """

    samples: int
    are_random: bool
    largest: float
    relative: float
    same_class: float | None

    @property
    def is_none(self) -> bool:
        """Whether both compute the same, but for rounding."""
        return self.relative <= _ROUNDING

    def __str__(self) -> str:
        """Return it as a sentence."""
        kind = "random samples" if self.are_random else "of your samples"
        start = f"outputs on {self.samples} {kind}:"
        if self.is_none:
            return f"{start} the same as before"
        classes = (
            ""
            if self.same_class is None
            else f", and the largest output is the same for {self.same_class:.1%}"
        )
        return (
            f"{start} they differ by {self.relative:.2%} (root mean square) and at most "
            f"{self.largest:.3g}{classes}"
        )


@torch.no_grad()
def difference_of(
    given: nn.Module, changed: nn.Module, end: nn.Module, samples: Tensor, *, are_random: bool
) -> OutputDifference | None:
    """Compare two networks in evaluation mode.

    Args:
        given: a network.
        changed: what became of it.
        end: what was left out at its end, which the comparison puts back.
        samples: real numbers, [samples, *input_shape].
        are_random: whether nobody chose them.

    Returns:
        The difference, or None where a network does not run in double precision, or the results
        are not one tensor of numbers each, of the same shape.
    """
    before, after = _outputs(given, samples), _outputs(nn.Sequential(changed, end), samples)
    if before is None or after is None or before.shape != after.shape:
        return None
    off = after - before
    size = float(before.square().mean().sqrt())
    rms = float(off.square().mean().sqrt())
    has_classes = before.dim() == 2 and before.shape[1] > 1
    same = (before.argmax(1) == after.argmax(1)).double().mean() if has_classes else None
    return OutputDifference(
        samples=len(samples),
        are_random=are_random,
        largest=float(off.abs().max()),
        relative=rms / size if size else math.inf if rms else 0.0,
        same_class=None if same is None else float(same),
    )


def _outputs(network: nn.Module, samples: Tensor) -> Tensor | None:
    real = samples.to(device_of(network), torch.float64)
    try:
        with borrowed(network, torch.float64), plain_arithmetic(real):
            found = [network(batch) for batch in torch.split(real, _BATCH)]
    except Exception:  # the forward pass is the user's own code, and may name its own type
        return None
    if not all(isinstance(one, Tensor) for one in found):
        return None
    results = torch.cat(found)
    return results if results.isfinite().all() else None
