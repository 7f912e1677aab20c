"""What a forward pass hands on from operation to operation, and what is read of it in the end.

Spikes   what neurons send after a ReLU, or the input: it may be pooled, flattened, dropped out,
         and taken in by synapses
         behind a batch normalisation NormalisedSpikes, until a layer with weights takes that up
Sum      what neurons take in before their ReLU: synapses with their normalisation, added up
Sums     the same of a grouped layer behind a concatenation, for each part of it
Maxima   a max pooling of a sum, whose ReLU is still to come
Ended    a sum behind a softmax, which may only be the result
Refused  what has no counterpart; the message is given once it is used
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import accumulate

from torch import Tensor

from tandem_hw.learning.architecture import FROM_INPUT, LayerSpec, joined_shape
from tandem_hw.network.quantized import Shape


@dataclass(frozen=True)
class WeightOrigin:
    """Where the weights of some synapses come from.

    Attributes:
        path: name of the module in the network, or of the operation.
        parameters: by the names that a tandem layer has for them, the values in effect: "weight",
            "bias", and "norm.weight" and so on of the batch normalisation behind it.
        bias_terms: sum of the magnitudes of what the bias was computed from, [out], where it is
            not the module's own.
    """

    path: str
    parameters: dict[str, Tensor] = field(default_factory=dict)
    bias_terms: Tensor | None = None

    @property
    def has_weights(self) -> bool:
        """Whether there are weights; a sum takes spikes as they are."""
        return "weight" in self.parameters

    def of_channels(self, channels: slice) -> WeightOrigin:
        """Return those of some of the output channels."""
        parameters = {
            name: value[channels] if value.dim() else value
            for name, value in self.parameters.items()
        }
        terms = None if self.bias_terms is None else self.bias_terms[channels]
        return WeightOrigin(self.path, parameters, terms)


@dataclass
class ReadNetwork:
    """An ordinary network as it was read.

    Attributes:
        layers: the layers of the architecture, in order.
        paths: for each layer, dropouts included, its name in the ordinary network.
        results: for each layer, what the ordinary network had behind it, [samples, *shape].
        weight_origins: for each layer with neurons, of its synapses and then of each skip.
        batch: what the network ran on.
        dropped: name of a softmax at the end that is left out, or nothing.
        folded: names of batch normalisations behind a ReLU, which the layers behind them took up.
    """

    batch: Tensor
    layers: list[LayerSpec] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    results: list[Tensor] = field(default_factory=list)
    weight_origins: list[tuple[WeightOrigin, ...]] = field(default_factory=list)
    dropped: str = ""
    folded: list[str] = field(default_factory=list)

    def behind(self, source: int) -> Tensor:
        """Return what the ordinary network had behind a layer, or ``FROM_INPUT`` went in."""
        return self.batch if source == FROM_INPUT else self.results[source]


@dataclass(frozen=True, eq=False)
class Spikes:
    """What some layers send, or an average of it that has no neurons yet.

    Attributes:
        sources: the layer, or several whose channels are joined in this order; ``FROM_INPUT`` is
            the input.
        shapes: of one sample of each, as neurons have it; a tensor may be flattened.
        pool: the average, or None.
        pool_path: its name.
        pool_result: its result, [samples, *shape].
        pooled_to: the lengths that it gives, where its windows are of several sizes, which only a
            fully connected layer can take up; () otherwise.
    """

    sources: tuple[int, ...]
    shapes: tuple[Shape, ...]
    pool: LayerSpec | None = None
    pool_path: str = ""
    pool_result: Tensor | None = None
    pooled_to: tuple[int, ...] = ()

    @property
    def shape(self) -> Shape:
        """Shape of one sample, all layers together."""
        return joined_shape(self.shapes)

    @property
    def is_input(self) -> bool:
        """Whether it is the network's input."""
        return self.sources == (FROM_INPUT,)

    def from_sources(self, spec: LayerSpec) -> LayerSpec:
        """Return a layer that takes these spikes."""
        return replace(spec, source=self.sources[0], joined=self.sources[1:])

    def split(self, values: Tensor) -> list[Tensor]:
        """Part what has the shape of all layers together, [samples, *shape], by the layers."""
        if len(self.shapes) == 1:
            return [values]
        return list(values.split([shape[0] for shape in self.shapes], dim=1))


@dataclass(frozen=True, eq=False)
class NormalisedSpikes:
    """Spikes behind a batch normalisation, which the next layer takes up: gain * x + shift.

    Attributes:
        path: its name and kind.
        spikes: what is normalised.
        gain, shift: float64 [channels].
        before: values of ``spikes``, [samples, *shape].
    """

    path: str
    spikes: Spikes
    gain: Tensor
    shift: Tensor
    before: Tensor


@dataclass(frozen=True, eq=False)
class Sum:
    """What neurons of this shape take in; every term has its source in its specification."""

    path: str
    terms: tuple[tuple[LayerSpec, WeightOrigin], ...]
    shape: Shape


@dataclass(frozen=True, eq=False)
class Sums:
    """What neurons of several layers take in, whose channels are joined in this order."""

    path: str
    parts: tuple[Sum, ...]

    @classmethod
    def of_groups(
        cls, path: str, spec: LayerSpec, origin: WeightOrigin, spikes: Spikes, shape: Shape
    ) -> Sums:
        """Part a grouped layer by the layers that its groups take their spikes from.

        Args:
            path: its name.
            spec: of the layer, without its sources.
            origin: its weights, output channels first.
            spikes: what it takes; each group takes channels of one layer alone.
            shape: of one sample that it gives.
        """
        inputs, outputs = spikes.shape[0] // spec.groups, spec.out // spec.groups
        parts: list[Sum] = []
        first = 0
        for source, taken in zip(spikes.sources, spikes.shapes, strict=True):
            groups = taken[0] // inputs
            out = groups * outputs
            own = replace(spec, out=out, groups=groups, source=source)
            part = origin.of_channels(slice(first, first + out))
            parts.append(Sum(path, ((own, part),), (out, *shape[1:])))
            first += out
        return cls(path, tuple(parts))

    def takes_norm(self, features: int) -> bool:
        """Whether a normalisation of so many features may follow, of which there can be one."""
        own = sum(part.shape[0] for part in self.parts)
        return features == own and not any(part.terms[0][0].norm for part in self.parts)

    def slices(self) -> list[slice]:
        """Return the channels of each part."""
        ends = list(accumulate(part.shape[0] for part in self.parts))
        return [slice(end - part.shape[0], end) for end, part in zip(ends, self.parts, strict=True)]


@dataclass(frozen=True, eq=False)
class Maxima:
    """The max pooling ``spec`` of a sum: behind a ReLU it is that of spikes.

    Attributes:
        path: its name.
        spec: the pooling, without its source.
        value: what is pooled.
        before: its values, [samples, *value.shape].
    """

    path: str
    spec: LayerSpec
    value: Sum
    before: Tensor


@dataclass(frozen=True, eq=False)
class Ended:
    """A softmax of a sum; ``what`` names it, and ``logits`` is what went into it."""

    what: str
    value: Sum
    logits: Tensor


@dataclass(frozen=True, eq=False)
class Refused:
    """The result of something without a counterpart; without messages they were given already."""

    messages: tuple[str, ...] = ()


Value = Spikes | NormalisedSpikes | Sum | Sums | Maxima | Ended | Refused
