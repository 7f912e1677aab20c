"""Reads a network past what is refused, so that all refusals are found in one go.

``tandem_hw.conversion.graph_reader`` knows nothing of what lies behind a refused operation. Here
the result stands for what a counterpart of it would give: neurons behind an activation, synapses
behind another layer with weights, and otherwise what went in. Nothing is converted from this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tandem_hw.conversion.advice import is_activation
from tandem_hw.conversion.forward_recorder import Call, ForwardError, tensors_in
from tandem_hw.conversion.graph_reader import Reader
from tandem_hw.conversion.read_values import (
    Maxima,
    NormalisedSpikes,
    Refused,
    Spikes,
    Sum,
    Value,
    WeightOrigin,
)
from tandem_hw.learning.architecture import LayerSpec
from tandem_hw.network.quantized import Readout, Shape

#: Parts of the names of operations that take weighted sums.
_WEIGHTED = ("conv", "linear")
#: Part of the names of operations that leave values as they are in evaluation, of spikes alone.
_DROPPING = "drop"


@dataclass(frozen=True)
class Met:
    """A layer of PyTorch, or a refused operation, that a forward pass came to.

    Attributes:
        path: its name in the network.
        kind: its class or function.
        module: the layer, or None for an operation.
        taken: shape of the first tensor that it took, samples included.
        takes_negatives: whether a value in that was below 0.
        result: the tensor that it gave, or None where that is none.
        is_last: whether nothing has changed that since, and it is what the network returns.
        refusal: why it cannot be converted, or nothing.
    """

    path: str
    kind: str
    module: nn.Module | None
    taken: tuple[int, ...]
    takes_negatives: bool
    result: Tensor | None
    refusal: str = ""
    is_last: bool = False


class ProbingReader(Reader):
    """Reads a network as far as its forward pass goes.

    Attributes:
        seen: what it came to, in order.
    """

    def __init__(self, batch: Tensor, pools_maxima: bool) -> None:
        super().__init__(batch, True, pools_maxima)
        self.seen: list[Met] = []
        self._kind = ""
        self._last: Value | None = None
        self._stand_ins: dict[int, tuple[Value, tuple[str, ...]]] = {}

    def module(self, path: str, module: nn.Module, call: Call) -> None:
        """Have a layer of PyTorch read, and note it."""
        self._kind = type(module).__name__
        before = len(self.met)
        super().module(path, module, call)
        self._see(path, module, call, before)

    def operation(self, path: str, name: str, call: Call) -> None:
        """Have a function or method read, and note it where it is refused."""
        self._kind = name
        before = len(self.met)
        super().operation(path, name, call)
        if len(self.met) > before:
            self._see(path, None, call, before)

    def _see(self, path: str, module: nn.Module | None, call: Call, before: int) -> None:
        if not call.tensors:
            return
        result = call.result if isinstance(call.result, Tensor) else None
        refusal = "; ".join(list(self.met)[before:])
        taken = call.tensors[0]
        negatives = bool((taken < 0).any())
        shape = tuple(taken.shape)
        self.seen.append(Met(path, self._kind, module, shape, negatives, result, refusal))
        self._last = None if result is None else self.meaning(result)

    def finish(self, output: Any, readout: Readout) -> None:
        """Note whether the network returns what it came to last, and check its end."""
        returned = self.meaning(output) if isinstance(output, Tensor) else None
        if self.seen and returned is not None and returned is self._last:
            self.seen[-1] = replace(self.seen[-1], is_last=True)
        super().finish(output, readout)

    @property
    def pools_some_maxima(self) -> bool:
        """Whether there is a max pooling, in whatever way it is called."""
        return any(layer.kind == "maxpool" for layer in self.found.layers)

    def take(self, value: Value) -> Spikes | Sum | None:
        """Use a value, and say why it only stands for another."""
        if id(value) in self._stand_ins:
            messages = self._stand_ins[id(value)][1]
            self.refusals.update(dict.fromkeys(messages))
        return super().take(value)

    def fire(self, path: str, value: Value, result: Tensor, ceiling: float | None = None) -> Value:
        """Put neurons behind a sum, also where it only stands for another."""
        self._say(value)
        if isinstance(value, Spikes) and id(value) in self._stand_ins:
            # They stand behind a ReLU already, and are another value behind this one.
            again = replace(value)
            self._stand_ins[id(again)] = (again, self._stand_ins[id(value)][1])
            return again
        return super().fire(path, value, result, ceiling)

    def failed(self, error: ForwardError) -> None:
        """Say everything that was refused before the forward pass failed."""
        for value, _ in list(self._stand_ins.values()):
            self._say(value)
        super().failed(error)

    def refused(self, path: str, messages: tuple[str, ...], call: Call) -> Value:
        """Return what a counterpart of a refused operation would give."""
        values = [value for _, value in self._meanings(call)]
        result = next(tensors_in(call.result), None)
        if result is None or result.dim() < 2 or not values:
            return Refused(messages)
        earlier = [text for value in values for text in self._messages(value)]
        messages = tuple(dict.fromkeys((*earlier, *messages)))
        stand_in = self._instead(path, values[0], call.tensors[0], result)
        if not isinstance(stand_in, Refused):
            self._stand_ins[id(stand_in)] = (stand_in, messages)
            return stand_in
        return Refused(messages)

    def _instead(self, path: str, value: Value, tensor: Tensor, result: Tensor) -> Value:
        """Return what stands for the result of an operation."""
        kind = self._kind
        shape = tuple(result.shape[1:])
        if any(part in kind.lower() for part in _WEIGHTED):
            return _weighted(path, shape)
        if isinstance(value, NormalisedSpikes):
            value = value.spikes
        if isinstance(value, Maxima):
            value = value.value
        if not isinstance(value, Spikes | Sum):
            return Refused()
        if is_activation(kind) and isinstance(value, Sum):
            return self._add_layer(value, result.clamp(min=0))
        if tensor.shape == result.shape and _DROPPING not in kind.lower():
            return replace(value)
        # Of a sum too: what pools or drops stands behind the ReLU that is missing, or comes later.
        return self._add_layer(_weighted(path, shape), result)

    def _say(self, value: Value) -> None:
        if id(value) in self._stand_ins:
            self.refusals.update(dict.fromkeys(self._stand_ins[id(value)][1]))

    def _messages(self, value: Value) -> Iterator[str]:
        if isinstance(value, Refused):
            yield from value.messages
        elif id(value) in self._stand_ins:
            yield from self._stand_ins[id(value)][1]


def _weighted(path: str, shape: Shape) -> Sum:
    """Return what stands for a layer with weights of its own."""
    origin = WeightOrigin(path, {"weight": torch.zeros(shape[0])})
    return Sum(path, ((LayerSpec("linear", shape[0]), origin),), shape)
