"""The description of a tandem network: plain data that rebuilds it but for its parameters.

A checkpoint holds it, so that a model can be rebuilt without running code from the file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, get_args

import numpy as np

from tandem_hw.errors import ConversionError, NetworkError
from tandem_hw.learning.saved.architecture_fields import ARCHITECTURE, INPUT, LAYER, OPTIONS
from tandem_hw.learning.saved.field_rules import Rules, check_fields, shown
from tandem_hw.learning.spiking_options import SpikingOptions
from tandem_hw.network.quantized import InputSpec, Readout
from tandem_hw.network.synapses.geometry import Shape

#: More layers than any chip holds, skips included.
LAYERS_MAX: Final = 1024
#: The source that means the network's input.
FROM_INPUT: Final = -1
#: Fields that layers of earlier files do not have, and what they are then; so are files without.
_LATER_FIELDS: Final[dict[str, Any]] = {
    "ceil_mode": False,
    "ceiling": None,
    "joined": (),
    "pooled_to": (),
    "weight_bits": None,
    "channel_thresholds": False,
}
#: Those among them that came last.
_OF_ITS_OWN: Final = ("weight_bits", "channel_thresholds")
_LATER_KINDS: Final = ("maxpool",)
#: What Python raises where a description has something else in the place of a part.
_OF_OTHER_TYPES: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class LayerSpec:
    """One layer of an architecture; ``tandem_hw.learning.kinds`` says what each kind is.

    Attributes:
        kind: "conv", "conv_transpose", "linear", "avgpool", "maxpool", "sum" (what comes in, as it
            is) or "dropout".
        out: output channels or features; of a pooling, a sum or a dropout 0.
        kernel, stride, padding, dilation: numbers an axis of a convolution or pooling, one or two.
        groups: groups of a convolution.
        bias: whether the layer has a bias of its own.
        norm: whether batch normalisation follows (it is folded into weights and bias).
        norm_eps, norm_momentum, norm_affine: as in ``torch.nn.BatchNorm2d``.
        p: probability of a dropout.
        channels: whether a dropout drops whole channels.
        output_padding: of a transposed convolution.
        pool: window of an average pooling that is folded into a linear layer.
        pooled_to: lengths that an adaptive average pooling gives, whose windows are of several
            sizes and which is folded into a linear layer; () without one.
        ceil_mode: of a max pooling, whether a last window may reach beyond the padding.
        ceiling: largest real activation, where one is cut off as by ReLU6; None where none is.
        source: index of the layer (dropouts included) that it takes its spikes from, or
            ``FROM_INPUT`` for the network's input.
        joined: further layers whose channels come behind those of ``source``, in this order, as
            ``torch.cat`` joins them.
        skips: further synapses onto the same neurons, each with its source.
        weight_bits: width of the weights of the layer and its skips; None for that of all layers.
        channel_thresholds: whether each channel has a threshold of its own
            (``tandem_hw.learning.per_layer.assignment``).
    """

    kind: str
    out: int = 0
    kernel: tuple[int, ...] = (1, 1)
    stride: tuple[int, ...] = (1, 1)
    padding: tuple[int, ...] = (0, 0)
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1
    bias: bool = True
    norm: bool = False
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1
    norm_affine: bool = True
    p: float = 0.0
    channels: bool = False
    output_padding: tuple[int, ...] = (0, 0)
    pool: tuple[int, ...] = (1, 1)
    pooled_to: tuple[int, ...] = ()
    ceil_mode: bool = False
    ceiling: float | None = None
    source: int = FROM_INPUT
    joined: tuple[int, ...] = ()
    skips: tuple[LayerSpec, ...] = ()
    weight_bits: int | None = None
    channel_thresholds: bool = False

    def __post_init__(self) -> None:
        """Turn lists (as JSON has them) into tuples, and NumPy's numbers into Python's."""
        for entry in fields(self):
            object.__setattr__(self, entry.name, _plain(getattr(self, entry.name)))

    @property
    def parts(self) -> tuple[int, ...]:
        """Where the signals of its main synapses come from: one, or several that are joined."""
        return (self.source, *self.joined)

    @property
    def sources(self) -> tuple[int, ...]:
        """Where its signals come from: for its main synapses, then for each skip."""
        return tuple(source for one in (self, *self.skips) for source in one.parts)


def joined_shape(shapes: Sequence[Shape]) -> Shape:
    """Return the shape of samples that are joined along their channels, or flattened as vectors.

    Args:
        shapes: of each part, one or more; images of one size are joined as images.
    """
    first, *others = shapes
    if any(one[1:] != first[1:] for one in others):
        return (sum(math.prod(one) for one in shapes),)
    return (sum(one[0] for one in shapes), *first[1:])


@dataclass(frozen=True)
class Architecture:
    """Everything that rebuilds a tandem network but its parameters.

    Attributes:
        input: what goes in.
        options: what all layers share.
        layers: in order, sources before the layers that they feed; the last one is the readout.
        readout: "potential" or "count".
    """

    input: InputSpec
    options: SpikingOptions
    layers: tuple[LayerSpec, ...]
    readout: Readout = "potential"

    def __post_init__(self) -> None:
        """Check readout, layers and sources; input and options have checked themselves."""
        object.__setattr__(self, "layers", tuple(self.layers))
        for index, layer in enumerate(self.layers):
            _check_layer(index, layer)
        count = sum(len(layer.sources) for layer in self.layers)
        if count > LAYERS_MAX:
            raise ConversionError(
                f"the network has {count} layers and skips; allowed are {LAYERS_MAX} at most"
            )
        if self.readout not in get_args(Readout):
            raise ConversionError(f'readout is "{self.readout}"; allowed are potential, count')
        for index, layer in enumerate(self.layers):
            for source in layer.sources:
                is_number = isinstance(source, int) and not isinstance(source, bool)
                if not is_number or not FROM_INPUT <= source < index:
                    raise ConversionError(
                        f"layer {index} takes its spikes from layer {shown(source)}; allowed are "
                        f"the layers before it, counted from 0, and {FROM_INPUT} for the input"
                    )

    def difference(self, other: Architecture) -> str:
        """Say in what it first differs from another one; "" where both are the same."""
        layers = zip(self.layers, other.layers, strict=False)
        compared: list[tuple[str, Any, Any]] = [
            ("", self.options, other.options),
            ("input ", self.input, other.input),
            *((f"layer {index} with ", *pair) for index, pair in enumerate(layers)),
            ("", self, other),
        ]
        for name, own, others in compared:
            for entry in fields(own):
                found, wanted = getattr(own, entry.name), getattr(others, entry.name)
                if entry.name == "layers":
                    found, wanted = len(found), len(wanted)
                if found != wanted:
                    return f"{name}{entry.name} {found}, not {wanted}"
        return ""

    @property
    def differs_by_layer(self) -> bool:
        """Whether a layer has a width of weights of its own, or thresholds of channels."""
        return any(
            getattr(layer, name) != _LATER_FIELDS[name]
            for layer in self.layers
            for name in _OF_ITS_OWN
        )

    @property
    def is_later(self) -> bool:
        """Whether it has something that earlier versions do not know."""
        return bool(self.options.firing_delay) or any(
            one.kind in _LATER_KINDS
            or any(getattr(one, name) != plain for name, plain in _LATER_FIELDS.items())
            for layer in self.layers
            for one in (layer, *layer.skips)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the architecture as plain data; the layer before is None there, as a source.

        What earlier versions do not know goes without saying where there is none of it.
        """
        content = asdict(self)
        if not self.options.firing_delay:  # which older versions do not know
            del content["options"]["firing_delay"]
        for index, layer in enumerate(content["layers"]):
            if layer["source"] == index - 1:
                layer["source"] = None
            for one in (layer, *layer["skips"]):
                for name, plain in _LATER_FIELDS.items():
                    if one[name] == plain:
                        del one[name]
        return content

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Architecture:
        """Rebuild an architecture from plain data.

        Raises:
            ConversionError: a field is missing, unknown or out of range.
        """
        try:
            check_fields(data, ARCHITECTURE, " of the network")
            count = sum(
                1 + len(one.get("joined", ()))
                for layer in data["layers"]
                for one in (layer, *layer.get("skips", ()))
            )
            if count > LAYERS_MAX:  # before anything is made of them
                raise ValueError(f"{count} layers and skips; {LAYERS_MAX} are allowed")
            spec = dict(data["input"])
            spec["shape"] = tuple(spec["shape"])
            return cls(
                input=_build(InputSpec, spec, INPUT),
                options=_build(SpikingOptions, data["options"], OPTIONS),
                layers=tuple(
                    _build_layer(layer, before)
                    for before, layer in enumerate(data["layers"], start=FROM_INPUT)
                ),
                readout=data["readout"],
            )
        except (*_OF_OTHER_TYPES, NetworkError) as error:
            raise ConversionError(f"the description of the network is damaged: {error}") from error


def _plain(value: Any) -> Any:
    """Return a field as a file holds it."""
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    return value.item() if isinstance(value, np.generic) else value


def _check_layer(index: int, layer: LayerSpec) -> None:
    """Refuse fields of a layer or of a skip that are not what they may be."""
    if not isinstance(layer, LayerSpec):
        raise ConversionError(f"layer {index} is {shown(layer)}, no LayerSpec")
    check_fields(vars(layer), LAYER, f" of layer {index}")
    for number, skip in enumerate(layer.skips, start=1):
        if not isinstance(skip, LayerSpec):
            raise ConversionError(f"skip {number} of layer {index} is {shown(skip)}, no LayerSpec")
        check_fields(vars(skip), LAYER, f" of skip {number} of layer {index}")
        if any(getattr(skip, name) != _LATER_FIELDS[name] for name in _OF_ITS_OWN):
            raise ConversionError(
                f"a skip of layer {index} has {' or '.join(_OF_ITS_OWN)} of its own; it has those "
                f"of its layer"
            )


def _build_layer(data: dict[str, Any], before: int) -> LayerSpec:
    """Rebuild a layer; a source that goes without saying is the layer before it."""
    found = data.get("skips", ())
    # A skip within itself would take for ever, or the whole memory.
    if any(skip.get("skips") for skip in found):
        raise ValueError("a skip has skips of its own")
    skips = tuple(_build_layer(skip, before) for skip in found)
    source = before if data.get("source") is None else data["source"]
    spec: LayerSpec = _build(LayerSpec, data | {"source": source, "skips": skips})
    return spec


def _build(kind: Any, data: dict[str, Any], rules: Rules | None = None) -> Any:
    """Make what fields describe, which judges them; rules say what a file has to hold of them."""
    unknown = data.keys() - {field.name for field in fields(kind)}
    if unknown:
        raise ValueError(f"unknown fields {sorted(map(str, unknown))} in {kind.__name__}")
    built = kind(**data)
    if rules is not None:
        check_fields(data, rules)
    return built
