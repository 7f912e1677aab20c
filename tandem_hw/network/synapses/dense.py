"""Synapses without a geometry: from every input to every neuron, or to the one at its place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import NetworkError
from tandem_hw.network.fixed_point import WEIGHT_EXPONENT_MAX, threshold_parts
from tandem_hw.network.synapses.geometry import Shape
from tandem_hw.network.synapses.kind import Synapses


@dataclass(frozen=True, eq=False)
class Dense(Synapses):
    """All-to-all synapses, weight [out, in]; an input (C, H, W) is flattened in C order."""

    file_type: ClassVar[str] = "dense"
    weight_axes: ClassVar[tuple[str, ...]] = ("out", "in")

    def __post_init__(self) -> None:
        """Check the shapes."""
        super().__post_init__()
        expected = (self.weight.shape[0], math.prod(self.input_shape))
        if self.weight.shape != expected:
            raise NetworkError(
                f"layer {self.name}: dense weights are {self.weight.shape}; the input "
                f"{self.input_shape} needs {expected}"
            )

    @property
    def output_shape(self) -> Shape:
        """Shape of the neurons that they reach, (out,)."""
        return (self.weight.shape[0],)

    @property
    def fan_out(self) -> npt.NDArray[np.int64]:
        """Synapses that one spike of each input reaches, in ``input_shape``."""
        return np.full(self.input_shape, self.weight.shape[0], dtype=np.int64)

    @property
    def title(self) -> str:
        """Inputs and outputs."""
        return f"dense {math.prod(self.input_shape)}→{self.weight.shape[0]}"


@dataclass(frozen=True, eq=False)
class OneToOne(Synapses):
    """One synapse from each input to the neuron at its place, all with one positive weight.

    This is how a skip path adds a layer's spikes to another layer. The weight, int32 [1], has the
    form m * 2^e with a mantissa of 1 to 255 and an exponent of 0 to 7, as a threshold has, so that
    one spike can be worth the whole threshold; ``weight_bits`` says nothing here and is 8.
    """

    file_type: ClassVar[str] = "one_to_one"
    weight_axes: ClassVar[tuple[str, ...]] = ("1",)
    weight_dtype: ClassVar[type[np.signedinteger[Any]]] = np.int32

    def __post_init__(self) -> None:
        """Check that there is one weight."""
        super().__post_init__()
        if self.weight.shape != (1,):
            raise NetworkError(
                f"layer {self.name}: one-to-one synapses have one weight, found an array of shape "
                f"{self.weight.shape}"
            )

    def _check_weights(self) -> None:
        if self.weight_bits != 8:
            raise NetworkError(f"weight_bits is {self.weight_bits}; one-to-one synapses have 8")
        one_to_one_parts(int(self.weight.reshape(-1)[0]))

    @property
    def output_shape(self) -> Shape:
        """Shape of the neurons that they reach, which is ``input_shape``."""
        return self.input_shape

    @property
    def fan_out(self) -> npt.NDArray[np.int64]:
        """Synapses that one spike of each input reaches, in ``input_shape``."""
        return np.ones(self.input_shape, dtype=np.int64)

    @property
    def title(self) -> str:
        """The one weight."""
        return f"one to one, {self.weight[0]}"


def one_to_one_parts(weight: int) -> tuple[int, int]:
    """Split the weight of one-to-one synapses into a mantissa and an exponent, m * 2^e.

    Args:
        weight: the weight in weight units.

    Returns:
        The mantissa, 1 to 255, and the exponent, 0 to 7.

    Raises:
        NetworkError: it is not positive, or has another form.
    """
    limit = 255 << WEIGHT_EXPONENT_MAX
    if not 1 <= weight <= limit:
        raise NetworkError(f"a one-to-one weight is {weight}; allowed are 1 to {limit}")
    try:
        return threshold_parts(weight)
    except NetworkError as error:
        raise NetworkError(f"a one-to-one weight is {weight}; it must be m * 2^e") from error
