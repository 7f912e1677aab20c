"""The tandem network: a chain of tandem layers with its input encoding, and its description.

The description (``TandemNetwork.architecture``) is plain data, so that a checkpoint can rebuild the
model without running code from the file.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_args

import torch
from torch import Tensor, nn

from tandem_hw.errors import ConversionError, NetworkError
from tandem_hw.fixed_point import DECAY_UNITY, NUM_STEPS_MAX, check_decay
from tandem_hw.learning.layers import (
    Observer,
    SpikingOptions,
    TandemConv2d,
    TandemDropout,
    TandemLayer,
    TandemLinear,
    TandemSignal,
    Twin,
)
from tandem_hw.network import InputSpec, Readout, Reset
from tandem_hw.neurons import LayerActivity, SpikeTrain
from tandem_hw.synapses import ConvGeometry


@dataclass(frozen=True)
class LayerSpec:
    """One layer of an architecture.

    Attributes:
        kind: "conv", "linear" or "dropout".
        out: output channels or features.
        kernel, stride, padding, dilation: pairs (y, x) of a convolution.
        groups: groups of a convolution.
        bias: whether the layer has a bias of its own.
        norm: whether batch normalisation follows (it is folded into weights and bias).
        norm_eps, norm_momentum, norm_affine: as in ``torch.nn.BatchNorm2d``.
        p: probability of a dropout.
        channels: whether a dropout drops whole channels.
    """

    kind: str
    out: int = 0
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    bias: bool = True
    norm: bool = False
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1
    norm_affine: bool = True
    p: float = 0.0
    channels: bool = False

    def __post_init__(self) -> None:
        """Refuse a kind that does not exist, and turn lists (as JSON has them) into tuples."""
        if self.kind not in ("conv", "linear", "dropout"):
            raise ConversionError(f'layer kind "{self.kind}" is not known; this file is damaged')
        for name in ("kernel", "stride", "padding", "dilation"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape that goes out when ``shape`` comes in."""
        if self.kind == "dropout":
            return shape
        if self.kind == "linear":
            return (self.out,)
        sizes = zip(shape[1:], self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return (self.out, *((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes))


@dataclass(frozen=True)
class Architecture:
    """Everything that rebuilds a tandem network but its parameters.

    Attributes:
        input: what goes in.
        options: what all layers share.
        layers: in order; the last one is linear and is the readout.
        readout: "potential" or "count".
    """

    input: InputSpec
    options: SpikingOptions
    layers: tuple[LayerSpec, ...]
    readout: Readout = "potential"

    def __post_init__(self) -> None:
        """Check the options."""
        object.__setattr__(self, "layers", tuple(self.layers))
        choices = {"reset": get_args(Reset), "twin": get_args(Twin)}
        for name, allowed in choices.items():
            if getattr(self.options, name) not in allowed:
                raise ConversionError(
                    f'{name} is "{getattr(self.options, name)}"; allowed are {", ".join(allowed)}'
                )
        if self.readout not in get_args(Readout):
            raise ConversionError(f'readout is "{self.readout}"; allowed are potential, count')
        if not 1 <= self.options.num_steps <= NUM_STEPS_MAX:
            raise ConversionError(
                f"num_steps is {self.options.num_steps}; allowed are 1 to {NUM_STEPS_MAX}"
            )
        if not 2 <= self.options.weight_bits <= 8:
            raise ConversionError(f"weight_bits is {self.options.weight_bits}; allowed are 2 to 8")
        self._check_leak()
        if not (math.isfinite(self.options.activation_max) and self.options.activation_max > 0):
            raise ConversionError("activation_max must be a positive number")

    def _check_leak(self) -> None:
        current, voltage = self.options.current_decay, self.options.voltage_decay
        try:
            check_decay(operator.index(current), operator.index(voltage))
        except (NetworkError, TypeError) as error:
            raise ConversionError(f"the decays must be integers in range: {error}") from error
        if self.options.reset != "zero" and (current, voltage) != (DECAY_UNITY, 0):
            raise ConversionError(
                f"current_decay {current} and voltage_decay {voltage} are not possible with reset "
                f'"{self.options.reset}"; only neurons with reset "zero" leak'
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the architecture as plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Architecture:
        """Rebuild an architecture from plain data.

        Raises:
            ConversionError: a field is missing, unknown or out of range.
        """
        try:
            spec = dict(data["input"])
            spec["shape"] = tuple(spec["shape"])
            return cls(
                input=_build(InputSpec, spec),
                options=_build(SpikingOptions, data["options"]),
                layers=tuple(_build(LayerSpec, layer) for layer in data["layers"]),
                readout=data["readout"],
            )
        except (KeyError, TypeError, ValueError, NetworkError) as error:
            raise ConversionError(f"the description of the network is damaged: {error}") from error


def _build(kind: Any, data: dict[str, Any]) -> Any:
    unknown = set(data) - {field.name for field in fields(kind)}
    if unknown:
        raise ValueError(f"unknown fields {sorted(unknown)} in {kind.__name__}")
    return kind(**data)


@dataclass
class LayerCounts:
    """What a forward pass recorded, for comparison with a backend.

    Attributes:
        counts: per firing layer float32 [batch, *shape].
        potential: the readout's integer potential [batch, outputs], or None where it is counted.
    """

    counts: dict[str, Tensor] = field(default_factory=dict)
    potential: Tensor | None = None

    def add(self, layer: TandemLayer, activity: LayerActivity) -> None:
        """Keep what one layer did."""
        if activity.counts is None:
            self.potential = activity.potential
        else:
            self.counts[layer.name] = activity.counts


class TandemNetwork(nn.Module):
    """A network of integrate-and-fire neurons, trained by the tandem rule on its own integers.

    ``forward`` takes the integers that the chip is sent, uint8 [batch, *sample_shape] (see
    ``tandem_hw.quantize_inputs``), and returns logits, float32 [batch, outputs]: the readout's
    integer potential times its real unit, or its spike counts.

    Attributes:
        architecture: what rebuilds this model.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        modules: list[nn.Module] = []
        shape: tuple[int, ...] = architecture.input.shape
        last = max(index for index, spec in enumerate(architecture.layers) if spec.kind == "linear")
        for index, spec in enumerate(architecture.layers):
            fires = index != last or architecture.readout == "count"
            number = 1 + sum(isinstance(module, TandemLayer) for module in modules)
            modules.append(_make_layer(spec, number, shape, architecture.options, fires))
            shape = spec.output_shape(shape)
        self.layers = nn.ModuleList(modules)

    @property
    def tandem_layers(self) -> list[TandemLayer]:
        """The layers that have weights, in order."""
        return [module for module in self.layers if isinstance(module, TandemLayer)]

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample; with encoding "events" the window's steps come first."""
        spec, steps = self.architecture.input, (self.architecture.options.num_steps,)
        return (*steps, *spec.shape) if spec.encoding == "events" else spec.shape

    def encode(self, inputs: Tensor) -> TandemSignal:
        """Turn integer inputs into the signal of the first layer.

        Args:
            inputs: uint8 [batch, *sample_shape].

        Raises:
            ConversionError: another dtype or shape.
        """
        spec = self.architecture.input
        if inputs.dtype != torch.uint8:
            raise ConversionError(
                f"the model takes the integers that the chip is sent, found {inputs.dtype}; "
                f"use tandem_hw.quantize_inputs(images, bits={spec.bits}, scale={spec.scale:.6g})"
            )
        if tuple(inputs.shape[1:]) != self.sample_shape:
            raise ConversionError(
                f"a sample has shape {tuple(inputs.shape[1:])}; the model takes {self.sample_shape}"
            )
        train = SpikeTrain.of_input(inputs, spec.encoding)
        counts = inputs.to(torch.float32) * self._sends
        if spec.encoding == "events":
            counts = counts.sum(dim=1)
        return TandemSignal(counts, train, self.input_scale, spec.largest)

    def forward(self, inputs: Tensor, observe: Observer | None = None) -> Tensor:
        """Return the logits; see the class.

        Args:
            inputs: uint8 [batch, *sample_shape].
            observe: told what the integer neurons of each layer did.
        """
        signal = self.encode(inputs)
        for module in self.layers:
            has_neurons = isinstance(module, TandemLayer)
            signal = module(signal, observe) if has_neurons else module(signal)
            if isinstance(signal, Tensor):
                return signal
        return signal.counts

    @torch.no_grad()
    def record(self, inputs: Tensor) -> LayerCounts:
        """Return the spike counts of every layer and the readout's integer potential.

        Args:
            inputs: uint8 [batch, *sample_shape].
        """
        recorded = LayerCounts()
        self(inputs, recorded.add)
        return recorded

    @property
    def input_scale(self) -> float:
        """Real value of one count that the input sends over a window."""
        return self.architecture.input.scale / self._sends

    @property
    def _sends(self) -> int:
        """How often an input is sent in a window."""
        constant = self.architecture.input.encoding == "constant"
        return self.architecture.options.num_steps if constant else 1


def _make_layer(
    spec: LayerSpec, number: int, shape: Sequence[int], options: SpikingOptions, fires: bool
) -> nn.Module:
    """Make one layer with PyTorch's own initial values."""
    if spec.kind == "dropout":
        return TandemDropout(spec.p, spec.channels)
    norm_class = nn.BatchNorm2d if spec.kind == "conv" else nn.BatchNorm1d
    norm = None
    if spec.norm:
        norm = norm_class(spec.out, spec.norm_eps, spec.norm_momentum, spec.norm_affine)
    if spec.kind == "linear":
        linear = nn.Linear(math.prod(shape), spec.out, spec.bias)
        return TandemLinear(f"dense{number}", options, linear.weight.data, linear.bias, norm, fires)
    conv = nn.Conv2d(shape[0], spec.out, spec.kernel, groups=spec.groups, bias=spec.bias)
    geometry = ConvGeometry(spec.stride, spec.padding, spec.dilation, spec.groups)
    return TandemConv2d(
        f"conv{number}", options, conv.weight.data, conv.bias, norm, fires, geometry=geometry
    )
