"""The arithmetic in plain Python integers and loops, to judge every backend by.

It shares no arithmetic with the package: it walks synapses one by one, and its neurons follow
``AbstractPyLifModelFixed`` and ``PyLifResetModelBitAcc`` of Lava's ``lava/proc/lif/models.py`` in
Lava's own units of 1/64 weight unit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.network import Conv2d, Layer, QuantizedNetwork
from tandem_hw.recording import Recording
from tandem_hw.sim.backend import make_recording

INT32 = 1 << 32
SPAN = 1 << 24
HALF = 1 << 23


@dataclass
class LayerResult:
    """What one layer did with one sample.

    Attributes:
        spikes: per step the spikes of the neurons, flattened in C order.
        potential: v >> 6 at the window's end.
        peak: largest magnitude of a potential with its bias in weight units, rounded up.
        low: lowest current or unclipped voltage, in units of 1/64 weight unit.
        high: highest of them.
        synops: synapses that incoming spikes passed.
        wrapped: whether a current wrapped.
        clipped: whether a voltage was clipped.
    """

    spikes: list[list[int]] = field(default_factory=list)
    potential: list[int] = field(default_factory=list)
    peak: int = 0
    low: int = 0
    high: int = 0
    synops: int = 0
    wrapped: bool = False
    clipped: bool = False

    @property
    def counts(self) -> list[int]:
        return [sum(train) for train in zip(*self.spikes, strict=True)]


def run_sample(network: QuantizedNetwork, sample: list[int]) -> list[LayerResult]:
    """Run one sample, its integers flattened in C order, and return every layer's result."""
    train = _input_train(network, sample)
    results = []
    for layer in network.layers:
        results.append(run_layer(layer, network.reset, train))
        train = results[-1].spikes
    return results


def _input_train(network: QuantizedNetwork, sample: list[int]) -> list[list[int]]:
    """Return what is sent in each step."""
    steps = range(network.num_steps)
    if network.input.encoding == "events":
        size = len(sample) // network.num_steps
        return [sample[step * size : (step + 1) * size] for step in steps]
    silence = [0] * len(sample)
    constant = network.input.encoding == "constant"
    return [sample if constant or step == 0 else silence for step in steps]


def run_layer(layer: Layer, reset: str, train: list[list[int]]) -> LayerResult:
    """Run one layer over a window."""
    result = LayerResult()
    targets = synapses(layer)
    positions = layer.neurons // len(layer.bias)
    bias = [int(layer.bias[neuron // positions]) for neuron in range(layer.neurons)]
    decays = layer.current_decay, layer.voltage_decay
    neurons = [Neuron(value, layer.threshold, reset, *decays) for value in bias]
    for signal in train:
        inputs = [0] * layer.neurons
        for source, value in enumerate(signal):
            if value:
                result.synops += len(targets[source])
                for neuron, weight in targets[source]:
                    inputs[neuron] += weight * value
        result.spikes.append(
            [neuron.step(value) for neuron, value in zip(neurons, inputs, strict=True)]
        )
    result.potential = [neuron.v >> 6 for neuron in neurons]
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

    def step(self, synaptic_input: int) -> int:
        activation = synaptic_input << 6
        if self.forgets_current:
            # du = current_decay - 1 and dv = voltage_decay: by default nothing of the current
            # stays and all of the voltage does.
            before = 0 if self.fired else self.v
            self.u = self._wrap(self._decay(self.u, self.current_decay) + activation)
            voltage = self._decay(before, self.voltage_decay) + self.u + (self.bias << 6)
            self.wrapped |= not -INT32 // 2 <= voltage < INT32 // 2
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
        self.fired = int(self.threshold is not None and self.v > (self.threshold - 1) << 6)
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
        return wrapped

    def _clip(self, voltage: int) -> int:
        clipped = max(-(HALF - 1), min(HALF - 1, voltage))
        self.clipped |= clipped != voltage
        return clipped

    def _see(self, state: int) -> None:
        self.peak = max(self.peak, -(-abs(state) // 64))


def synapses(layer: Layer) -> list[list[tuple[int, int]]]:
    """Return for each input the neurons that it reaches, each with its weight."""
    targets: list[list[tuple[int, int]]] = [[] for _ in range(math.prod(layer.input_shape))]
    walk = _convolution(layer) if isinstance(layer, Conv2d) else _dense(layer)
    for source, neuron, weight in walk:
        targets[source].append((neuron, weight))
    return targets


def _dense(layer: Layer) -> Iterator[tuple[int, int, int]]:
    for neuron, row in enumerate(layer.weight.tolist()):
        for source, weight in enumerate(row):
            yield source, neuron, weight


def _convolution(layer: Conv2d) -> Iterator[tuple[int, int, int]]:
    """Walk the definition of a convolution; what lies in the padding is no synapse."""
    channels, height, width = layer.input_shape
    out_channels, rows, columns = layer.output_shape
    in_group, out_group = channels // layer.groups, out_channels // layer.groups
    weight: Any = layer.weight.tolist()
    kernel_height, kernel_width = layer.weight.shape[2:]
    for out, row, column in itertools.product(range(out_channels), range(rows), range(columns)):
        neuron = (out * rows + row) * columns + column
        for part, i, j in itertools.product(
            range(in_group), range(kernel_height), range(kernel_width)
        ):
            y = row * layer.stride[0] - layer.padding[0] + i * layer.dilation[0]
            x = column * layer.stride[1] - layer.padding[1] + j * layer.dilation[1]
            if 0 <= y < height and 0 <= x < width:
                channel = out // out_group * in_group + part
                yield (channel * height + y) * width + x, neuron, weight[out][part][i][j]


def record(
    network: QuantizedNetwork,
    inputs: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64] | None = None,
) -> Recording:
    """Run samples and return them as a recording of a backend named "oracle"."""
    results = [run_sample(network, sample.reshape(-1).tolist()) for sample in inputs]
    counts = {
        layer.name: np.array([result[index].counts for result in results], dtype=np.int32).reshape(
            len(inputs), *layer.output_shape
        )
        for index, layer in enumerate(network.layers)
        if layer.threshold is not None
    }
    potential = None
    if network.readout == "potential":
        potential = np.array([result[-1].potential for result in results], dtype=np.int32)
    peak = {
        layer.name: max(result[index].peak for result in results)
        for index, layer in enumerate(network.layers)
    }
    return make_recording("oracle", network, inputs, labels, counts, potential, 1.0, peak)


def synops(network: QuantizedNetwork, inputs: npt.NDArray[np.uint8]) -> dict[str, list[int]]:
    """Count per layer and sample the synapses that spikes pass."""
    results = [run_sample(network, sample.reshape(-1).tolist()) for sample in inputs]
    return {
        layer.name: [result[index].synops for result in results]
        for index, layer in enumerate(network.layers)
    }
