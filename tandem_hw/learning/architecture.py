"""The description of a tandem network: plain data that rebuilds it but for its parameters.

A checkpoint holds it, so that a model can be rebuilt without running code from the file.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Final, get_args

from tandem_hw.errors import ConversionError, NetworkError
from tandem_hw.learning.spiking_options import SpikingOptions
from tandem_hw.network.quantized import InputSpec, Readout

#: What a layer can be.
KINDS: Final = ("conv", "conv_transpose", "linear", "avgpool", "sum", "dropout")
#: More layers than any chip holds, skips included.
LAYERS_MAX: Final = 1024
#: Weights of a linear layer behind a pooling that is folded into them, which multiplies them.
FOLDED_MAX: Final = 1 << 25
#: The source that means the network's input.
FROM_INPUT: Final = -1


@dataclass(frozen=True)
class LayerSpec:
    """One layer of an architecture.

    Attributes:
        kind: "conv", "conv_transpose", "linear", "avgpool", "sum" (what comes in, as it is) or
            "dropout".
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
        source: index of the layer (dropouts included) that it takes its spikes from, -1 for the
            network's input; None for the layer before it.
        skips: further synapses onto the same neurons, each with its source.
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
    source: int | None = None
    skips: tuple[LayerSpec, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a kind that does not exist, and turn lists (as JSON has them) into tuples."""
        if self.kind not in KINDS:
            raise ConversionError(f'layer kind "{self.kind}" is not known; this file is damaged')
        for name in ("kernel", "stride", "padding", "dilation", "output_padding", "pool", "skips"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape that goes out when ``shape`` comes in."""
        if self.kind in ("dropout", "sum"):
            return shape
        if self.kind == "linear":
            return (self.out,)
        channels = shape[0] if self.kind == "avgpool" else self.out
        axes = zip(shape[1:], self.kernel, self.stride, self.padding, self.dilation, strict=True)
        if self.kind == "conv_transpose":
            added = self.output_padding
            lengths = [
                (n - 1) * s - 2 * p + d * (k - 1) + 1 + more
                for (n, k, s, p, d), more in zip(axes, added, strict=True)
            ]
        else:
            lengths = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes]
        return (channels, *lengths)


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
        """Check the readout; the options have checked themselves."""
        object.__setattr__(self, "layers", tuple(self.layers))
        count = sum(1 + len(layer.skips) for layer in self.layers)
        if count > LAYERS_MAX:
            raise ConversionError(
                f"the network has {count} layers and skips; allowed are {LAYERS_MAX} at most"
            )
        if self.readout not in get_args(Readout):
            raise ConversionError(f'readout is "{self.readout}"; allowed are potential, count')

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
            count = sum(1 + len(layer.get("skips", ())) for layer in data["layers"])
            if count > LAYERS_MAX:  # before anything is made of them
                raise ValueError(f"{count} layers and skips; {LAYERS_MAX} are allowed")
            spec = dict(data["input"])
            spec["shape"] = tuple(spec["shape"])
            return cls(
                input=_build(InputSpec, spec),
                options=_build(SpikingOptions, data["options"]),
                layers=tuple(_build_layer(layer) for layer in data["layers"]),
                readout=data["readout"],
            )
        except (AttributeError, KeyError, TypeError, ValueError, NetworkError) as error:
            raise ConversionError(f"the description of the network is damaged: {error}") from error


def _build_layer(data: dict[str, Any]) -> LayerSpec:
    found = data.get("skips", ())
    # A skip within itself would take for ever, or the whole memory.
    if any(skip.get("skips") for skip in found):
        raise ValueError("a skip has skips of its own")
    skips = tuple(_build_layer(skip) for skip in found)
    spec: LayerSpec = _build(LayerSpec, data | {"skips": skips})
    return spec


def _build(kind: Any, data: dict[str, Any]) -> Any:
    unknown = set(data) - {field.name for field in fields(kind)}
    if unknown:
        raise ValueError(f"unknown fields {sorted(unknown)} in {kind.__name__}")
    return kind(**data)
