"""A forward pass that was run, and of which the device alone knows whether it may be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tandem_hw.arithmetic.deferred_checks import DeferredChecks
from tandem_hw.arithmetic.neurons import LayerActivity
from tandem_hw.learning.kinds.kind import ObservedNeurons, Observer
from tandem_hw.learning.quantizer import IntegerParameters

#: Runs the layers on inputs: told what they do, and by what their conditions are taken up, if by
#: anything.
Pass = Callable[[Tensor, Observer | None, DeferredChecks | None], Tensor]


@dataclass(frozen=True)
class Attempt:
    """A forward pass whose conditions were not read yet.

    Attributes:
        output: what it returned.
        checks: its conditions, gathered.
        told: what its observer is to be told, should it be used.
        before: the buffers as they were.
    """

    output: Tensor
    checks: DeferredChecks
    told: Sequence[tuple[ObservedNeurons, LayerActivity, IntegerParameters]]
    before: Sequence[Tensor]


def attempt(
    run: Pass, inputs: Tensor, buffers: Sequence[Tensor], checks: DeferredChecks, observed: bool
) -> Attempt:
    """Run a pass without reading anything from the device.

    Args:
        run: one pass.
        inputs: what it takes.
        buffers: what it changes.
        checks: takes up its conditions.
        observed: whether an observer is to be told of it.
    """
    before = copies(buffers)
    told: list[tuple[ObservedNeurons, LayerActivity, IntegerParameters]] = []

    def observe(
        layer: ObservedNeurons, activity: LayerActivity, integers: IntegerParameters
    ) -> None:
        told.append((layer, activity, integers))

    output = run(inputs, observe if observed else None, checks)
    checks.gather()
    return Attempt(output, checks, told, before)


def copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copy tensors, those of a data type at once: a GPU is busy with as many of them as it can.

    Args:
        tensors: of one device.
    """
    found = [torch.empty_like(tensor) for tensor in tensors]
    for dtype in {tensor.dtype for tensor in tensors}:
        alike = [place for place, tensor in enumerate(tensors) if tensor.dtype == dtype]
        torch._foreach_copy_([found[place] for place in alike], [tensors[place] for place in alike])
    return found


def put_back(buffers: Sequence[Tensor], before: Sequence[Tensor]) -> None:
    """Give buffers the values that they had.

    Args:
        buffers: of a model.
        before: ``copies`` of them.
    """
    for buffer, value in zip(buffers, before, strict=True):
        # Not seen by autograd: a pass before, whose backward pass is still to come, has used them.
        buffer.data.copy_(value)


class RandomNumbers:
    """Where the random numbers of a device stand, which a dropout takes."""

    def __init__(self, device: torch.device) -> None:
        """Remember where they stand now."""
        self._device = device
        on_gpu = device.type == "cuda"
        self._state = torch.cuda.get_rng_state(device) if on_gpu else torch.get_rng_state()

    def restore(self) -> None:
        """Go back there."""
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(self._state, self._device)
        else:
            torch.set_rng_state(self._state)
