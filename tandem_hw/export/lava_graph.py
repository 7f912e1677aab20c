"""A Lava process graph of a quantized network, for Lava's CPU simulator.

    source -> Conv | Dense -> IF | LIFReset -> ... -> Conv | Dense -> readout
                                  |-> SpikeCounter                     |-> Read

When which sample is in which layer is said in ``tandem_hw.timing``.

This module imports Lava; import it only where Lava is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.conv.models import PyConvModelFixed
from lava.proc.conv.process import Conv as LavaConv
from lava.proc.dense.process import Dense as LavaDense
from lava.proc.io.dataloader import SpikeDataloader
from lava.proc.io.sink import Read
from lava.proc.lif.process import LIFReset
from lava.utils.weightutils import SignMode

from tandem_hw.fixed_point import (
    BIAS_EXPONENT_MIN,
    STATE_FRACTION_BITS,
    VTH_MAX,
    bias_exponent,
)
from tandem_hw.network import Conv2d, Dense, Layer, QuantizedNetwork
from tandem_hw.sim.lava_job import counts_path, progress_path
from tandem_hw.sim.processes.convolution import PyUnfoldedConvModel
from tandem_hw.sim.processes.integrate_and_fire import IF
from tandem_hw.sim.processes.spike_counter import SpikeCounter
from tandem_hw.timing import check_period, total_steps, window_start

#: Bits of a graded input spike.
_INPUT_MESSAGE_BITS = 8
#: du and dv of an integrator: the current never decays, the voltage forgets at once (v = u + bias).
_INTEGRATOR = {"du": -1, "dv": 4096}
#: du and dv of a plain integrate-and-fire neuron: no memory of the current, no leak of the voltage.
_NO_LEAK = {"du": 4095, "dv": 0}


@dataclass(frozen=True)
class LavaGraph:
    """A built graph and where its results appear.

    Attributes:
        entry: a process of the graph; running it runs all.
        num_steps: steps that all samples need.
        readout: the sink that reads the readout's voltage, or None where it is counted.
        first_read: index of the first sample's value in the sink's data.
    """

    entry: AbstractProcess
    num_steps: int
    readout: Read | None
    first_read: int

    def potential(self, samples: int) -> npt.NDArray[np.int32] | None:
        """Read the potentials [samples, outputs] in weight units, v >> 6; before ``stop()`` only."""
        if self.readout is None:
            return None
        voltage = self.readout.data.get().astype(np.int64)
        window = voltage[..., self.first_read : self.first_read + samples]
        potential: npt.NDArray[np.int32] = (window.T >> STATE_FRACTION_BITS).astype(np.int32)
        return potential


class SampleFrames:
    """Makes the frames of each sample on the fly, as ``SpikeDataloader`` asks for them.

    Args:
        inputs: uint8 [samples, *shape] in Lava's axis order.
        period: frames of a sample.
        sends: how many of them carry the sample, from the first.
    """

    def __init__(self, inputs: npt.NDArray[np.uint8], period: int, sends: int) -> None:
        self.inputs, self.period, self.sends = inputs, period, sends

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.int32], int]:
        """Return the frames [*shape, period] of a sample and a label that nobody reads."""
        sample = self.inputs[index]
        frames = np.zeros((*sample.shape, self.period), dtype=np.int32)
        frames[..., : self.sends] = sample[..., None]
        return frames, 0


def build_graph(
    network: QuantizedNetwork, inputs: npt.NDArray[np.uint8], folder: Path, period: int
) -> LavaGraph:
    """Build the graph that runs all samples back to back.

    Args:
        network: what to run.
        inputs: uint8 [samples, *network.input.shape].
        folder: receives the files of ``counts_path`` and ``progress_path``.
        period: steps from one sample to the next.

    Returns:
        The graph, not yet compiled.

    Raises:
        NetworkError: the period does not suit the network.
    """
    check_period(network, period)
    samples = len(inputs)
    constant = network.input.encoding == "constant"
    frames = SampleFrames(_lava_order(inputs), period, network.num_steps if constant else 1)
    source = SpikeDataloader(dataset=frames, interval=period, offset=0)
    signal = source.s_out
    readout: Read | None = None
    early = 0
    for index, layer in enumerate(network.layers, start=1):
        synapse = _synapse(layer, _INPUT_MESSAGE_BITS if index == 1 else 0)
        if isinstance(layer, Dense) and len(layer.input_shape) == 3:
            signal = signal.transpose([2, 1, 0]).flatten()
        signal.connect(synapse.s_in)
        neuron = _neuron(network, layer, index, period)
        synapse.a_out.connect(neuron.a_in)
        signal = neuron.s_out
        if layer.threshold is None:
            # The voltage is read at the end of the window's last step (``Read``: (t - 1) mod P).
            last = window_start(index) + network.num_steps - 1
            early = (last - 1) // period
            readout = Read(buffer=samples + early, interval=period, offset=last - 1)
            readout.connect_var(neuron.v)
        # A readout never fires; its counter says how far the run is.
        signal.connect(_counter(network, layer, index, period, samples, folder).a_in)
    return LavaGraph(source, total_steps(network, samples, period), readout, early)


def run_config(stock_conv: bool = False) -> Loihi2SimCfg:
    """Return the run configuration of Lava's bit-accurate CPU models.

    Args:
        stock_conv: use Lava's own slow model of ``Conv``.
    """
    model = PyConvModelFixed if stock_conv else PyUnfoldedConvModel
    return Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map={LavaConv: model})


def _lava_order(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Turn [samples, C, H, W] into Lava's [samples, W, H, C]; vectors stay as they are."""
    return array.transpose(0, 3, 2, 1) if array.ndim == 4 else array


def _synapse(layer: Layer, message_bits: int) -> AbstractProcess:
    if isinstance(layer, Conv2d):
        return LavaConv(
            # PyTorch correlates and Lava convolves: flip both axes; then (out, in, y, x) -> Lava's.
            weight=np.ascontiguousarray(layer.weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)),
            input_shape=layer.input_shape[::-1],
            stride=layer.stride[::-1],
            padding=layer.padding[::-1],
            dilation=layer.dilation[::-1],
            groups=layer.groups,
            num_message_bits=message_bits,
        )
    # Lava keeps the top bits of an 8-bit weight, so narrower weights are moved up and the sum down.
    shift = 8 - layer.weight_bits
    return LavaDense(
        weights=layer.weight.astype(np.int32) << shift,
        weight_exp=-shift,
        num_weight_bits=layer.weight_bits,
        sign_mode=SignMode.MIXED,
        num_message_bits=message_bits,
    )


def _neuron(
    network: QuantizedNetwork, layer: Layer, index: int, period: int
) -> AbstractProcess:
    shape = layer.output_shape[::-1]
    bias = np.broadcast_to(layer.bias_image(), layer.output_shape).T
    start = window_start(index)
    if layer.threshold is not None and network.reset == "subtract":
        return IF(
            shape=shape,
            threshold=layer.threshold,
            bias=bias,
            num_steps=network.num_steps,
            period=period,
            offset=start,
        )
    exponent = bias_exponent(layer.bias)
    return LIFReset(
        shape=shape,
        # A voltage is clipped below 2^23 and the comparison is strict: 2^17 is never exceeded.
        vth=VTH_MAX + 1 if layer.threshold is None else layer.threshold - 1,
        bias_mant=bias >> (exponent - BIAS_EXPONENT_MIN),
        bias_exp=exponent,
        reset_interval=period,
        reset_offset=start % period,
        **(_INTEGRATOR if layer.threshold is None else _NO_LEAK),
    )


def _counter(
    network: QuantizedNetwork,
    layer: Layer,
    index: int,
    period: int,
    samples: int,
    folder: Path,
) -> SpikeCounter:
    shape = layer.output_shape[::-1]
    counts, progress = counts_path(folder, index), progress_path(folder, index)
    files: tuple[tuple[Path, Any, tuple[int, ...]], ...] = (
        (counts, np.int32, (samples, *shape)),
        (progress, np.int64, (1,)),
    )
    for path, dtype, size in files:
        np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=size).flush()
    return SpikeCounter(
        shape=shape,
        num_steps=network.num_steps,
        period=period,
        offset=window_start(index),
        counts_path=str(counts),
        progress_path=str(progress),
    )
