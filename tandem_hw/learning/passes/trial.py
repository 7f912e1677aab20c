"""A recording is used once it was seen to do what its kernels do when they are run one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import torch
from torch import Tensor

from tandem_hw.learning.passes.attempt import Attempt, RandomNumbers, copies, put_back

#: Difference of a gradient that the order of additions may make, and what a small gradient is
#: measured by, both as shares of the largest one.
_ROUNDING: Final = 1e-3
_SMALL: Final = 1e-3


class Recorded(Protocol):
    """A forward pass and a backward pass that can be launched."""

    def launch(self, inputs: Tensor) -> Attempt:
        """Run the forward pass."""

    def run_backward(self, gradient: Tensor) -> list[Tensor | None]:
        """Run the backward pass of the latest launch."""


class Trial:
    """One pass and its backward pass, run kernel by kernel: what a recording of it has to give.

    It is of other inputs than those that are recorded, and leaves the model as it was.
    """

    def __init__(
        self,
        once: Callable[[Tensor], Attempt],
        inputs: Tensor,
        parameters: Sequence[Tensor],
        buffers: Sequence[Tensor],
    ) -> None:
        """Run the pass.

        Args:
            once: one forward pass.
            inputs: what it takes.
            parameters: what gradients are wanted for.
            buffers: what it changes.
        """
        self._buffers = buffers
        self._random = RandomNumbers(inputs.device)
        self._before = copies(buffers)
        self._inputs = inputs.roll(1, 0)
        output = once(self._inputs).output
        # Of both signs, and no random numbers of the program's own are used up.
        places = torch.arange(output.numel(), device=output.device).remainder(7) - 3
        self._gradient = places.to(output.dtype).view_as(output)
        self._gradients = torch.autograd.grad(
            output, list(parameters), self._gradient, allow_unused=True
        )
        self._output, self._after = output.detach(), copies(buffers)
        self._restore()

    def _restore(self) -> None:
        put_back(self._buffers, self._before)
        self._random.restore()

    def is_met_by(self, recording: Recorded) -> bool:
        """Return whether a recording gives the same output, buffers and gradients.

        Args:
            recording: of the pass.
        """
        output = recording.launch(self._inputs).output.detach().clone()
        gradients = recording.run_backward(self._gradient)
        equal = torch.equal(output, self._output) and all(
            map(torch.equal, self._buffers, self._after)
        )
        self._restore()
        return equal and self._are_alike(gradients)

    def _are_alike(self, gradients: Sequence[Tensor | None]) -> bool:
        """Return whether gradients are equal but for the order in which a GPU adds them up."""
        given = [one is not None for one in gradients]
        if given != [one is not None for one in self._gradients]:
            return False
        largest = max(float(one.abs().max()) for one in self._gradients if one is not None)
        for one, expected in zip(gradients, self._gradients, strict=True):
            if one is None or expected is None:
                continue
            scale = max(float(expected.abs().max()), _SMALL * largest)
            if not float((one - expected).abs().max()) <= _ROUNDING * scale:
                return False
        return True
