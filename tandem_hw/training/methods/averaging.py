"""The moving average of a network's weights, which is then what is judged and exported.

After step n, from 1, the average a of a parameter p becomes

    a := a + (1 - d) (p - a),   d = min(decay, n / (n + 9))

so that the first steps, which know little, are soon forgotten. The running statistics of a batch
normalisation are averaged alike; a layer's peak, a count of batches and a mask of pruning are
the last ones. Source: Tarvainen and Valpola, arXiv 1703.01780; the first steps as TensorFlow's
``ExponentialMovingAverage`` has them.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from tandem_hw.learning.checkpoint import rebuilt
from tandem_hw.learning.model import TandemNetwork

#: Before the first step: the average of n steps reaches back over a tenth of them at first.
_START: Final = 9
#: Buffers that are averaged as parameters are.
_STATISTICS: Final = ("running_mean", "running_var")


class WeightAverage:
    """Follows a network while it is trained.

    Args:
        followed: the network; its present state is where the average starts.
        decay: d above, from 0 to below 1.

    Attributes:
        model: the network with averaged weights, in evaluation mode, beside the one it follows.
    """

    def __init__(self, followed: TandemNetwork, decay: float) -> None:
        self._followed, self._decay = followed, decay
        state = {name: value.detach().clone() for name, value in followed.state_dict().items()}
        device = next(followed.parameters()).device
        with torch.random.fork_rng([]):  # a model that is built draws numbers
            self.model = rebuilt(followed.architecture, state).to(device)
        self.model.meaning = followed.meaning

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take up the network's state after a step.

        Args:
            step: how many steps the training has done, from 1.
        """
        parameters = {name for name, _ in self._followed.named_parameters()}
        state = self.model.state_dict()
        decay = min(self._decay, step / (step + _START))
        followed: list[tuple[Tensor, Tensor]] = []
        copied: list[tuple[Tensor, Tensor]] = []
        for name, value in self._followed.state_dict().items():
            averaged = name in parameters or name.endswith(_STATISTICS)
            (followed if averaged else copied).append((state[name], value))
        # All at once: a GPU would be launched a kernel for every one of them.
        ours, theirs = ([pair[side] for pair in followed] for side in (0, 1))
        torch._foreach_lerp_(ours, theirs, 1 - decay)
        for one, other in copied:
            one.copy_(other)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from an average that a training has left.

        Args:
            state: the ``state_dict`` of ``model``.

        Raises:
            ConversionError: it is of another network, or a value is infinite or not a number.
            RuntimeError, TypeError, AttributeError: other weights are pruned in it.
        """
        self.model.load_state_dict(rebuilt(self._followed.architecture, state).state_dict())
