"""The quantized network: integers only, in the chip's vocabulary, checked when built.

Everything is in weight units (one step of a Lava weight, see ``tandem_hw.fixed_point``). Arrays
keep PyTorch's axis order; the exporter and the Lava graph turn them into Lava's.
"""

from __future__ import annotations

import hashlib
import math
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from tandem_hw.bounds import (
    StateBounds,
    StepInterval,
    check_accumulator,
    input_steps,
    synaptic_interval,
    window_bounds,
)
from tandem_hw.errors import NetworkError
from tandem_hw.fixed_point import (
    DECAY_UNITY,
    INPUT_BITS_RANGE,
    NUM_STEPS_MAX,
    bias_exponent,
    check_decay,
    check_threshold,
    check_weights,
    threshold_parts,
)

Reset = Literal["subtract", "zero"]
Encoding = Literal["first_step", "constant", "events"]
Readout = Literal["potential", "count"]
Shape = tuple[int, ...]


def _plain_integers(item: object, *names: str) -> None:
    """Turn NumPy integers in fields into Python's, so that equal networks have equal digests."""
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
            owner = f"layer {item.name}: " if isinstance(item, Layer) else ""
            raise NetworkError(f"{owner}{name} {value!r} is not made of integers") from error
        object.__setattr__(item, name, plain)


@dataclass(frozen=True)
class InputSpec:
    """What the network takes in.

    Attributes:
        shape: shape of one sample, (C, H, W) or (N,).
        bits: samples are unsigned integers of this many bits, 1 to 8.
        scale: the real value of one integer step; a real x is sent as round(x / scale).
        encoding: "first_step" sends the integers once, as graded spikes in the window's first
            step; "constant" sends them in every step; with "events" a sample holds the integers of
            every step, [num_steps, *shape].
    """

    shape: Shape
    bits: int
    scale: float
    encoding: Encoding = "first_step"

    def __post_init__(self) -> None:
        """Check every field."""
        _plain_integers(self, "shape", "bits")
        object.__setattr__(self, "scale", float(self.scale))
        if len(self.shape) not in (1, 3) or min(self.shape, default=0) < 1:
            raise NetworkError(
                f"input shape {self.shape} is not supported; give (channels, height, width) or "
                f"(features,)"
            )
        if self.bits not in INPUT_BITS_RANGE:
            raise NetworkError(f"input_bits is {self.bits}; allowed are 1 to 8")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise NetworkError(f"input scale is {self.scale}; a positive number is needed")
        if self.encoding not in get_args(Encoding):
            raise NetworkError(f'encoding is "{self.encoding}"; allowed are {get_args(Encoding)}')

    @property
    def largest(self) -> int:
        """The largest integer that an input can take."""
        return (1 << self.bits) - 1


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
    """

    name: str
    weight: npt.NDArray[np.int16]
    weight_bits: int
    bias: npt.NDArray[np.int32]
    threshold: int | None
    input_shape: Shape
    current_decay: int = DECAY_UNITY
    voltage_decay: int = 0

    def __post_init__(self) -> None:
        """Freeze the arrays and check every field."""
        _plain_integers(self, "input_shape", "threshold", "weight_bits")
        _plain_integers(self, "current_decay", "voltage_decay")
        for field, dtype in (("weight", np.int16), ("bias", np.int32)):
            array = np.array(getattr(self, field), order="C")  # a copy that nobody else can change
            if not np.issubdtype(array.dtype, np.integer):
                raise NetworkError(f"layer {self.name}: {field} is {array.dtype}, not an integer")
            if array.size and np.any(array != array.astype(dtype)):
                raise NetworkError(f"layer {self.name}: {field} does not fit {np.dtype(dtype)}")
            array = array.astype(dtype)
            array.flags.writeable = False
            object.__setattr__(self, field, array)
        if not self.name or "/" in self.name or not self.name.isprintable():
            raise NetworkError(f"layer name {self.name!r} must be printable text without a slash")
        if self.bias.shape != self.weight.shape[:1] or self.weight.size == 0:
            raise NetworkError(
                f"layer {self.name}: weights {self.weight.shape} need one bias for each of their "
                f"output channels, found {self.bias.shape}"
            )
        try:
            check_weights(self.weight, self.weight_bits)
            bias_exponent(self.bias)
            check_decay(self.current_decay, self.voltage_decay)
            if self.threshold is not None:
                check_threshold(self.threshold)
        except NetworkError as error:
            raise NetworkError(f"layer {self.name}: {error}") from error

    @property
    def output_shape(self) -> Shape:
        """Shape of one sample that goes out."""
        raise NotImplementedError

    @property
    def fan_out(self) -> npt.NDArray[np.int64]:
        """Synapses that one spike of each input reaches, in ``input_shape``."""
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
class Conv2d(Layer):
    """Convolution as PyTorch defines it: weight [out, in / groups, kernel_h, kernel_w].

    Attributes:
        stride: (y, x), at least 1.
        padding: (y, x) zeros on either side, at least 0.
        dilation: (y, x), at least 1.
        groups: both channel counts are divisible by it.
    """

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        """Check the geometry."""
        super().__post_init__()
        _plain_integers(self, "stride", "padding", "dilation", "groups")
        if len(self.input_shape) != 3 or self.weight.ndim != 4:
            raise NetworkError(
                f"layer {self.name}: a convolution takes an input (C, H, W) and weights [out, in / "
                f"groups, kernel_h, kernel_w], found {self.input_shape} and {self.weight.shape}"
            )
        limits = {"stride": 1, "padding": 0, "dilation": 1}
        for field, least in limits.items():
            pair = getattr(self, field)
            if not isinstance(pair, tuple) or len(pair) != 2 or min(pair) < least:
                raise NetworkError(f"layer {self.name}: {field} {pair} must be two of >= {least}")
        out_channels, in_channels = self.weight.shape[0], self.input_shape[0]
        if self.groups < 1 or in_channels % self.groups or out_channels % self.groups:
            raise NetworkError(
                f"layer {self.name}: {self.groups} groups do not divide {in_channels} input and "
                f"{out_channels} output channels"
            )
        if self.weight.shape[1] != in_channels // self.groups:
            raise NetworkError(
                f"layer {self.name}: weights {self.weight.shape} take {self.weight.shape[1]} input "
                f"channels a group, the input {self.input_shape} has {in_channels // self.groups}"
            )
        if min(self.output_shape) < 1:
            raise NetworkError(
                f"layer {self.name}: the kernel {self.weight.shape[2:]} is larger than the padded "
                f"input {self.input_shape}"
            )

    @property
    def output_shape(self) -> Shape:
        """Shape of one sample that goes out, (C, H, W)."""
        return (self.weight.shape[0], *(self._output_length(axis) for axis in range(2)))

    def _output_length(self, axis: int) -> int:
        reach = self.dilation[axis] * (self.weight.shape[2 + axis] - 1) + 1
        padded = self.input_shape[1 + axis] + 2 * self.padding[axis]
        return int((padded - reach) // self.stride[axis] + 1)

    @property
    def fan_out(self) -> npt.NDArray[np.int64]:
        """Synapses that one spike of each input reaches, in ``input_shape``."""
        rows, columns = (self._targets(axis) for axis in range(2))
        image = np.outer(rows, columns) * (self.weight.shape[0] // self.groups)
        return np.broadcast_to(image, self.input_shape)

    def _targets(self, axis: int) -> npt.NDArray[np.int64]:
        """Count the output positions along one axis that each input position contributes to."""
        starts = np.arange(self._output_length(axis)) * self.stride[axis] - self.padding[axis]
        taps = np.arange(self.weight.shape[2 + axis]) * self.dilation[axis]
        reached = (starts[:, None] + taps[None, :]).ravel()
        inside = reached[(reached >= 0) & (reached < self.input_shape[1 + axis])]
        return np.bincount(inside, minlength=self.input_shape[1 + axis]).astype(np.int64)


@dataclass(frozen=True, eq=False)
class QuantizedNetwork:
    """A feed-forward network of integers that every backend runs to the same spike counts.

    Attributes:
        input: what goes in.
        layers: in the order in which spikes pass them.
        num_steps: length T of a sample's window.
        reset: "subtract" (the paper's integrate-and-fire neuron) or "zero".
        readout: "potential" (the last layer never fires; its potential at the window's end is the
            result) or "count" (it fires and is counted).
        readout_scale: the real value of one weight unit of the readout's potential, or of one spike
            of a counted readout.
    """

    input: InputSpec
    layers: tuple[Layer, ...]
    num_steps: int
    reset: Reset
    readout: Readout = "potential"
    readout_scale: float = 1.0

    def __post_init__(self) -> None:
        """Check that the layers fit each other and the arithmetic."""
        _plain_integers(self, "num_steps")
        object.__setattr__(self, "readout_scale", float(self.readout_scale))
        object.__setattr__(self, "layers", tuple(self.layers))
        if not 1 <= self.num_steps <= NUM_STEPS_MAX:
            raise NetworkError(f"num_steps is {self.num_steps}; allowed are 1 to {NUM_STEPS_MAX}")
        for field, choices in (("reset", get_args(Reset)), ("readout", get_args(Readout))):
            if getattr(self, field) not in choices:
                raise NetworkError(f'{field} is "{getattr(self, field)}"; allowed are {choices}')
        if not (math.isfinite(self.readout_scale) and self.readout_scale > 0):
            raise NetworkError(f"readout_scale is {self.readout_scale}; give a positive number")
        if not self.layers:
            raise NetworkError("the network has no layers")
        names = [layer.name for layer in self.layers]
        if len(set(names)) != len(names):
            raise NetworkError(f"layer names are not unique: {names}")
        self._check_chain()
        for layer in self.layers:
            self._check_neurons(layer)
        for layer, interval in zip(self.layers, self.step_intervals, strict=True):
            check_accumulator(layer.name, interval)

    def _check_chain(self) -> None:
        """Check that shapes follow each other and that all but a potential readout fire."""
        shape = self.input.shape
        for index, layer in enumerate(self.layers):
            if layer.input_shape != shape:
                raise NetworkError(
                    f"layer {layer.name} takes {layer.input_shape}, but {shape} comes in"
                )
            shape = layer.output_shape
            is_readout = self.readout == "potential" and index == len(self.layers) - 1
            if is_readout != (layer.threshold is None):
                raise NetworkError(
                    f"layer {layer.name}: a threshold is {'not ' if is_readout else ''}needed with "
                    f'readout "{self.readout}"'
                )
        if len(shape) != 1:
            raise NetworkError(f"the last layer puts out {shape}; it must be a dense layer")

    def _check_neurons(self, layer: Layer) -> None:
        """Check what only one of the resets, or only a firing layer, can have."""
        if layer.leaks and (self.reset != "zero" or layer.threshold is None):
            kind = "a readout" if layer.threshold is None else f'reset "{self.reset}"'
            raise NetworkError(
                f"layer {layer.name}: current_decay {layer.current_decay} and voltage_decay "
                f"{layer.voltage_decay} are not possible with {kind}; only firing layers with "
                f'reset "zero" leak, all others need {DECAY_UNITY} and 0'
            )
        if layer.threshold is not None and self.reset == "subtract":
            try:
                threshold_parts(layer.threshold)
            except NetworkError as error:
                raise NetworkError(f"layer {layer.name}: {error}") from error

    def __iter__(self) -> Iterator[Layer]:
        """Iterate over the layers."""
        return iter(self.layers)

    @property
    def sample_shape(self) -> Shape:
        """Shape of one sample as a backend takes it; with "events" its steps come first."""
        steps = (self.num_steps,) if self.input.encoding == "events" else ()
        return (*steps, *self.input.shape)

    @property
    def spiking_layers(self) -> tuple[Layer, ...]:
        """The layers whose neurons fire."""
        return tuple(layer for layer in self.layers if layer.threshold is not None)

    @property
    def step_intervals(self) -> tuple[StepInterval, ...]:
        """Lowest and highest synaptic input in one step, per layer."""
        return tuple(
            synaptic_interval(layer.weight, self.input.largest if index == 0 else 1)
            for index, layer in enumerate(self.layers)
        )

    @cached_property
    def bounds(self) -> tuple[StateBounds, ...]:
        """Proven bounds of each layer's state over a window (``tandem_hw.bounds``)."""
        return tuple(
            window_bounds(
                input_steps(interval, self.num_steps, index == 0 and self.input.encoding),
                layer.bias.astype(np.int64),
                layer.threshold,
                self.reset,
                layer.current_decay,
                layer.voltage_decay,
            )
            for index, (layer, interval) in enumerate(
                zip(self.layers, self.step_intervals, strict=True)
            )
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 over every field and array: two networks with one digest are the same network."""
        state = hashlib.sha256()
        for name, value in _described(self):
            state.update(f"{name}={value!r};".encode() if not isinstance(value, bytes) else value)
        return state.hexdigest()


def _described(item: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Walk the fields of nested dataclasses in order, arrays as little-endian bytes."""
    yield f"{path}type", type(item).__name__
    for field in fields(item):
        value, name = getattr(item, field.name), f"{path}{field.name}"
        if isinstance(value, np.ndarray):
            yield f"{name}.shape", value.shape
            yield name, np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes()
        elif field.name == "layers":
            for index, layer in enumerate(value):
                yield from _described(layer, f"layers.{index}.")
        elif field.name == "input":
            yield from _described(value, "input.")
        else:
            yield name, value
