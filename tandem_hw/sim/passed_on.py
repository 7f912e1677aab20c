"""Whether a model passes on what its integer neurons did: a hook can put something else there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tandem_hw.arithmetic.neurons import LayerActivity
from tandem_hw.errors import ComparisonRefusedError
from tandem_hw.learning.kinds.kind import ObservedNeurons
from tandem_hw.learning.kinds.max_pooling import TandemMaxPool
from tandem_hw.learning.layers import TandemLayer, TandemSignal, real_potential
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.quantizer import IntegerParameters


class PassedOn:
    """Compares what each module of a model in evaluation returns with what its neurons did.

    An observer is told the activity before any hook of the layer runs, so what it is told proves
    nothing about what the next layer gets. A hook that is registered last sees that.
    """

    def __init__(self, model: TandemNetwork) -> None:
        self.model = model
        #: What the layer that was observed last has to return: counts and spikes, or a potential.
        self._expected: tuple[Tensor, ...] = ()

    def observe(
        self, layer: ObservedNeurons, activity: LayerActivity, integers: IntegerParameters
    ) -> None:
        """Be told what a layer's neurons did, as an observer of the forward pass."""
        if activity.counts is None:
            assert activity.potential is not None  # it is one of the two
            self._expected = (real_potential(activity.potential, integers),)
        else:
            assert activity.spikes is not None  # a model's layers keep them
            self._expected = (activity.counts, activity.spikes)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look at what every module returns, behind all hooks that are there.

        Raises:
            ComparisonRefusedError: a module returned something else than its neurons gave.
        """
        handles = [
            module.register_forward_hook(self._compare_result) for module in self.model.layers
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def check_logits(self, logits: Any) -> None:
        """Refuse logits that are not the last layer's potential in real units, or its counts.

        Args:
            logits: what the model returned for the batch that passed last.

        Raises:
            ComparisonRefusedError: they are something else.
        """
        if not _is_equal((logits,), (self._expected[0].flatten(1),)):
            last = self.model.tandem_layers[-1].name
            raise _refusal(f"what the model returns is not what the neurons of layer {last} gave")

    def _compare_result(self, module: nn.Module, given: tuple[Any, ...], result: Any) -> None:
        if isinstance(module, TandemLayer | TandemMaxPool):
            name, expected = f"layer {module.name}", self._expected
        else:  # in evaluation it changes nothing
            name, expected = f"module layers.{self._index(module)}", _content(given[0])
        if not _is_equal(_content(result), expected):
            raise _refusal(f"what {name} passes on is not what the integer neurons gave")

    def _index(self, module: nn.Module) -> int:
        return next(index for index, one in enumerate(self.model.layers) if one is module)


def _content(result: Any) -> tuple[Any, ...]:
    """Return the tensors of what a layer passes on."""
    if not isinstance(result, TandemSignal):
        return (result,)
    return (result.counts, None if result.train is None else result.train.signal)


def _is_equal(found: tuple[Any, ...], expected: tuple[Any, ...]) -> bool:
    return len(found) == len(expected) and all(
        isinstance(one, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
        for one, other in zip(found, expected, strict=True)
    )


def _refusal(what: str) -> ComparisonRefusedError:
    return ComparisonRefusedError(
        f"{what}: a hook or another forward changes it, which no chip does; remove it from the "
        f"model"
    )
