"""A forward pass and its backward pass, recorded once and launched as a whole.

A step of the training launches some thousand small kernels, most of them of the quantizer, and
whoever launches them one by one keeps the GPU waiting. The recording does the same work, kernel for
kernel, so its integers are the same; that it does is tried first (``trial``).

It works on its own memory. So what it returns is copied, and it is not launched while a backward
pass through its last output is still to come: such a pass runs kernel by kernel.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from tandem_hw.arithmetic.gpu.launches import LaunchRecorder
from tandem_hw.learning.passes.attempt import Attempt, copies
from tandem_hw.learning.passes.circumstances import autocast_of
from tandem_hw.learning.passes.trial import Trial

_LOG = logging.getLogger(__name__)

#: Passes under the same circumstances before one is recorded: what compiles, or is tried at first
#: use, has been by then.
_BEFORE: Final = 3
#: Recordings that a model keeps, and circumstances that it counts.
_KEPT, _COUNTED = 2, 8
#: Recordings that a model makes in all; where circumstances keep changing, none pays.
_MOST: Final = 32


@dataclass(eq=False)
class _Use:
    """One launch of a forward pass: whether its backward pass has been."""

    spent: bool = False


class _Turns:
    """Whose turn it is on the memory that a model's recordings share."""

    def __init__(self) -> None:
        self.recorder = LaunchRecorder()
        self._last: weakref.ref[_Use] | None = None

    def begin(self) -> _Use:
        """Begin a use, which lasts until its backward pass, or until nobody can ask for that."""
        use = _Use()
        self._last = weakref.ref(use)
        return use

    def belongs_to(self, use: _Use) -> bool:
        """Return whether the memory still holds what a use left there."""
        return not use.spent and self._last is not None and self._last() is use

    @property
    def is_taken(self) -> bool:
        """Whether a backward pass through the latest output may still come."""
        use = None if self._last is None else self._last()
        return use is not None and not use.spent


class Recording:
    """One forward and backward pass, recorded.

    Attributes:
        found: what the forward pass leaves; its tensors have the values of the latest launch.
    """

    found: Attempt

    def __init__(
        self,
        turns: _Turns,
        once: Callable[[Tensor], Attempt],
        inputs: Tensor,
        parameters: Sequence[Tensor],
    ) -> None:
        """Record a pass, without running it.

        Args:
            turns: those of the model.
            once: one forward pass.
            inputs: of such a pass.
            parameters: what gradients are wanted for.

        Raises:
            RuntimeError: it cannot be recorded.
        """
        self._once = once
        self._inputs = inputs.clone()
        self._parameters = tuple(parameters)
        self._gradient: Tensor | None = None
        self._gradients: Sequence[Tensor | None] = ()
        self._turns = turns
        self._forward = turns.recorder.record(self._run_forward)
        self._backward = turns.recorder.record(self._run_backward)

    def _run_forward(self) -> None:
        # Weights that autocast has cast would be kept for whoever asks next, outside as well.
        device = self._inputs.device.type
        enabled, dtype = autocast_of(device)
        with torch.autocast(device, dtype, enabled=enabled, cache_enabled=False):
            self.found = self._once(self._inputs)

    def _run_backward(self) -> None:
        output = self.found.output
        self._gradients = torch.autograd.grad(
            output, self._parameters, self._gradient_of(output), allow_unused=True
        )
        # Without the graph behind it, whose ends would tie the parameters to the stream of the
        # recording.
        self.found = replace(self.found, output=output.detach())

    def _gradient_of(self, output: Tensor) -> Tensor:
        """Return where the backward pass takes the gradient of the output from."""
        if self._gradient is None:
            # Not zeros: a recording would clear it each time, behind what was put there.
            self._gradient = torch.empty_like(output)
        return self._gradient

    def launch(self, inputs: Tensor) -> Attempt:
        """Run the forward pass.

        Args:
            inputs: as those that it was recorded with.

        Returns:
            What it leaves, until the next launch; of its output ``joined`` is to be used.
        """
        self._inputs.copy_(inputs)
        self._forward()
        return self.found

    def joined(self) -> Tensor:
        """Return the latest output, with the gradient of the recorded backward pass."""
        use = self._turns.begin()
        output: Tensor = _Joined.apply(  # type: ignore[no-untyped-call]
            self, use, *self._parameters
        )
        return output

    def gradients(self, use: _Use, gradient: Tensor) -> list[Tensor | None]:
        """Run the backward pass.

        Args:
            use: which launch it belongs to.
            gradient: of the output.

        Returns:
            The gradients of the parameters, None where one has none.

        Raises:
            RuntimeError: it has been run, or the forward pass has been launched again.
        """
        if not self._turns.belongs_to(use):
            raise RuntimeError(
                "a second backward pass through one output of a tandem network on a GPU, whose "
                "values are gone: call the model again, or set model.launches_whole_passes = False "
                "before the forward pass"
            )
        use.spent = True
        return self.run_backward(gradient)

    def run_backward(self, gradient: Tensor) -> list[Tensor | None]:
        """Run the backward pass of the latest launch, whoever asks.

        Args:
            gradient: of the output.

        Returns:
            As ``gradients``.
        """
        self._gradient_of(gradient).copy_(gradient)
        self._backward()
        # Copies, since the next launch uses the memory of the originals.
        given = copies([one for one in self._gradients if one is not None])
        remaining = iter(given)
        return [None if one is None else next(remaining) for one in self._gradients]


class _Joined(torch.autograd.Function):
    """Forward the output of a launched pass, backward the recorded backward pass."""

    @staticmethod
    def forward(ctx: Any, recording: Recording, use: _Use, *parameters: Tensor) -> Tensor:
        ctx.recording, ctx.use = recording, use
        return recording.found.output.detach().clone()

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *ctx.recording.gradients(ctx.use, gradients[0])


@dataclass
class _Counted:
    """Passes under the same circumstances.

    Attributes:
        circumstances: see ``circumstances_of``.
        passes: how many there have been.
        recording: of one of them.
        refused: whether it was tried, and cannot be recorded.
    """

    circumstances: tuple[Any, ...]
    passes: int = 0
    recording: Recording | None = None
    refused: bool = False


class Recordings:
    """The recorded passes of one model; a copy of the model begins without any."""

    def __init__(self) -> None:
        self._turns: _Turns | None = None
        self._counted: list[_Counted] = []
        self._made = 0

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: recordings belong to a model's own memory."""
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin anew."""
        self.__init__()  # type: ignore[misc]

    def clear(self) -> None:
        """Forget all recordings, and give back their memory."""
        self._counted.clear()
        self._turns = None

    def find(
        self,
        circumstances: tuple[Any, ...],
        once: Callable[[Tensor], Attempt],
        inputs: Tensor,
        model: nn.Module,
    ) -> Recording | None:
        """Return the recording of such a pass, which is made where there have been some.

        Args:
            circumstances: of the pass that is wanted now.
            once: the pass.
            inputs: what it takes.
            model: whose parameters learn.

        Returns:
            None where the pass is to be run kernel by kernel.
        """
        counted = self._count(circumstances)
        if self._turns is not None and self._turns.is_taken:
            return None
        wanted = counted.recording is None and not counted.refused and self._made < _MOST
        if wanted and counted.passes > _BEFORE:
            counted.recording = self._recorded(once, inputs, model)
            counted.refused = counted.recording is None
        return counted.recording

    def _count(self, circumstances: tuple[Any, ...]) -> _Counted:
        """Count a pass; the circumstances that are met again move to the end of the list."""
        for place, one in enumerate(self._counted):
            if one.circumstances == circumstances:
                self._counted.append(self._counted.pop(place))
                break
        else:
            self._counted.append(_Counted(circumstances))
            del self._counted[:-_COUNTED]
        self._counted[-1].passes += 1
        return self._counted[-1]

    def _recorded(
        self, once: Callable[[Tensor], Attempt], inputs: Tensor, model: nn.Module
    ) -> Recording | None:
        self._made += 1
        holding = [one for one in self._counted if one.recording is not None]
        for one in holding[: max(len(holding) - _KEPT + 1, 0)]:
            one.recording, one.passes = None, 0
        if self._turns is None:
            self._turns = _Turns()
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        trial = Trial(once, inputs, parameters, list(model.buffers()))
        try:
            recording = Recording(self._turns, once, inputs, parameters)
        except RuntimeError as error:
            _LOG.debug("a pass is launched kernel by kernel, for it cannot be recorded: %s", error)
            return None
        if trial.is_met_by(recording):
            return recording
        _LOG.debug("a pass is launched kernel by kernel, for its recording gives other values")
        return None
