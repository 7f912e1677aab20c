"""Networks of other programs, from NIR: feed-forward graphs of IF neurons, put on our grid.

The weights are real numbers in a foreign graph, so what is imported is quantized, by the one
quantizer that training has (``tandem_hw.learning.quantizer``). A spike is worth 1, an input its
integer times the input's scale, and neurons fire where R dt (W s + b) adds up to v_threshold:

    real threshold = v_threshold / (R dt)

NIR does not say how the neurons reset. Up to nir 1.0.4 its IF was defined to subtract the
threshold; nir 1.0.8 puts it to v_reset, which is 0 where a file has none. Programs write either
neuron as either, so the caller says which it was.
"""

from __future__ import annotations

import os
from typing import Any, Final

import numpy as np
import torch

from tandem_hw.errors import ConversionError, NetworkError
from tandem_hw.export.net_file import check_sizes
from tandem_hw.export.nir_file import Tree, TreeItems, read_nir_tree
from tandem_hw.export.nir_graph import Real, RealNeurons, RealPath, fitted, real_layers
from tandem_hw.export.nir_reader import is_ours
from tandem_hw.learning.quantizer import RealSynapses, quantize_layer
from tandem_hw.network.layers import INPUT_SOURCE, Input, Layer, Neurons
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork, Readout, Reset, Shape
from tandem_hw.network.synapses.convolutions import Conv1d, Conv2d
from tandem_hw.network.synapses.dense import Dense, OneToOne
from tandem_hw.network.synapses.kind import Synapses
from tandem_hw.network.whole_numbers import whole_numbers

_KINDS: Final[dict[str, type[Synapses]]] = {
    kind.__name__: kind for kind in (Dense, Conv1d, Conv2d, OneToOne)
}


def from_nir(
    graph: Any,
    *,
    input_spec: InputSpec,
    num_steps: int,
    reset: Reset,
    weight_bits: int = 8,
    time_step: float | None = None,
) -> QuantizedNetwork:
    """Import a feed-forward graph of IF neurons that another program made.

    Args:
        graph: a ``nir.NIRGraph``, or the path of a NIR file.
        input_spec: what goes in; a real input x is sent as round(x / scale).
        num_steps: length T of a sample's window.
        reset: how the graph's neurons reset, which NIR does not say.
        weight_bits: width of the signed weights, 2 to 8.
        time_step: what the graph calls a step, in its own unit of time; R of its neurons times it
            multiplies what they take in. It can be left out where every R is 1 (Norse, sinabs and
            snnTorch write that; SpikingJelly writes 1 / time_step, for a step of 1e-4).

    Returns:
        The network. A graph that ends with IF neurons is counted; of another the outputs are added
        up over the window, which is the potential of a readout.

    Raises:
        ConversionError: the graph cannot be run: it is recurrent, leaks, has other nodes or shapes,
            or a bias in every step with reset "subtract", where ours counts once.
        FileFormatError: the file is missing, damaged or not of NIR, or was written by tandem-hw.
        NetworkError: a layer breaks a limit of the arithmetic.
    """
    tree, where = _opened(graph)
    nodes = TreeItems(tree, where).group("nodes")
    shape, layers = real_layers(nodes, _edges(tree, where), where)
    if shape not in (input_spec.shape, (1, *input_spec.shape)):  # Norse leaves an axis for batches
        raise ConversionError(f"{where} takes {shape}; input_spec says {input_spec.shape}")
    importer = _Importer(input_spec, num_steps, reset, weight_bits, time_step, where)
    network = importer.network(layers)
    check_sizes(network)
    return network


def _opened(graph: Any) -> tuple[Tree, str]:
    if isinstance(graph, str | os.PathLike):
        tree, where = read_nir_tree(graph), os.fspath(graph)
    else:
        tree, where = graph.to_dict(), "the graph"
    if is_ours(tree):
        raise ConversionError(
            f"{where} was made by tandem-hw; read the file with read_nir, which loses nothing"
        )
    if TreeItems(tree, where).text("type") != "NIRGraph":
        raise ConversionError(f"{where} is a single node; a graph is needed")
    return tree, where


def _edges(tree: Tree, where: str) -> list[tuple[str, str]]:
    edges = tree.get("edges")
    if not isinstance(edges, list) or not all(
        isinstance(edge, list | tuple) and len(edge) == 2 for edge in edges
    ):
        raise ConversionError(f"{where}: the edges are not pairs of names")
    return [(str(source), str(target)) for source, target in edges]


class _Importer:
    """Quantizes the layers of one graph, sources first."""

    def __init__(
        self,
        spec: InputSpec,
        num_steps: int,
        reset: Reset,
        weight_bits: int,
        time_step: float | None,
        where: str,
    ) -> None:
        self.spec, self.num_steps, self.reset = spec, num_steps, reset
        self.weight_bits, self.time_step, self.where = weight_bits, time_step, where
        # By the name of their node; None is the input, which no node can be called.
        self.shapes: dict[str | None, Shape] = {None: spec.shape}
        self.names: dict[str | None, str] = {None: INPUT_SOURCE}

    def network(self, layers: list[RealNeurons]) -> QuantizedNetwork:
        """Return the network of all layers."""
        if not layers:
            raise ConversionError(f"{self.where} has no neurons")
        made: list[Layer] = []
        unit = 1.0
        for neurons in layers:
            layer, unit = self._layer(neurons)
            made.append(layer)
            self.shapes[neurons.name] = layer.output_shape
            self.names[neurons.name] = layer.name
        is_readout = not made[-1].fires
        readout: Readout = "potential" if is_readout else "count"
        scale = unit if is_readout else 1.0
        return QuantizedNetwork(self.spec, tuple(made), self.num_steps, self.reset, readout, scale)

    def _layer(self, neurons: RealNeurons) -> tuple[Layer, float]:
        """Return a layer, and the real value of its weight unit."""
        paths = [fitted(path, self.shapes[path.source], self.where) for path in neurons.paths]
        main = paths[0]
        bias = self._bias(neurons.name, paths, neurons.threshold is None)
        gains, threshold = self._gains(neurons, len(bias), main)
        synapses = [self._real(path, gains) for path in paths]
        integers = quantize_layer(
            synapses[0].weight,
            torch.from_numpy(bias * gains),
            input_scale=synapses[0].input_scale,
            real_threshold=threshold,
            weight_bits=self.weight_bits,
            name=main.name,
            skips=synapses[1:],
        )
        weights = [
            whole_numbers(weight.numpy(), np.int64, f"layer {main.name}: weights")
            for weight in integers.weights
        ]
        whole = whole_numbers(integers.bias.numpy(), np.int64, f"layer {main.name}: biases")
        try:
            inputs = tuple(map(self._input, paths, weights))
            layer = Layer(inputs[0].synapses.name, Neurons(whole, integers.threshold), inputs)
        except NetworkError as error:
            raise ConversionError(f"{self.where}: {error}") from error
        self._check_parameters(neurons, layer)
        return layer, integers.unit

    def _bias(self, name: str, paths: list[RealPath], is_readout: bool) -> Real:
        """Return the biases of all paths together, of a whole window for a readout."""
        if len({path.bias.shape for path in paths if path.weight is not None}) > 1:
            raise ConversionError(f"{self.where}: node {name} adds paths of unlike channels")
        bias: Real = paths[0].bias.copy()
        for path in paths[1:]:
            if path.weight is not None:
                bias += path.bias
        if is_readout:
            return bias * self.num_steps
        if self.reset == "subtract" and np.any(bias):
            raise ConversionError(
                f'{self.where}: node {name} takes a bias in every step; with reset "subtract" a '
                f"bias counts once; train it without a bias"
            )
        return bias

    def _gains(
        self, neurons: RealNeurons, channels: int, main: RealPath
    ) -> tuple[Real, float | None]:
        """Return a factor for the weights of each channel, and the threshold behind them."""
        if neurons.threshold is None or neurons.resistance is None:
            return np.ones(channels), None
        resistance = neurons.resistance
        if self.time_step is None and np.any(resistance != 1):
            other = float(resistance[resistance != 1].reshape(-1)[0])
            raise ConversionError(
                f"{self.where}: node {neurons.name} has r = {other:g}; say by time_step how long a "
                f"step is (SpikingJelly writes r = 1 / time_step, with a time_step of 1e-4)"
            )
        steps = resistance * (1.0 if self.time_step is None else self.time_step)
        steps = np.where(np.isclose(steps, 1, rtol=1e-6, atol=0), 1.0, steps)  # written in float32
        thresholds = np.asarray(neurons.threshold / steps)
        if np.all(thresholds == thresholds.reshape(-1)[0]):
            return np.ones(channels), float(thresholds.reshape(-1)[0])
        by_channel = thresholds.reshape(len(thresholds), -1)
        if len(thresholds) != channels or np.any(by_channel != by_channel[:, :1]):
            raise ConversionError(
                f"{self.where}: node {neurons.name} has thresholds that differ within a channel"
            )
        if any(path.weight is None for path in neurons.paths):
            raise ConversionError(
                f"{self.where}: node {neurons.name} has unlike thresholds and takes spikes without "
                f"weights"
            )
        largest = float(thresholds.max())
        return largest / by_channel[:, 0], largest

    def _real(self, path: RealPath, gains: Real) -> RealSynapses:
        scale = self.spec.scale if path.source is None else 1.0
        if path.weight is None:
            return RealSynapses(None, scale)
        factors = gains.reshape(-1, *[1] * (path.weight.ndim - 1))
        return RealSynapses(torch.from_numpy(path.weight * factors), scale)

    def _input(self, path: RealPath, weight: Any) -> Input:
        """Return the synapses of a path and their source."""
        geometry = {} if path.geometry is None else {"geometry": path.geometry}
        synapses = _KINDS[path.kind](
            # A layer of this name would be taken for what comes in.
            name=f"{path.name}_" if path.name == INPUT_SOURCE else path.name,
            weight=weight,
            weight_bits=self.weight_bits if path.weight is not None else 8,
            input_shape=self.shapes[path.source],
            **geometry,
        )
        return Input(self.names[path.source], synapses)

    def _check_parameters(self, neurons: RealNeurons, layer: Layer) -> None:
        for parameter in (neurons.resistance, neurons.threshold):
            if parameter is not None and parameter.size not in (1, layer.num_neurons):
                raise ConversionError(
                    f"{self.where}: node {neurons.name} is made for {parameter.size} neurons; "
                    f"{layer.name} feeds {layer.num_neurons}"
                )
