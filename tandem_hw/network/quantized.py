"""The quantized network: integers only, in the chip's vocabulary, checked when built.

Its layers come from ``tandem_hw.network.layers`` and ``tandem_hw.network.synapses``, how they are
connected is worked out in ``tandem_hw.network.wiring``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.errors import DataError, NetworkError
from tandem_hw.html_table import html_table
from tandem_hw.network.bounds import (
    StateBounds,
    StepInterval,
    check_accumulator,
    input_steps,
    sum_intervals,
    synaptic_interval,
    window_bounds,
)
from tandem_hw.network.choices import Encoding, Readout, Reset, check_firing_delay
from tandem_hw.network.digests.network_digest import network_digest
from tandem_hw.network.fixed_point import (
    DECAY_UNITY,
    NUM_STEPS_RANGE,
    threshold_parts,
)
from tandem_hw.network.input_spec import InputSpec
from tandem_hw.network.layers import Layer
from tandem_hw.network.output_meaning import OutputMeaning
from tandem_hw.network.synapses.geometry import Shape
from tandem_hw.network.synapses.kind import plain_integers
from tandem_hw.network.wiring import Wiring, wire
from tandem_hw.ranges import POSITIVE, whole_number

__all__ = [
    "Encoding",
    "InputSpec",
    "Layer",
    "QuantizedNetwork",
    "Readout",
    "Reset",
    "Shape",
    "check_inputs",
    "require_quantized",
]


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
        firing_delay: steps d of its window that a firing layer waits before its first spike, 0 to
            num_steps - 1, with reset "subtract" alone. It takes input in steps 1 ... T and may
            fire in steps 1 + d ... T + d, which the next layer takes as its steps 1 ... T.
        meaning: what the outputs mean, where that is known; no part of the digest.
    """

    input: InputSpec
    layers: tuple[Layer, ...]
    num_steps: int
    reset: Reset
    readout: Readout = "potential"
    readout_scale: float = 1.0
    firing_delay: int = 0
    meaning: OutputMeaning | None = None

    def __post_init__(self) -> None:
        """Check that the layers fit each other and the arithmetic."""
        plain_integers(self, "", "num_steps", "firing_delay")
        object.__setattr__(self, "readout_scale", float(self.readout_scale))
        object.__setattr__(self, "layers", tuple(self.layers))
        whole_number("num_steps", self.num_steps, NUM_STEPS_RANGE, NetworkError)
        for field, choices in (("reset", get_args(Reset)), ("readout", get_args(Readout))):
            if getattr(self, field) not in choices:
                raise NetworkError(f'{field} is "{getattr(self, field)}"; allowed are {choices}')
        check_firing_delay(self.firing_delay, self.num_steps, self.reset, NetworkError)
        POSITIVE.check("readout_scale", self.readout_scale, NetworkError)
        if not self.layers:
            raise NetworkError("the network has no layers")
        self._check_readout()
        if self.meaning is not None:
            self.meaning.check_outputs(self.outputs)
        for layer in self.layers:
            self._check_neurons(layer)
        for layer, interval in zip(self.layers, self.step_intervals, strict=True):
            check_accumulator(layer.name, interval)

    def _check_readout(self) -> None:
        """Check that all layers but a potential readout fire, and that they are well connected."""
        assert self.wiring is not None  # working it out checks it
        for index, layer in enumerate(self.layers):
            is_readout = self.readout == "potential" and index == len(self.layers) - 1
            if is_readout == layer.fires:
                raise NetworkError(
                    f"layer {layer.name}: a threshold is {'not ' if is_readout else ''}needed with "
                    f'readout "{self.readout}"'
                )

    def _check_neurons(self, layer: Layer) -> None:
        """Check what only one of the resets, or only a firing layer, can have."""
        neurons = layer.neurons
        if neurons.leaks and (self.reset != "zero" or neurons.threshold is None):
            kind = "a readout" if neurons.threshold is None else f'reset "{self.reset}"'
            raise NetworkError(
                f"layer {layer.name}: current_decay {neurons.current_decay} and voltage_decay "
                f"{neurons.voltage_decay} are not possible with {kind}; only firing layers with "
                f'reset "zero" leak, all others need {DECAY_UNITY} and 0'
            )
        if neurons.threshold is not None and self.reset == "subtract":
            try:
                threshold_parts(neurons.threshold)
            except NetworkError as error:
                raise NetworkError(f"layer {layer.name}: {error}") from error

    def __repr__(self) -> str:
        """Say in one line what the network is; the arrays are in its layers."""
        neurons = sum(layer.num_neurons for layer in self.layers)
        return (
            f"QuantizedNetwork(input {self.input.shape}, {counted(len(self.layers), 'layer')}, "
            f"{counted(neurons, 'neuron')}, num_steps {self.num_steps}, reset {self.reset}, "
            f"readout {self.readout}, "
            f"{f'firing_delay {self.firing_delay}, ' if self.firing_delay else ''}"
            f"digest {self.digest[:12]})"
        )

    def _repr_html_(self) -> str:
        """Return a table of the layers, for notebooks."""
        return html_table(
            repr(self),
            ("layer", "synapses", "from", "output", "weights", "threshold"),
            (
                (
                    layer.name,
                    ", ".join(type(synapses).__name__ for synapses in layer.synapses),
                    ", ".join(one.source for one in layer.inputs),
                    "×".join(map(str, layer.output_shape)),
                    sum(synapses.weight.size for synapses in layer.synapses),
                    layer.neurons.threshold if layer.fires else "readout",
                )
                for layer in self.layers
            ),
        )

    def __iter__(self) -> Iterator[Layer]:
        """Iterate over the layers."""
        return iter(self.layers)

    @property
    def sample_shape(self) -> Shape:
        """Shape of one sample as a backend takes it (``InputSpec.sample_shape``)."""
        return self.input.sample_shape(self.num_steps)

    @property
    def spiking_layers(self) -> tuple[Layer, ...]:
        """The layers whose neurons fire."""
        return tuple(layer for layer in self.layers if layer.fires)

    @property
    def outputs(self) -> int:
        """Number of values of the result; the last layer's, flattened in C order."""
        return self.layers[-1].num_neurons

    @cached_property
    def wiring(self) -> Wiring:
        """Which layer takes its spikes from which (``tandem_hw.network.wiring``)."""
        return wire(
            self.layers,
            self.input.shape,
            self.firing_delay,
            input_comes_at_once=len(self.input.sent_steps(self.num_steps)) == 1,
        )

    @property
    def depth(self) -> int:
        """Number of layers on the longest path from the input to the result."""
        return self.wiring.depths[-1]

    @property
    def result_start(self) -> int:
        """Steps by which the result's first step may follow the start of the input's window.

        That is the last layer's first spike, or the start of the window of a readout by potential.
        """
        return self.wiring.first_spikes[-1]

    @property
    def latency(self) -> int:
        """Steps from the start of a sample's window to the end of its result's."""
        return self.result_start + self.num_steps

    @cached_property
    def step_intervals(self) -> tuple[StepInterval, ...]:
        """Lowest and highest synaptic input in one step, per layer, all its synapses together."""
        return tuple(
            sum_intervals(
                [
                    synaptic_interval(
                        connection.synapses.weight,
                        self.input.largest if connection.source is None else 1,
                    )
                    for connection in connections
                ]
            )
            for connections in self.wiring.connections
        )

    @cached_property
    def bounds(self) -> tuple[StateBounds, ...]:
        """Proven bounds of each layer's state over a window (``tandem_hw.network.bounds``)."""
        sent = self.input.sent_steps(self.num_steps)
        return tuple(
            window_bounds(
                input_steps(
                    interval, self.num_steps, sent if self.wiring.takes_input(index) else None
                ),
                layer.neurons.bias.astype(np.int64),
                layer.neurons.threshold,
                self.reset,
                layer.neurons.current_decay,
                layer.neurons.voltage_decay,
                self.wiring.firing_delays[index],
            )
            for index, (layer, interval) in enumerate(
                zip(self.layers, self.step_intervals, strict=True)
            )
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 over every array and every field but ``meaning``, which changes no result.

        Two networks with one digest are the same network.
        """
        return network_digest(self)


def require_quantized(network: object) -> None:
    """Refuse what is no quantized network, such as the model that one is made of.

    Raises:
        NetworkError: names what it is and how to make one.
    """
    if not isinstance(network, QuantizedNetwork):
        raise NetworkError(
            f"the network is a {type(network).__name__}, not a quantized network; tandem_hw.freeze "
            f"makes one of a TandemNetwork, and tandem_hw.convert that of a PyTorch network"
        )


def check_inputs(
    network: QuantizedNetwork,
    inputs: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64] | None = None,
) -> None:
    """Refuse inputs that the network cannot take, and labels that are not theirs.

    Args:
        network: what shall run.
        inputs: the integer samples.
        labels: whole numbers [samples], or None.

    Raises:
        NetworkError: it is no quantized network.
        DataError: no samples, another dtype or shape, an integer that needs more bits, or labels
            that are not one whole number for each sample.
    """
    require_quantized(network)
    if not isinstance(inputs, np.ndarray):
        raise DataError(
            f"inputs are a {type(inputs).__name__}; give a NumPy array of uint8 (of a PyTorch "
            f"tensor its .cpu().numpy())"
        )
    if inputs.dtype != np.uint8:
        raise DataError(f"inputs are {inputs.dtype}; quantize them to uint8 first")
    if inputs.shape[1:] != network.sample_shape:
        steps = " (the steps come first)" if network.input.takes_events else ""
        raise DataError(
            f"a sample has shape {inputs.shape[1:]}; the network takes {network.sample_shape}"
            f"{steps}"
        )
    if not len(inputs):
        raise DataError("there are no samples to run")
    if int(inputs.max()) > network.input.largest:
        raise DataError(
            f"an input is {int(inputs.max())}; the network takes {network.input.bits}-bit "
            f"integers up to {network.input.largest}"
        )
    if labels is not None:
        _check_labels(labels, len(inputs))


def _check_labels(labels: npt.NDArray[np.int64], samples: int) -> None:
    if not isinstance(labels, np.ndarray):
        raise DataError(
            f"labels are a {type(labels).__name__}; give a NumPy array of whole numbers, one a "
            f"sample"
        )
    if labels.shape != (samples,) or labels.dtype.kind not in "iu":
        raise DataError(
            f"labels are {labels.dtype} of shape {labels.shape}; give the whole number of its "
            f"class for each of the {counted(samples, 'sample')}, shape ({samples},)"
        )
