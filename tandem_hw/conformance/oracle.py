"""The arithmetic in plain Python integers and loops, to judge every backend by.

It shares no arithmetic with the package: it walks synapses one by one, and its neurons follow
``AbstractPyLifModelFixed`` and ``PyLifResetModelBitAcc`` of Lava's ``lava/proc/lif/models.py`` in
Lava's own units of 1/64 weight unit. Sources and skips are followed by their names.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.network.layers import Layer
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import Recording
from tandem_hw.network.synapses.convolutions import Conv1d, Conv2d, ConvTranspose2d
from tandem_hw.network.synapses.dense import Dense, OneToOne
from tandem_hw.network.synapses.kind import Synapses
from tandem_hw.sim.backend import SimulationResult, make_recording

INT32 = 1 << 32
SPAN = 1 << 24
HALF = 1 << 23


@dataclass
class LayerResult:
    """What one layer did with one sample.

    Attributes:
        spikes: per step the spikes of the neurons, flattened in C order.
        potentials: per step v >> 6.
        final: u at the window's end where it is kept, otherwise v, cleared by a spike.
        peak: largest magnitude of a potential with its bias in weight units, rounded up.
        low: lowest current or unclipped voltage, in units of 1/64 weight unit.
        high: highest of them.
        synops: synapses that incoming spikes passed.
        wrapped: whether a current wrapped.
        clipped: whether a voltage was clipped.
        saturated: neurons times steps that wrapped, or clipped what is kept or read out.
    """

    spikes: list[list[int]] = field(default_factory=list)
    potentials: list[list[int]] = field(default_factory=list)
    final: list[int] = field(default_factory=list)
    peak: int = 0
    low: int = 0
    high: int = 0
    synops: int = 0
    wrapped: bool = False
    clipped: bool = False
    saturated: int = 0

    @property
    def potential(self) -> list[int]:
        """The potential at the window's end."""
        return self.potentials[-1]

    @property
    def counts(self) -> list[int]:
        """Spikes of each neuron in the window."""
        return [sum(train) for train in zip(*self.spikes, strict=True)]


def run_sample(network: QuantizedNetwork, sample: list[int]) -> list[LayerResult]:
    """Run one sample, its integers flattened in C order, and return every layer's result."""
    sent = {"input": input_train(network, sample)}
    results: list[LayerResult] = []
    for layer in network.layers:
        trains = [sent[one.source] for one in layer.inputs]
        delay = network.firing_delay if layer.fires else 0
        results.append(run_layer(layer, network.reset, *trains, firing_delay=delay))
        sent[layer.name] = results[-1].spikes
    return results


def input_train(network: QuantizedNetwork, sample: list[int]) -> list[list[int]]:
    """Return what is sent in each step."""
    steps = range(network.num_steps)
    if network.input.encoding == "events":
        size = len(sample) // network.num_steps
        return [sample[step * size : (step + 1) * size] for step in steps]
    silence = [0] * len(sample)
    constant = network.input.encoding == "constant"
    return [sample if constant or step == 0 else silence for step in steps]


def run_layer(
    layer: Layer, reset: str, *trains: list[list[int]], firing_delay: int = 0
) -> LayerResult:
    """Run one layer over a window, in which each of its inputs takes in a train.

    With a firing delay d, d silent steps of the neurons come first, and the trains end d steps
    before the neurons do.
    """
    result = LayerResult()
    paths = [(synapses(one), train) for one, train in zip(layer.synapses, trains, strict=True)]
    shared, count = layer.neurons, layer.num_neurons
    positions = count // len(shared.bias)
    bias = [int(shared.bias[neuron // positions]) for neuron in range(count)]
    decays = shared.current_decay, shared.voltage_decay
    neurons = [Neuron(value, shared.threshold, reset, *decays) for value in bias]
    num_steps = len(trains[0])
    for step in range(num_steps + firing_delay):
        inputs = [0] * count
        for targets, signals in paths:
            for source, value in enumerate(signals[step] if step < num_steps else []):
                if value:
                    result.synops += len(targets[source])
                    for neuron, weight in targets[source]:
                        inputs[neuron] += weight * value
        may_fire = step >= firing_delay
        spikes = [
            neuron.step(value, may_fire) for neuron, value in zip(neurons, inputs, strict=True)
        ]
        if may_fire:
            result.spikes.append(spikes)
        result.potentials.append([neuron.v >> 6 for neuron in neurons])
    result.final = [neuron.final for neuron in neurons]
    result.saturated = sum(neuron.saturated for neuron in neurons)
    result.peak = max(neuron.peak for neuron in neurons)
    result.low = min(neuron.low for neuron in neurons)
    result.high = max(neuron.high for neuron in neurons)
    result.wrapped = any(neuron.wrapped for neuron in neurons)
    result.clipped = any(neuron.clipped for neuron in neurons)
    return result


class Neuron:
    """One of Lava's fixed-point neurons; u and v in units of 1/64 weight unit."""

    def __init__(
        self,
        bias: int,
        threshold: int | None,
        reset: str,
        current_decay: int = 4096,
        voltage_decay: int = 0,
    ) -> None:
        self.bias, self.threshold = bias, threshold
        self.current_decay, self.voltage_decay = current_decay, voltage_decay
        self.forgets_current = reset == "zero" and threshold is not None
        self.u = self.v = self.fired = self.peak = self.low = self.high = 0
        self.wrapped = self.clipped = False
        self.steps_wrapped: list[bool] = []
        self.steps_clipped: list[bool] = []

    @property
    def final(self) -> int:
        """The state that the next step would go on from, but for the inhibition of a spike."""
        if self.forgets_current:
            return 0 if self.fired else self.v
        return self.u

    @property
    def saturated(self) -> int:
        """Steps in which a state that matters left 24 bits."""
        if self.forgets_current:
            pairs = zip(self.steps_wrapped, self.steps_clipped, strict=True)
            return sum(wrapped or clipped for wrapped, clipped in pairs)
        if self.threshold is not None:
            return sum(self.steps_wrapped)
        # A readout is read once, after its last step.
        *before, last = self.steps_wrapped
        return sum(before) + (last or self.steps_clipped[-1])

    def step(self, synaptic_input: int, may_fire: bool = True) -> int:
        """Take in one step's input in weight units, and return 1 if the neuron fires, or 0."""
        activation = synaptic_input << 6
        if self.forgets_current:
            # du = current_decay - 1 and dv = voltage_decay: by default nothing of the current
            # stays and all of the voltage does.
            before = 0 if self.fired else self.v
            self.u = self._wrap(self._decay(self.u, self.current_decay) + activation)
            voltage = self._decay(before, self.voltage_decay) + self.u + (self.bias << 6)
            around = not -INT32 // 2 <= voltage < INT32 // 2
            self.wrapped |= around
            self.steps_wrapped[-1] |= around
            voltage = (voltage + INT32 // 2) % INT32 - INT32 // 2
            self.v = self._clip(voltage)
            self._see(self.v)
            if (self.current_decay, self.voltage_decay) != (4096, 0):
                self._see(self.u)  # it may be the larger one for good, not for a step only
        else:
            # du = -1: all of the current stays. dv = 4096: nothing of the voltage does.
            inhibition = (self.threshold or 0) << 6 if self.fired else 0
            self.u = self._wrap(self.u + activation - inhibition)
            voltage = self.u + (self.bias << 6)
            self.v = self._clip(voltage)
            self._see(voltage)
        self.low, self.high = min(self.low, self.u, voltage), max(self.high, self.u, voltage)
        fires = self.threshold is not None and self.v > (self.threshold - 1) << 6
        self.fired = int(fires and may_fire)
        return self.fired

    @staticmethod
    def _decay(state: int, decay: int) -> int:
        """Shift the magnitude and put the sign back, as subthr_dynamics does."""
        magnitude = abs(state) * (4096 - decay) >> 12
        return magnitude if state >= 0 else -magnitude

    def _wrap(self, current: int) -> int:
        """Add as 32-bit integers do, then take a span off, or add it, once."""
        wrapped = (current + INT32 // 2) % INT32 - INT32 // 2
        if wrapped > HALF:
            wrapped -= SPAN
        elif wrapped <= -HALF:
            wrapped += SPAN
        self.wrapped |= wrapped != current
        self.steps_wrapped.append(wrapped != current)
        return wrapped

    def _clip(self, voltage: int) -> int:
        clipped = max(-(HALF - 1), min(HALF - 1, voltage))
        self.clipped |= clipped != voltage
        self.steps_clipped.append(clipped != voltage)
        return clipped

    def _see(self, state: int) -> None:
        self.peak = max(self.peak, -(-abs(state) // 64))


def synapses(path: Synapses) -> list[list[tuple[int, int]]]:
    """Return for each input the neurons that it reaches, each with its weight."""
    targets: list[list[tuple[int, int]]] = [[] for _ in range(math.prod(path.input_shape))]
    for source, neuron, weight in _WALKS[type(path)](path):
        targets[source].append((neuron, weight))
    return targets


def _dense(path: Synapses) -> Iterator[tuple[int, int, int]]:
    for neuron, row in enumerate(path.weight.tolist()):
        for source, weight in enumerate(row):
            yield source, neuron, weight


def _one_to_one(path: Synapses) -> Iterator[tuple[int, int, int]]:
    (weight,) = path.weight.tolist()
    for neuron in range(math.prod(path.input_shape)):
        yield neuron, neuron, weight


def _convolution(path: Any) -> Iterator[tuple[int, int, int]]:
    """Walk the definition of a convolution; what lies in the padding is no synapse."""
    inputs, outputs = path.input_shape[1:], path.output_shape[1:]
    contacts = _contacts(path, outputs, inputs)
    for channel, out, kernel in _kernels(path):
        for place, tap, reached in contacts:
            source = channel * math.prod(inputs) + reached
            yield source, out * math.prod(outputs) + place, int(kernel[tap])


def _transposed_convolution(path: Any) -> Iterator[tuple[int, int, int]]:
    """Walk the definition of a transposed convolution; what lies outside is cut off."""
    inputs, outputs = path.input_shape[1:], path.output_shape[1:]
    contacts = _contacts(path, inputs, outputs)
    for channel, out, kernel in _kernels(path):
        for place, tap, reached in contacts:
            source = channel * math.prod(inputs) + place
            yield source, out * math.prod(outputs) + reached, int(kernel[tap])


_WALKS: dict[type[Synapses], Callable[[Any], Iterator[tuple[int, int, int]]]] = {
    Dense: _dense,
    OneToOne: _one_to_one,
    Conv1d: _convolution,
    Conv2d: _convolution,
    ConvTranspose2d: _transposed_convolution,
}


def _kernels(path: Any) -> Iterator[tuple[int, int, npt.NDArray[np.int16]]]:
    """Yield the input and the output channel of every kernel, and the kernel."""
    out_channels, in_group = path.weight.shape[:2]
    for out, part in itertools.product(range(out_channels), range(in_group)):
        group = out // (out_channels // path.geometry.groups)
        yield group * in_group + part, out, path.weight[out, part]


def _contacts(
    path: Any, walked: Sequence[int], other: Sequence[int]
) -> list[tuple[int, tuple[int, ...], int]]:
    """Return every place of one image with each place of the kernel that reaches the other image.

    A place p and a tap k reach p * stride - padding + k * dilation along each axis; both places are
    returned as indices in C order.
    """
    axes = []
    for axis, (length, end) in enumerate(zip(walked, other, strict=True)):
        stride, padding, step = (
            getattr(path.geometry, name)[axis] for name in ("stride", "padding", "dilation")
        )
        taps = range(path.weight.shape[2 + axis])
        pairs = [(p, k, p * stride - padding + k * step) for p in range(length) for k in taps]
        axes.append([contact for contact in pairs if 0 <= contact[2] < end])
    contacts = []
    for along_axes in itertools.product(*axes):
        place, tap, reached = zip(*along_axes, strict=True)
        contacts.append((_flat(place, walked), tap, _flat(reached, other)))
    return contacts


def _flat(place: Sequence[int], shape: Sequence[int]) -> int:
    """Return an index in C order."""
    index = 0
    for position, length in zip(place, shape, strict=True):
        index = index * length + position
    return index


def record(
    network: QuantizedNetwork,
    inputs: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64] | None = None,
) -> Recording:
    """Run samples and return them as a recording of a backend named "oracle"."""
    results = [run_sample(network, sample.reshape(-1).tolist()) for sample in inputs]

    def of_neurons(name: str) -> dict[str, npt.NDArray[np.int32]]:
        return {
            layer.name: np.array(
                [getattr(result[index], name) for result in results], dtype=np.int32
            ).reshape(len(inputs), *layer.output_shape)
            for index, layer in enumerate(network.layers)
            if layer.fires
        }

    potential = None
    if network.readout == "potential":
        potential = np.array([result[-1].potential for result in results], dtype=np.int32)
    peak = {
        layer.name: max(result[index].peak for result in results)
        for index, layer in enumerate(network.layers)
    }
    saturation = {
        layer.name: np.array([result[index].saturated for result in results], dtype=np.int64)
        for index, layer in enumerate(network.layers)
    }
    result = SimulationResult(
        of_neurons("counts"), potential, peak, saturation, of_neurons("final")
    )
    return make_recording("oracle", network, inputs, labels, result, 1.0)


def synops(network: QuantizedNetwork, inputs: npt.NDArray[np.uint8]) -> dict[str, list[int]]:
    """Count per layer and sample the synapses that spikes pass."""
    results = [run_sample(network, sample.reshape(-1).tolist()) for sample in inputs]
    return {
        layer.name: [result[index].synops for result in results]
        for index, layer in enumerate(network.layers)
    }
