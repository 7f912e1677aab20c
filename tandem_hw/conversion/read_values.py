"""What a forward pass hands on from operation to operation, and what is read of it in the end.

Spikes   what neurons send after a ReLU, or the input: it may be pooled, flattened, dropped out,
         and taken in by synapses
         behind a batch normalisation NormalisedSpikes, until a layer with weights takes that up
Sum      what neurons take in before their ReLU: synapses with their normalisation, added up
Maxima   a max pooling of a sum, whose ReLU is still to come
Ended    a sum behind a softmax, which may only be the result
Refused  what has no counterpart; the message is given once it is used
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

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


Value = Spikes | NormalisedSpikes | Sum | Maxima | Ended | Refused
