"""Max pooling: one layer of the tandem network, several of neurons in the quantized one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from tandem_hw.arithmetic.memory_order import MemoryOrder
from tandem_hw.arithmetic.neurons import Incoming, NeuronParameters, Train, simulate_layer
from tandem_hw.arithmetic.spikes.counted_spikes import CountedSpikes
from tandem_hw.arithmetic.synapses import synapse_of
from tandem_hw.errors import ConversionError
from tandem_hw.learning.architecture import LayerSpec
from tandem_hw.learning.kinds.kind import LayerKind, Observer
from tandem_hw.learning.kinds.max_pooling_neurons import PoolingWindow, max_pooling_layers
from tandem_hw.learning.quantizer import IntegerParameters
from tandem_hw.learning.signals import TandemSignal
from tandem_hw.learning.spiking_options import SpikingOptions
from tandem_hw.network.choices import is_phased
from tandem_hw.network.layers import INPUT_SOURCE, Layer
from tandem_hw.network.synapses.geometry import Shape

#: By the number of axes.
MAX_POOLINGS: Final[dict[int, Callable[..., Tensor]]] = {1: F.max_pool1d, 2: F.max_pool2d}


class TandemMaxPool(LayerKind):
    """Max pooling of counts, with max pooling's own gradient.

    It has no parameters: its neurons' weights and thresholds are fixed, and a count has the same
    real value behind it as before. They do what ``max_pooling_layers`` says, and an observer is
    told of each of them in evaluation; a training computes the maxima alone.

    Attributes:
        name: of the last of its layers, unique within the network.
        channels: of what comes in.
        windows: along each axis.
    """

    short_name: ClassVar[str] = "maxpool"
    has_neurons: ClassVar[bool] = True

    def __init__(self, name: str, spec: LayerSpec, shape: Shape, options: SpikingOptions) -> None:
        super().__init__()
        self.name = name
        self.options = options
        self.channels = shape[0]
        self.windows = _windows(spec, shape)
        self._arguments: tuple[Any, ...] = (
            *(spec.kernel, spec.stride, spec.padding, spec.dilation, spec.ceil_mode),
        )

    @classmethod
    def output_shape(cls, spec: LayerSpec, shape: Shape) -> Shape:
        """Return (channels, *lengths)."""
        return (shape[0], *(window.number for window in _windows(spec, shape)))

    @classmethod
    def from_spec(
        cls, spec: LayerSpec, name: str, shape: Shape, options: SpikingOptions, fires: bool
    ) -> TandemMaxPool:
        """Make one; see ``LayerKind``."""
        windows = _windows(spec, shape)
        if any(window.number < 1 or window.sees_nothing for window in windows):
            raise ConversionError(
                f"layer {name}: a window of the max pooling {spec.kernel} sees nothing of samples "
                f"of shape {shape}; use a smaller kernel or dilation"
            )
        if not can_pool_maxima(options):
            raise ConversionError(f"layer {name} is a max pooling, {NOT_PHASED}")
        return cls(name, spec, shape, options)

    def forward(self, signal: TandemSignal, observe: Observer | None = None) -> TandemSignal:
        """Return the maxima.

        Args:
            signal: what comes in.
            observe: told what the neurons of each layer did, in evaluation.
        """
        pool = MAX_POOLINGS[len(self.windows)]  # no attribute, since pickle takes no such function
        counts = pool(signal.counts, *self._arguments)
        if signal.train is None:
            return replace(signal, counts=counts)
        if observe is not None and not self.training:
            train = self._observed(signal.train, observe)
        else:
            order = MemoryOrder.of(counts)
            dtype = CountedSpikes.dtype_for(self.options.num_steps)
            train = CountedSpikes(
                order.flat(counts.detach()).to(dtype), self.options.num_steps, order
            )
        return replace(signal, counts=counts, train=train)

    def integer_layers(self, source: str) -> tuple[Layer, ...]:
        """Return its layers as a quantized network has them.

        Args:
            source: name of the layer that is pooled.
        """
        return max_pooling_layers(self.name, source, self.channels, self.windows)

    @torch.no_grad()
    def _observed(self, train: Train, observe: Observer) -> Train:
        """Run the neurons, tell what each layer did, and return what the last one sends."""
        sent: dict[str, Train] = {INPUT_SOURCE: train}
        for layer in self.integer_layers(INPUT_SOURCE):
            neurons = NeuronParameters.of_layer(
                layer,
                self.options.reset,
                proven=True,  # at most a spike of each source a step, and num_steps of them
                firing_delay=self.options.firing_delay,
                device=train.device,
            )
            incoming = [
                Incoming(sent[one.source], synapse_of(one.synapses, train.device))
                for one in layer.inputs
            ]
            activity = simulate_layer(incoming, neurons, self.options.num_steps)
            observe(_Neurons(layer), activity, _integers(layer))
            assert activity.train is not None  # it fires
            sent[layer.name] = activity.train
        return sent[self.name]


#: Why a network cannot have a max pooling, and what to do.
NOT_PHASED: Final = (
    "whose neurons need to know the whole counts before they fire; it is exact with "
    'firing_delay="phased" (num_steps - 1) and reset "subtract" alone: convert with these (at the '
    "command line --firing-delay phased), or use average pooling, or a stride of 2 in the "
    "convolution before it"
)


def can_pool_maxima(options: SpikingOptions) -> bool:
    """Whether neurons of a network take in whole windows, as those of a max pooling need."""
    return options.reset == "subtract" and is_phased(options.firing_delay, options.num_steps)


@dataclass(frozen=True)
class _Neurons:
    """One layer of a max pooling, for an observer."""

    layer: Layer

    @property
    def name(self) -> str:
        return self.layer.name

    def bias_image(self, bias: Tensor) -> Tensor:
        return bias.reshape(-1, *([1] * (len(self.layer.output_shape) - 1)))


def _integers(layer: Layer) -> IntegerParameters:
    assert layer.neurons.threshold is not None  # it fires
    weights = tuple(torch.from_numpy(one.weight.astype("f8")) for one in layer.synapses)
    threshold = torch.tensor(float(layer.neurons.threshold), dtype=torch.float64)
    bias = torch.from_numpy(layer.neurons.bias.astype("f8"))
    return IntegerParameters(weights, bias, threshold, 1 / threshold)


def _windows(spec: LayerSpec, shape: Shape) -> tuple[PoolingWindow, ...]:
    numbers = (spec.kernel, spec.stride, spec.padding, spec.dilation)
    if len(spec.kernel) not in MAX_POOLINGS or any(len(one) != len(shape) - 1 for one in numbers):
        raise ConversionError(
            f"a max pooling of the kernel {spec.kernel}, stride {spec.stride}, padding "
            f"{spec.padding} and dilation {spec.dilation} takes no samples of shape {shape}; it "
            f"needs a number of each for every axis behind the channels, one or two"
        )
    for kernel, stride, padding, dilation in zip(*numbers, strict=True):
        if min(kernel, stride, dilation) < 1 or not 0 <= padding <= kernel // 2:
            raise ConversionError(
                f"a max pooling has the kernel {kernel}, stride {stride}, padding {padding} and "
                f"dilation {dilation}; allowed are numbers from 1, and a padding of 0 to half the "
                f"kernel"
            )
    return tuple(
        PoolingWindow(*along, ceil_mode=spec.ceil_mode)
        for along in zip(shape[1:], *numbers, strict=True)
    )
