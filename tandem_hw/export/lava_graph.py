"""A Lava process graph of a quantized network, for Lava's CPU simulator.

    source -> Conv | Dense -> neurons -> ... -> Conv | Dense -> readout
                                 |-> SpikeCounter                  |-> Read

The layers come from ``lava_layers``; when which sample is in which layer is said in
``tandem_hw.timing``.

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
from lava.proc.io.dataloader import SpikeDataloader
from lava.proc.io.sink import Read

from tandem_hw.export.lava_layers import LayerProcesses, connect_layers, connect_signal
from tandem_hw.fixed_point import STATE_FRACTION_BITS
from tandem_hw.network import QuantizedNetwork
from tandem_hw.sim import lava_job
from tandem_hw.sim.lava_job import counts_path, progress_path
from tandem_hw.sim.processes.convolution import PyUnfoldedConvModel
from tandem_hw.sim.processes.spike_counter import SpikeCounter
from tandem_hw.timing import total_steps


@dataclass(frozen=True)
class LavaGraph:
    """A built graph and where its results appear.

    Attributes:
        entry: a process of the graph; running it runs all.
        num_steps: steps that all samples need.
        readout: the sink that reads the readout's voltage, or None where it is counted.
        first_read: index of the first sample's value in the sink's data.
        layers: the processes of every layer.
    """

    entry: AbstractProcess
    num_steps: int
    readout: Read | None
    first_read: int
    layers: tuple[LayerProcesses, ...]

    def potential(self, samples: int) -> npt.NDArray[np.int32] | None:
        """Read the potentials [samples, outputs], v >> 6 in weight units; before ``stop()``."""
        if self.readout is None:
            return None
        voltage = self.readout.data.get().astype(np.int64)
        window = voltage[..., self.first_read : self.first_read + samples]
        potential: npt.NDArray[np.int32] = (window.T >> STATE_FRACTION_BITS).astype(np.int32)
        return potential


class SampleFrames:
    """Makes the frames of each sample on the fly, as ``SpikeDataloader`` asks for them.

    Args:
        inputs: uint8 [samples, *network.sample_shape].
        network: says how they are sent.
        period: frames of a sample.
    """

    def __init__(
        self, inputs: npt.NDArray[np.uint8], network: QuantizedNetwork, period: int
    ) -> None:
        self.inputs, self.network, self.period = inputs, network, period

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.int32], int]:
        """Return the frames [*shape, period] of a sample and a label that nobody reads."""
        sample, network = self.inputs[index], self.network
        if network.input.encoding != "events":
            sends = network.num_steps if network.input.encoding == "constant" else 1
            sample = np.broadcast_to(sample, (sends, *sample.shape))
        # [steps, C, H, W] becomes Lava's [W, H, C, steps].
        frames = np.zeros((*network.input.shape[::-1], self.period), dtype=np.int32)
        frames[..., : len(sample)] = sample.T
        return frames, 0


def build_graph(
    network: QuantizedNetwork,
    inputs: npt.NDArray[np.uint8],
    folder: Path,
    period: int,
    *,
    lowered: bool = False,
) -> LavaGraph:
    """Build the graph that runs all samples back to back.

    Args:
        network: what to run.
        inputs: uint8 [samples, *network.sample_shape].
        folder: receives the files of ``counts_path`` and ``progress_path``.
        period: steps from one sample to the next.
        lowered: build the neurons of stock processes only.

    Returns:
        The graph, not yet compiled.

    Raises:
        NetworkError: the period does not suit the network, or a lowered neuron does not fit the
            chip's registers.
    """
    samples = len(inputs)
    layers = connect_layers(network, period, lowered=lowered)
    frames = SampleFrames(inputs, network, period)
    source = SpikeDataloader(dataset=frames, interval=period, offset=0)
    connect_signal(source.s_out, layers[0].layer, layers[0].synapse)
    for index, processes in enumerate(layers, start=1):
        # A readout never fires; its counter says how far the run is.
        processes.neuron.s_out.connect(_counter(processes, index, samples, folder).a_in)
    readout: Read | None = None
    early = 0
    if network.readout == "potential":
        # The voltage is read at the end of the window's last step (``Read``: (t - 1) mod P).
        last = layers[-1].window.offset + network.num_steps - 1
        early = (last - 1) // period
        readout = Read(buffer=samples + early, interval=period, offset=last - 1)
        readout.connect_var(layers[-1].neuron.v)
    steps = total_steps(network, samples, period)
    return LavaGraph(source, steps, readout, early, tuple(layers))


def run_config(stock_conv: bool = False) -> Loihi2SimCfg:
    """Return the run configuration of Lava's bit-accurate CPU models.

    Args:
        stock_conv: use Lava's own slow model of ``Conv``.
    """
    model = PyConvModelFixed if stock_conv else PyUnfoldedConvModel
    return Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map={LavaConv: model})


def _counter(processes: LayerProcesses, index: int, samples: int, folder: Path) -> SpikeCounter:
    shape = processes.layer.output_shape[::-1]
    counts, progress = counts_path(folder, index), progress_path(folder, index)
    files: tuple[tuple[Path, Any, tuple[int, ...]], ...] = (
        (counts, np.int32, (samples, *shape)),
        (progress, np.int64, (len(lava_job.PROGRESS),)),
    )
    for path, dtype, size in files:
        np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=size).flush()
    return SpikeCounter(
        shape=shape,
        num_steps=processes.window.num_steps,
        period=processes.window.period,
        offset=processes.window.offset,
        counts_path=str(counts),
        progress_path=str(progress),
    )
