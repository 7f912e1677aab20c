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
    """

    def __init__(self, wrapping: frozenset[str] = frozenset()) -> None:
        self.wrapping = wrapping
        self._failed: list[Tensor] = []
        self._layers: list[str] = []

    def fail_if(self, condition: Tensor, layer: str = _REFUSED) -> None:
        """Take up what must not be.

        Args:
            condition: bool [], on any device.
            layer: the layer whose states left 24 bits if it holds.
        """
        self._failed.append(condition)
        self._layers.append(layer)

    def failed(self) -> frozenset[str] | None:
        """Read all conditions at once; the one place where a GPU is waited for.

        Returns:
            None where all is well; otherwise the names of the layers whose states left 24 bits,
            which may be none where something else is wrong.
        """
        if not self._failed:
            return None
        device = self._failed[0].device
        together = torch.stack([one.to(device) for one in self._failed]).tolist()
        if not any(together):
            return None
        found = zip(together, self._layers, strict=True)
        return frozenset(layer for failed, layer in found if failed and layer != _REFUSED)
