"""The layers of a quantized network: neurons, and the synapses that end in them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import NetworkError
from tandem_hw.network.fixed_point import (
    DECAY_UNITY,
    bias_exponent,
    check_decay,
    check_threshold,
)
from tandem_hw.network.synapses.geometry import Shape
from tandem_hw.network.synapses.kind import (
    Synapses,
    check_name,
    frozen_integers,
    plain_integers,
)

#: The source of synapses that take the network's input; no layer has this name.
INPUT_SOURCE = "input"


@dataclass(frozen=True, eq=False)
class Neurons:
    """Integrate-and-fire neurons; the layer that they belong to checks them.

    Attributes:
        bias: int32 bias per output channel in weight units. It enters the window's total once with
            reset "subtract" and in a readout, and in every step with reset "zero".
        threshold: firing threshold in weight units, 1 to 2^17, with reset "subtract" of the form
            m * 2^e; None for a readout that never fires.
        current_decay: what the current loses a step, in 1/4096; 4096 forgets it at once. Another
            value needs reset "zero" and a firing layer.
        voltage_decay: what the voltage loses a step, in 1/4096; 0 is no leak, as above.
    """

    bias: npt.NDArray[Any]
    threshold: int | None
    current_decay: int = DECAY_UNITY
    voltage_decay: int = 0

    @property
    def leaks(self) -> bool:
        """Whether the current is kept for more than a step, or the voltage leaks."""
        return (self.current_decay, self.voltage_decay) != (DECAY_UNITY, 0)


def _checked(neurons: Neurons, layer: str) -> Neurons:
    """Return neurons with a bias that nobody can change, every field checked."""
    bias = frozen_integers(neurons.bias, np.int32, f"layer {layer}: bias")
    neurons = replace(neurons, bias=bias)
    plain_integers(neurons, f"layer {layer}: ", "threshold", "current_decay", "voltage_decay")
    try:
        bias_exponent(bias)
        check_decay(neurons.current_decay, neurons.voltage_decay)
        if neurons.threshold is not None:
            check_threshold(neurons.threshold)
    except NetworkError as error:
        raise NetworkError(f"layer {layer}: {error}") from error
    return neurons


class Input(NamedTuple):
    """Synapses and the name of what they take their spikes from: a layer, or "input"."""

    source: str
    synapses: Synapses


def _checked_inputs(inputs: object, layer: str) -> tuple[Input, ...]:
    """Return inputs as such, at least one, each a source's name and synapses."""
    found = [] if isinstance(inputs, Input) or not isinstance(inputs, Iterable) else [*inputs]
    checked = []
    for one in found:
        match one:
            case (str(source), Synapses() as synapses):
                checked.append(Input(source, synapses))
            case _:
                found = []
    if not found:
        raise NetworkError(
            f"layer {layer}: its inputs are a {type(inputs).__name__} without pairs of a source "
            f"and synapses alone; give a tuple of one or more Input(source, synapses)"
        )
    return tuple(checked)


@dataclass(frozen=True, eq=False)
class Layer:
    """Neurons and all synapses that end in them.

    Attributes:
        name: unique within the network.
        neurons: what integrates and fires.
        inputs: at least one; what all of them bring is added up. The first one's synapses have the
            layer's name, the others, such as the skip path of a residual block, names of their own.
    """

    name: str
    neurons: Neurons
    inputs: tuple[Input, ...]

    def __post_init__(self) -> None:
        """Check that neurons and synapses fit each other."""
        check_name(self.name)
        object.__setattr__(self, "inputs", _checked_inputs(self.inputs, self.name))
        if not isinstance(self.neurons, Neurons):
            raise NetworkError(
                f"layer {self.name}: its neurons are a {type(self.neurons).__name__}; give Neurons"
            )
        if self.inputs[0].synapses.name != self.name:
            raise NetworkError(
                f"layer {self.name}: its first synapses need the layer's own name, found "
                f"{[one.synapses.name for one in self.inputs]}"
            )
        object.__setattr__(self, "neurons", _checked(self.neurons, self.name))
        first = self.inputs[0].synapses
        if self.neurons.bias.shape != first.weight.shape[:1]:
            raise NetworkError(
                f"layer {self.name}: weights {first.weight.shape} need one bias for each of their "
                f"output channels, found {self.neurons.bias.shape}"
            )

    @property
    def synapses(self) -> tuple[Synapses, ...]:
        """The synapses of each input."""
        return tuple(one.synapses for one in self.inputs)

    @property
    def output_shape(self) -> Shape:
        """Shape of the neurons."""
        return self.inputs[0].synapses.output_shape

    @property
    def num_neurons(self) -> int:
        """Number of neurons."""
        return math.prod(self.output_shape)

    @property
    def fires(self) -> bool:
        """Whether the neurons fire; those of a readout by potential never do."""
        return self.neurons.threshold is not None

    def bias_image(self) -> npt.NDArray[np.signedinteger[Any]]:
        """Return the bias in a shape that broadcasts over ``output_shape``."""
        return self.neurons.bias.reshape(-1, *([1] * (len(self.output_shape) - 1)))


def chain(*parts: tuple[Synapses, Neurons]) -> tuple[Layer, ...]:
    """Return layers one behind the other, the first of them on the network's input.

    Args:
        parts: the synapses of each layer, whose name it gets, and its neurons.

    Raises:
        NetworkError: a part is something else.
    """
    for synapses, _ in parts:
        if not isinstance(synapses, Synapses):
            raise NetworkError(
                f"chain takes pairs of synapses and neurons, found a {type(synapses).__name__} in "
                f"the place of synapses"
            )
    sources = (INPUT_SOURCE, *(synapses.name for synapses, _ in parts))
    return tuple(
        Layer(synapses.name, neurons, (Input(source, synapses),))
        for source, (synapses, neurons) in zip(sources, parts, strict=False)
    )
