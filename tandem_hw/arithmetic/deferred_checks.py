"""What a forward pass relies on and only the device knows: asked once, behind its last layer.

Whoever reads a number from a GPU waits until all that was queued before is done, and the GPU then
waits for the next work. So in a training step the conditions stay where they are, such as that no
state came too near to 24 bits, and are read together. Where one of them does not hold, nothing of
the pass is used: it is run again with every condition looked at where it arises, which wraps and
clips as the chip does, or says what is wrong.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

#: Not the name of a layer: what the immediate pass refuses by itself.
_REFUSED: Final = ""


class DeferredChecks:
    """The conditions of one forward pass.

    Attributes:
        wrapping: names of the layers whose states are known to leave 24 bits now and then; they
            are run with wrap and clip at once and have no condition.
        watched: names of the layers whose weights do not show that a step moves no state far, so
            that what comes in is looked at as well (``tandem_hw.arithmetic.states.summed_states``).
        to_watch: names of further such layers, known once the conditions were read.
    """

    def __init__(
        self, wrapping: frozenset[str] = frozenset(), watched: frozenset[str] = frozenset()
    ) -> None:
        self.wrapping = wrapping
        self.watched = watched
        self.to_watch: frozenset[str] = frozenset()
        self._conditions: list[tuple[Tensor, str, bool]] = []
        self._together: Tensor | None = None

    def fail_if(
        self, condition: Tensor, layer: str = _REFUSED, *, may_be_watched: bool = False
    ) -> None:
        """Take up what must not be.

        Args:
            condition: bool [], on any device.
            layer: the layer whose states left 24 bits if it holds.
            may_be_watched: whether its states may be all right, and it is only not shown by its
                weights.
        """
        self._conditions.append((condition, layer, may_be_watched))

    def gather(self) -> None:
        """Put the conditions together where they are; none may be taken up afterwards."""
        if self._conditions:
            device = self._conditions[0][0].device
            self._together = torch.stack([one.to(device) for one, _, _ in self._conditions])

    def failed(self) -> frozenset[str] | None:
        """Read all conditions at once; the one place where a GPU is waited for.

        Returns:
            None where all is well; otherwise the names of the layers whose states left 24 bits,
            which may be none where something else is wrong.
        """
        if self._together is None:
            self.gather()
        together = [] if self._together is None else self._together.tolist()
        if not any(together):
            return None
        pairs = zip(together, self._conditions, strict=True)
        found = [(layer, watch) for failed, (_, layer, watch) in pairs if failed]
        self.to_watch = frozenset(layer for layer, watch in found if watch)
        return frozenset(layer for layer, watch in found if layer != _REFUSED and not watch)
