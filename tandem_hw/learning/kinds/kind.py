"""What learning asks of every kind of tandem layer.

A kind is a subclass and a row of ``tandem_hw.learning.kinds.catalogue``. The class says all of it:
how such layers are called, which shape goes out, how one is made from its ``LayerSpec``, what its
synapses compute, and what they are in a quantized network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Protocol

from torch import Tensor, nn

from tandem_hw.arithmetic.neurons import LayerActivity
from tandem_hw.errors import ConversionError
from tandem_hw.learning.architecture import LayerSpec
from tandem_hw.learning.quantizer import IntegerParameters
from tandem_hw.learning.spiking_options import SpikingOptions
from tandem_hw.network.synapses.geometry import Shape
from tandem_hw.network.synapses.kind import Synapses


class ObservedNeurons(Protocol):
    """Neurons that a forward pass has run: a layer of the quantized network."""

    @property
    def name(self) -> str:
        """Name of the layer."""

    def bias_image(self, bias: Tensor) -> Tensor:
        """Give a per-channel vector the axes to broadcast over the neurons."""


#: Told what the integer neurons of a layer did in a forward pass, and with which integers.
Observer = Callable[[ObservedNeurons, LayerActivity, IntegerParameters], None]


class FleetingObserver(ABC):
    """An observer that takes numbers from what it is told, and keeps no tensor of it.

    A pass that is launched as a whole (``tandem_hw.learning.passes``) works on the same memory each
    time, and may be watched by such observers alone.
    """

    @abstractmethod
    def __call__(
        self, layer: ObservedNeurons, activity: LayerActivity, integers: IntegerParameters
    ) -> None:
        """Look at what a layer did in a forward pass.

        Args:
            layer: the neurons.
            activity: what they did.
            integers: with which integers.
        """


class LayerKind(nn.Module):
    """A layer of one kind; what a kind leaves out, it refuses by a ``ConversionError``."""

    #: What the names of such layers start with; their number follows.
    short_name: ClassVar[str] = "layer"
    #: Whether there are neurons in it, which have a name; others pass on what comes in.
    has_neurons: ClassVar[bool] = False

    @classmethod
    def output_shape(cls, spec: LayerSpec, shape: Shape) -> Shape:
        """Return the shape of one sample that goes out.

        Args:
            spec: of this kind.
            shape: shape of one sample that comes in.
        """
        raise _lacking(cls, "output_shape")

    @classmethod
    def from_spec(
        cls, spec: LayerSpec, name: str, shape: Shape, options: SpikingOptions, fires: bool
    ) -> LayerKind:
        """Make a layer with PyTorch's own initial values.

        Args:
            spec: of this kind; its skips are left out.
            name: unique within the network.
            shape: shape of one sample that comes in.
            options: what all layers share.
            fires: False for a readout by potential, and for a skip.

        Raises:
            ConversionError: there is no such layer.
        """
        raise _lacking(cls, "from_spec")

    @property
    def groups(self) -> int:
        """Groups of channels that have weights between them; 1 but for convolutions."""
        return 1

    def synaptic_input(self, signal: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted sum of integers, exactly."""
        raise _lacking(type(self), "synaptic_input")

    def twin_input(self, counts: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted sum of counts with real weights, for the gradient."""
        raise _lacking(type(self), "twin_input")

    def bias_image(self, bias: Tensor) -> Tensor:
        """Give a per-channel vector the axes to broadcast over this layer's output."""
        raise _lacking(type(self), "bias_image")

    def integer_synapses(self, weight: Tensor, input_shape: Shape) -> Synapses:
        """Return the main synapses as a quantized network has them.

        Args:
            weight: whole numbers, as ``TandemLayer.integer_parameters`` gives them.
            input_shape: shape of one sample that comes in.

        Raises:
            NetworkError: the integers break a limit of the chip.
        """
        raise _lacking(type(self), "integer_synapses")


def _lacking(kind: type[LayerKind], method: str) -> ConversionError:
    return ConversionError(
        f"layers of kind {kind.__name__} have no {method}; docs/architecture.md lists what a new "
        f"kind of layer needs"
    )
