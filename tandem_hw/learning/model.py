"""The tandem network: tandem layers as its architecture connects them, with the input encoding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from tandem_hw.arithmetic.deferred_checks import DeferredChecks
from tandem_hw.arithmetic.neurons import LayerActivity, SpikeTrain
from tandem_hw.counted import counted
from tandem_hw.errors import ConversionError
from tandem_hw.html_table import html_table
from tandem_hw.learning.architecture import FROM_INPUT, Architecture, LayerSpec, joined_shape
from tandem_hw.learning.kinds.catalogue import kind_of
from tandem_hw.learning.kinds.kind import LayerKind, ObservedNeurons
from tandem_hw.learning.kinds.max_pooling import TandemMaxPool
from tandem_hw.learning.layers import Observer, SpikingOptions, TandemLayer, TandemSignal
from tandem_hw.learning.passes.deferred_pass import DeferredPass, may_be_deferred
from tandem_hw.learning.per_layer.assignment import check_channel_thresholds
from tandem_hw.learning.precision import check_precision
from tandem_hw.learning.quantizer import IntegerParameters
from tandem_hw.network.output_meaning import OutputMeaning
from tandem_hw.network.quantized import Shape
from tandem_hw.network.synapses.geometry import LENGTH_MAX, VALUES_MAX

__all__ = [
    "Architecture",
    "LayerCounts",
    "LayerSpec",
    "TandemNetwork",
    "check_tandem",
    "make_layer",
]


@dataclass
class LayerCounts:
    """What a forward pass recorded, for comparison with a backend.

    Attributes:
        counts: per firing layer float32 [batch, *shape].
        potential: the readout's integer potential [batch, outputs], or None where it is counted.
    """

    counts: dict[str, Tensor] = field(default_factory=dict)
    potential: Tensor | None = None

    def add(
        self, layer: ObservedNeurons, activity: LayerActivity, integers: IntegerParameters
    ) -> None:
        """Keep what one layer did."""
        if activity.counts is None:
            assert activity.potential is not None  # a readout
            self.potential = activity.potential.flatten(1)
        else:
            self.counts[layer.name] = activity.counts


class TandemNetwork(nn.Module):
    """A network of integrate-and-fire neurons, trained by the tandem rule on its own integers.

    ``forward`` takes the integers that the chip is sent, uint8 [batch, *sample_shape] (see
    ``tandem_hw.quantize_inputs``), and returns logits, float32 [batch, outputs]: the readout's
    integer potential times its real unit, or its spike counts.

    It is made in float32, whatever ``torch.get_default_dtype()`` is, and is as exact after
    ``double()``; see ``tandem_hw.learning.precision``.

    Attributes:
        architecture: what rebuilds this model.
        layers: a module for each layer of the architecture.
        launches_whole_passes: on a GPU, record the passes of a training and launch them as a whole
            (``tandem_hw.learning.passes``): several times faster, for some more memory. A second
            backward pass through one output is refused then.
        meaning: what the outputs mean, which ``train`` says and checkpoints and networks that are
            made of it keep; None where nobody has said.
    """

    launches_whole_passes: bool = True
    meaning: OutputMeaning | None = None

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        check_channel_thresholds(architecture.layers)
        self.architecture = architecture
        modules: list[LayerKind] = []
        shapes: list[Shape] = []
        last = len(architecture.layers) - 1
        for index, spec in enumerate(architecture.layers):
            fires = index != last or architecture.readout == "count"
            number = 1 + sum(module.has_neurons for module in modules)
            incoming = [self._shape(source, shapes) for source in self.sources(index)]
            modules.append(make_layer(spec, number, incoming, architecture.options, fires))
            shapes.append(_checked_shape(index, spec, incoming))
            if isinstance(modules[-1], TandemLayer):
                modules[-1].number = math.prod(shapes[-1])
        if not modules or not isinstance(modules[-1], TandemLayer):
            raise ConversionError(
                f"the last of {counted(len(modules), 'layer')} has no synapses, so there is no "
                f"result; end "
                f"the network with a layer that has"
            )
        self.layers = nn.ModuleList(modules)
        self._deferred = DeferredPass()
        self._shapes = tuple(shapes)

    def __repr__(self) -> str:
        """Say in one line what the network is; its modules are in ``layers``."""
        spec, options = self.architecture.input, self.architecture.options
        parameters = sum(parameter.numel() for parameter in self.parameters())
        delay = options.firing_delay
        return (
            f"TandemNetwork(input {spec.shape}, {counted(len(self.tandem_layers), 'layer')} with "
            f"neurons, {parameters} parameters, num_steps {options.num_steps}, reset "
            f"{options.reset}, readout {self.architecture.readout}"
            f"{f', firing_delay {delay}' if delay else ''})"
        )

    def _repr_html_(self) -> str:
        """Return a table of the layers, for notebooks."""
        rows = []
        for module, shape in zip(self.layers, self._shapes, strict=True):
            name = module.name if isinstance(module, TandemLayer | TandemMaxPool) else None
            parameters = sum(parameter.numel() for parameter in module.parameters())
            rows.append((name, type(module).__name__, "×".join(map(str, shape)), parameters))
        return html_table(repr(self), ("layer", "kind", "output", "parameters"), rows)

    def _shape(self, source: int, shapes: list[Shape]) -> Shape:
        return self.architecture.input.shape if source == FROM_INPUT else shapes[source]

    def sources(self, index: int) -> tuple[int, ...]:
        """Return where a layer's signals come from: for its main synapses, then for each skip.

        Args:
            index: index of the layer in ``layers``.

        Returns:
            Indices of ``layers``, or ``FROM_INPUT``.
        """
        return self.architecture.layers[index].sources

    def origins(self, index: int) -> tuple[int, ...]:
        """Return whose neurons fire behind a layer's signals; a dropout passes them on.

        Args:
            index: index of the layer in ``layers``.

        Returns:
            As ``sources``, but only layers with neurons.
        """
        return tuple(self._origin(source) for source in self.sources(index))

    def _origin(self, source: int) -> int:
        if source == FROM_INPUT or kind_of(self.architecture.layers[source]).has_neurons:
            return source
        (origin,) = self.origins(source)
        return origin

    @property
    def tandem_layers(self) -> list[TandemLayer]:
        """The layers that have neurons, in order."""
        return [module for module in self.layers if isinstance(module, TandemLayer)]

    @property
    def outputs(self) -> int:
        """Number of values that ``forward`` returns a sample."""
        return math.prod(self.output_shape)

    @property
    def output_shape(self) -> Shape:
        """Shape of the last layer's neurons, which ``forward`` returns flattened."""
        return self._shapes[-1]

    @property
    def sample_shape(self) -> Shape:
        """Shape of one sample (``InputSpec.sample_shape``)."""
        return self.architecture.input.sample_shape(self.architecture.options.num_steps)

    def check_precision(self) -> None:
        """Refuse parameters with too few digits.

        Raises:
            ConversionError: a layer is not all float32 or all float64; the message says what to do.
        """
        for layer in self.tandem_layers:
            check_precision(layer.name, layer)

    def encode(self, inputs: Tensor, checks: DeferredChecks | None = None) -> TandemSignal:
        """Turn integer inputs into the signal of the first layer.

        Args:
            inputs: uint8 [batch, *sample_shape].
            checks: takes up whether an integer is beyond ``input_bits``, which is read here
                otherwise.

        Raises:
            ConversionError: another dtype or shape, or an integer beyond ``input_bits``.
        """
        spec = self.architecture.input
        if not isinstance(inputs, Tensor):
            raise ConversionError(
                f"the model takes a PyTorch tensor, found {type(inputs).__name__}; of a NumPy "
                f"array give torch.from_numpy(array)"
            )
        if inputs.dtype != torch.uint8:
            raise ConversionError(
                f"the model takes the integers that the chip is sent, found {inputs.dtype}; "
                f"use tandem_hw.quantize_inputs(images, bits={spec.bits}, scale={spec.scale:.6g})"
            )
        if tuple(inputs.shape[1:]) != self.sample_shape:
            raise ConversionError(
                f"a sample has shape {tuple(inputs.shape[1:])}; the model takes {self.sample_shape}"
            )
        # One maximum a batch: values beyond would train, and be cut off or refused on the chip.
        if spec.largest < torch.iinfo(torch.uint8).max and len(inputs):
            found = inputs.max()
            if checks is not None:
                checks.fail_if(found > spec.largest)
            elif found > spec.largest:
                raise ConversionError(
                    f"the inputs reach {int(found)}, but {spec.bits} bits end at {spec.largest}; "
                    f"use tandem_hw.quantize_inputs(images, bits={spec.bits}, "
                    f"scale={spec.scale:.6g}), or convert with input_bits=8"
                )
        train = SpikeTrain.of_input(inputs, spec, self.architecture.options.num_steps)
        counts = inputs.to(torch.float32) * self._sends
        if spec.takes_events:
            counts = counts.sum(dim=1)
        return TandemSignal(counts, train, self.input_scale, spec.largest)

    def forward(
        self, inputs: Tensor, observe: Observer | None = None, *, spiking: int | None = None
    ) -> Tensor:
        """Return the logits; see the class.

        Args:
            inputs: uint8 [batch, *sample_shape].
            observe: told what the integer neurons of each layer did.
            spiking: how many of the first ``tandem_layers`` spike, the others being the ordinary
                network on real weights; None for all of them, which is what is exported. 0 is the
                ordinary ReLU network, on inputs of ``input_bits``.
        """
        run = partial(self._run, spiking=spiking)
        if isinstance(inputs, Tensor) and may_be_deferred(self, inputs):
            return self._deferred.run(self, inputs, run, observe, spiking)
        return run(inputs, observe)

    def _apply(self, fn: Any, recurse: bool = True) -> TandemNetwork:
        """Move the parameters, as ``to`` and ``double`` do; recorded passes do not go with them."""
        self._deferred.recordings.clear()
        moved: TandemNetwork = super()._apply(fn, recurse)  # type: ignore[no-untyped-call, unused-ignore]
        return moved

    def _run(
        self,
        inputs: Tensor,
        observe: Observer | None,
        checks: DeferredChecks | None = None,
        *,
        spiking: int | None,
    ) -> Tensor:
        """Run the layers once; with ``checks`` no number is read from the device."""
        signals: dict[int, TandemSignal] = {FROM_INPUT: self.encode(inputs, checks)}
        numbers = {layer: number for number, layer in enumerate(self.tandem_layers)}
        for index, module in enumerate(self.layers):
            incoming = [signals[source] for source in self.sources(index)]
            if not isinstance(module, TandemLayer):
                signals[index] = module(incoming[0], observe)
                continue
            spikes = spiking is None or numbers[module] < spiking
            result = module(incoming, observe, spiking=spikes, checks=checks)
            if isinstance(result, Tensor):
                return result.flatten(1)
            signals[index] = result
            for source in [source for source in signals if self._last_use[source] <= index]:
                del signals[source]
        counts: Tensor = result.counts.flatten(1)
        return counts

    @cached_property
    def _last_use(self) -> dict[int, int]:
        """By layer, the last layer that takes its signal; a signal is kept until then."""
        last = {index: index for index in range(FROM_INPUT, len(self.layers))}
        for index in range(len(self.layers)):
            for source in self.sources(index):
                last[source] = max(last[source], index)
        last[len(self.layers) - 1] = len(self.layers)
        return last

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
        return self.architecture.input.sends(self.architecture.options.num_steps)


def _checked_shape(index: int, spec: LayerSpec, incoming: Sequence[Shape]) -> Shape:
    """Return the shape that goes out of a layer.

    Args:
        index: of the layer, for messages.
        spec: the layer.
        incoming: shape of one sample that comes in, for each of ``spec.sources``.

    Raises:
        ConversionError: there is no such shape, it is too large, or a skip ends in another one.
    """
    coming = iter(incoming)
    shapes = [
        kind_of(one).output_shape(one, joined_shape([next(coming) for _ in one.parts]))
        for one in (spec, *spec.skips)
    ]
    shape, *others = shapes
    if min(shape) < 1 or max(shape) > LENGTH_MAX or math.prod(shape) > VALUES_MAX:
        raise ConversionError(
            f"layer {index}, a {spec.kind}, gives samples of shape {shape} where {incoming[0]} "
            f"comes in; allowed are numbers from 1 to {LENGTH_MAX}, and {VALUES_MAX} values"
        )
    if any(other != shape for other in others):
        raise ConversionError(
            f"layer {index} has neurons of shape {shape}, and its skips end in {others}; they "
            f"have to be the same"
        )
    return shape


def check_tandem(model: Any) -> None:
    """Refuse what is no tandem network, such as an ordinary one that is not converted yet.

    Raises:
        ConversionError: says what it is.
    """
    if not isinstance(model, TandemNetwork):
        raise ConversionError(
            f"the model is a {type(model).__name__}, not a tandem network; tandem_hw.convert makes "
            f"one of an ordinary network"
        )


def make_layer(
    spec: LayerSpec,
    number: int,
    shapes: Sequence[Shape],
    options: SpikingOptions,
    fires: bool,
) -> LayerKind:
    """Make one layer with PyTorch's own initial values.

    Args:
        spec: what to make.
        number: counts the layers with neurons, from 1; part of the name.
        shapes: shape of one sample that comes in, for each of ``spec.sources``.
        options: what all layers share.
        fires: False for a readout by potential.

    Raises:
        ConversionError: there is no such kind, or no such layer of it.
    """
    coming = iter(shapes)
    own = [[next(coming) for _ in one.parts] for one in (spec, *spec.skips)]
    if spec.weight_bits is not None:
        options = replace(options, weight_bits=spec.weight_bits)
    layer = _make(spec, f"{kind_of(spec).short_name}{number}", own[0], options, fires)
    if isinstance(layer, TandemLayer) and spec.ceiling is not None:
        layer.ceiling = spec.ceiling
        layer.activation_max.data.fill_(spec.ceiling)
    for index, (skip, taken) in enumerate(zip(spec.skips, own[1:], strict=True), start=1):
        if not isinstance(layer, TandemLayer):
            raise ConversionError(f"a {spec.kind} has skips, but no neurons that they could end in")
        module = _make(skip, f"{layer.name}.skip{index}", taken, options, False)
        if not isinstance(module, TandemLayer):
            raise ConversionError(
                f"{layer.name}.skip{index} is a {skip.kind}, which has no synapses"
            )
        layer.skips.append(module)
    if spec.channel_thresholds and isinstance(layer, TandemLayer):
        layer.part_thresholds(kind_of(spec).output_shape(spec, joined_shape(own[0]))[0])
    return layer


def _make(
    spec: LayerSpec, name: str, shapes: Sequence[Shape], options: SpikingOptions, fires: bool
) -> LayerKind:
    """Make a layer or a skip, without skips of its own."""
    layer = kind_of(spec).from_spec(spec, name, joined_shape(shapes), options, fires)
    if len(shapes) > 1:
        if not isinstance(layer, TandemLayer) or not layer.takes_parts:
            raise ConversionError(
                f"{name} is a {spec.kind} of {counted(spec.groups, 'group')}, which takes the "
                f"spikes of one "
                f"layer, not of {len(shapes)} that are joined"
            )
        layer.parts = layer.parts_of(shapes)
    return layer
