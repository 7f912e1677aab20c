"""The layers of a quantized network: synapses of integers and the neurons behind them.

Everything is in weight units (one step of a Lava weight, see ``tandem_hw.network.fixed_point``).
Arrays keep PyTorch's axis order with output channels first; the exporter and the Lava graph turn
them into Lava's.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import NetworkError
from tandem_hw.network.fixed_point import (
    DECAY_UNITY,
    WEIGHT_EXPONENT_MAX,
    bias_exponent,
    check_decay,
    check_threshold,
    check_weights,
    threshold_parts,
)

Shape = tuple[int, ...]
#: The source of synapses that take the network's input; no layer has this name.
INPUT_SOURCE = "input"


def plain_integers(item: object, owner: str, *names: str) -> None:
    """Turn NumPy integers in fields into Python's, so that equal networks have equal digests.

    Args:
        item: a frozen dataclass.
        owner: what starts a message, such as "layer conv1: ", or nothing.
        names: its fields; None stays None.

    Raises:
        NetworkError: a field is not made of integers.
    """
    for name in names:
        value = getattr(item, name)
        if value is None and name == "threshold":
            continue
        try:
            if isinstance(value, Iterable):
                plain: int | Shape = tuple(map(operator.index, value))
            else:
                plain = operator.index(value)
        except TypeError as error:
            raise NetworkError(f"{owner}{name} {value!r} is not made of integers") from error
        object.__setattr__(item, name, plain)


@dataclass(frozen=True, eq=False)
class Layer:
    """Synapses and the integrate-and-fire neurons behind them.

    Attributes:
        name: unique within the network.
        weight: int16 weights in weight units, even, output channels first.
        weight_bits: width of the signed weights, 2 to 8.
        bias: int32 bias per output channel in weight units. It enters the window's total once with
            reset "subtract" and in a readout, and in every step with reset "zero".
        threshold: firing threshold in weight units, 1 to 2^17, with reset "subtract" of the form
            m * 2^e; None for a readout that never fires.
        input_shape: shape of one sample that comes in.
        current_decay: what the current loses a step, in 1/4096; 4096 forgets it at once. Another
            value needs reset "zero" and a firing layer.
        voltage_decay: what the voltage loses a step, in 1/4096; 0 is no leak, as above.
        source: name of the layer whose spikes come in, or "input"; empty for the layer before this
            one (the network's input for the first).
        skips: further synapses onto the same neurons, such as the skip path of a residual block:
            layers without a bias and a threshold, each with a name and a source of its own.
    """

    #: What the weights are stored as.
    weight_dtype: ClassVar[type[np.signedinteger[Any]]] = np.int16

    name: str
    weight: npt.NDArray[np.signedinteger[Any]]
    weight_bits: int
    bias: npt.NDArray[np.int32]
    threshold: int | None
    input_shape: Shape
    current_decay: int = DECAY_UNITY
    voltage_decay: int = 0
    source: str = field(default="", kw_only=True)
    skips: tuple[Layer, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Freeze the arrays and check every field."""
        self._plain("input_shape", "threshold", "weight_bits", "current_decay", "voltage_decay")
        object.__setattr__(self, "skips", tuple(self.skips))
        for name, dtype in (("weight", self.weight_dtype), ("bias", np.int32)):
            array = np.array(getattr(self, name), order="C")  # a copy that nobody else can change
            if not np.issubdtype(array.dtype, np.integer):
                raise NetworkError(f"layer {self.name}: {name} is {array.dtype}, not an integer")
            if array.size and np.any(array != array.astype(dtype)):
                raise NetworkError(f"layer {self.name}: {name} does not fit {np.dtype(dtype)}")
            array = array.astype(dtype)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if not self.name or "/" in self.name or not self.name.isprintable():
            raise NetworkError(f"layer name {self.name!r} must be printable text without a slash")
        if self.bias.shape != self.weight.shape[:1] or self.weight.size == 0:
            raise NetworkError(
                f"layer {self.name}: weights {self.weight.shape} need one bias for each of their "
                f"output channels, found {self.bias.shape}"
            )
        try:
            self._check_weights()
            bias_exponent(self.bias)
            check_decay(self.current_decay, self.voltage_decay)
            if self.threshold is not None:
                check_threshold(self.threshold)
        except NetworkError as error:
            raise NetworkError(f"layer {self.name}: {error}") from error

    def _plain(self, *names: str) -> None:
        plain_integers(self, f"layer {self.name}: ", *names)

    def _check_weights(self) -> None:
        check_weights(self.weight, self.weight_bits)

    @property
    def output_shape(self) -> Shape:
        """Shape of one sample that goes out."""
        raise NotImplementedError

    @property
    def fan_out(self) -> npt.NDArray[np.int64]:
        """Synapses that one spike of each input reaches, in ``input_shape``; without the skips."""
        raise NotImplementedError

    @property
    def leaks(self) -> bool:
        """Whether the current is kept for more than a step, or the voltage leaks."""
        return (self.current_decay, self.voltage_decay) != (DECAY_UNITY, 0)

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return math.prod(self.output_shape)

    def bias_image(self) -> npt.NDArray[np.int32]:
        """Return the bias in a shape that broadcasts over ``output_shape``."""
        return self.bias.reshape(-1, *([1] * (len(self.output_shape) - 1)))


@dataclass(frozen=True, eq=False)
class Dense(Layer):
    """All-to-all synapses, weight [out, in]; an input (C, H, W) is flattened in C order."""

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
        """Shape of one sample that goes out, (out,)."""
        return (self.weight.shape[0],)

    @property
    def fan_out(self) -> npt.NDArray[np.int64]:
        """Synapses that one spike of each input reaches, in ``input_shape``."""
        return np.full(self.input_shape, self.weight.shape[0], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class OneToOne(Layer):
    """One synapse from each input to the neuron at its place, all with one positive weight.

    This is how a skip path adds a layer's spikes to another layer. The weight, int32 [1], has the
    form m * 2^e with a mantissa of 1 to 255 and an exponent of 0 to 7, as a threshold has, so that
    one spike can be worth the whole threshold; ``weight_bits`` says nothing here and is 8.
    """

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
        """Shape of one sample that goes out, which is ``input_shape``."""
        return self.input_shape

    @property
    def fan_out(self) -> npt.NDArray[np.int64]:
        """Synapses that one spike of each input reaches, in ``input_shape``."""
        return np.ones(self.input_shape, dtype=np.int64)


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
