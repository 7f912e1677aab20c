"""A forward pass of the training that waits for the device once, whatever the number of layers.

The integers of all layers stay where they are computed, and so does all that could be wrong with
them (``tandem_hw.arithmetic.deferred_checks``). Where something is, the pass is taken back and run
again in the way in which every layer looks at its own numbers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tandem_hw.arithmetic.deferred_checks import DeferredChecks
from tandem_hw.learning.layers import Observer, TandemLayer
from tandem_hw.learning.weights_in_effect import has_foreign_hooks

#: Runs the layers: told what they do, and by what their conditions are taken up, if by anything.
Pass = Callable[[Observer | None, DeferredChecks | None], Tensor]


def may_be_deferred(model: nn.Module, inputs: Tensor) -> bool:
    """Return whether a forward pass can be taken back, and whether that saves anything.

    A CPU does not wait for itself. Evaluation takes its integers from the CPU in any case. Hooks on
    the layers would see a pass that is not used.

    Args:
        model: a tandem network.
        inputs: what it is called with.
    """
    return inputs.device.type != "cpu" and all(
        not has_foreign_hooks(module) and (module.training or not isinstance(module, TandemLayer))
        for module in model.modules()
        if module is not model
    )


class DeferredPass:
    """The forward passes of one model in training.

    Attributes:
        wrapping: names of the layers whose states have left 24 bits; in later passes they are run
            with wrap and clip at once, so that a pass is not run twice each time.
        watched: names of the layers that are looked at more closely in later passes
            (``DeferredChecks``).
    """

    def __init__(self) -> None:
        self.wrapping: frozenset[str] = frozenset()
        self.watched: frozenset[str] = frozenset()

    def run(
        self, model: nn.Module, device: torch.device, run: Pass, observe: Observer | None
    ) -> Tensor:
        """Run the layers once, or twice where a condition does not hold.

        Args:
            model: whose buffers a pass changes.
            device: where it computes.
            run: one pass.
            observe: told of the pass that is used.

        Returns:
            What the pass returns.
        """
        buffers = list(model.buffers())
        before = _copies(buffers)
        random = _random_state(device)
        checks = DeferredChecks(self.wrapping, self.watched)
        told: list[tuple[Any, ...]] = []
        result = run(None if observe is None else lambda *what: told.append(what), checks)
        failed = checks.failed()
        if failed is None:
            for what in told:
                assert observe is not None  # or nothing would have been told
                observe(*what)
            return result
        self.wrapping |= failed
        self.watched |= checks.to_watch
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
        _set_random_state(device, random)
        return run(observe, None)


def _copies(buffers: Sequence[Tensor]) -> list[Tensor]:
    """Copy buffers, those of a data type at once: a GPU is busy with as many of them as it can."""
    copies = [torch.empty_like(buffer) for buffer in buffers]
    for dtype in {buffer.dtype for buffer in buffers}:
        alike = [place for place, buffer in enumerate(buffers) if buffer.dtype == dtype]
        torch._foreach_copy_(
            [copies[place] for place in alike], [buffers[place] for place in alike]
        )
    return copies


def _random_state(device: torch.device) -> Tensor:
    """Return what the dropout's random numbers come from."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
