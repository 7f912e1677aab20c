"""A Lava process graph of a quantized network, for Lava's CPU simulator.

    source -> synapses -> neurons -> ... -> synapses -> readout
                             |-> SpikeCounter              |-> StateRecorder

The layers come from ``tandem_hw.sim.graph.layers``; when which sample is in which layer is said in
``tandem_hw.chip.timing``.

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

from tandem_hw.chip.axis_order import lava_shape, to_lava
from tandem_hw.chip.timing import total_steps
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim.graph.layers import LayerProcesses, connect_layers
from tandem_hw.sim.graph.processes.convolution import PyUnfoldedConvModel
from tandem_hw.sim.graph.processes.spike_counter import SpikeCounter
from tandem_hw.sim.graph.processes.state_recorder import StateRecorder
from tandem_hw.sim.lava_cpu import job as lava_job
from tandem_hw.sim.lava_cpu.job import counts_path, progress_path, state_path


@dataclass(frozen=True)
class LavaGraph:
    """A built graph; its results appear in the files of ``tandem_hw.sim.lava_cpu.job``.

    Attributes:
        entry: a process of the graph; running it runs all.
        num_steps: steps that all samples need.
        layers: the processes of every layer.
    """

    entry: AbstractProcess
    num_steps: int
    layers: tuple[LayerProcesses, ...]


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
        """Return the frames of a sample, Lava's shape and then steps, and a label for nobody."""
        spec, num_steps = self.network.input, self.network.num_steps
        (sent,) = spec.frames(self.inputs[index : index + 1], num_steps)
        frames = np.zeros((*lava_shape(spec.shape), self.period), dtype=np.int32)
        frames[..., : len(sent)] = np.moveaxis(to_lava(sent, spec.shape), 0, -1)
        return frames, 0


def build_graph(
    network: QuantizedNetwork,
    inputs: npt.NDArray[np.uint8],
    folder: Path,
    period: int,
    *,
    lowered: bool = False,
    keep_final_state: bool = False,
) -> LavaGraph:
    """Build the graph that runs all samples back to back.

    Args:
        network: what to run.
        inputs: uint8 [samples, *network.sample_shape].
        folder: receives the files of ``counts_path``, ``progress_path`` and ``state_path``.
        period: steps from one sample to the next.
        lowered: build the neurons of stock processes only.
        keep_final_state: record the states of firing layers at the window's end as well.

    Returns:
        The graph, not yet compiled.

    Raises:
        NetworkError: the period does not suit the network, or a lowered neuron does not fit the
            chip's registers.
    """
    samples = len(inputs)
    built = connect_layers(network, period, lowered=lowered)
    frames = SampleFrames(inputs, network, period)
    source = SpikeDataloader(dataset=frames, interval=period, offset=0)
    built.feed(source.s_out)
    for index, processes in enumerate(built.layers, start=1):
        # A readout never fires; its counter says how far the run is.
        processes.neuron.s_out.connect(_counter(processes, index, samples, folder).a_in)
        if keep_final_state or not processes.layer.fires:
            # The current of a neuron that resets by subtraction is whole, its voltage cleared.
            current = network.reset == "subtract" and processes.layer.fires
            state = processes.neuron.u if current else processes.neuron.v
            _recorder(processes, index, samples, folder).state.connect_var(state)
    return LavaGraph(source, total_steps(network, samples, period), built.layers)


def run_config(stock_conv: bool = False) -> Loihi2SimCfg:
    """Return the run configuration of Lava's bit-accurate CPU models.

    Args:
        stock_conv: use Lava's own slow model of ``Conv``.
    """
    model = PyConvModelFixed if stock_conv else PyUnfoldedConvModel
    return Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map={LavaConv: model})


def _counter(processes: LayerProcesses, index: int, samples: int, folder: Path) -> SpikeCounter:
    shape = lava_shape(processes.layer.output_shape)
    counts, progress = counts_path(folder, index), progress_path(folder, index)
    _make_file(counts, np.int32, (samples, *shape))
    _make_file(progress, np.int64, (len(lava_job.PROGRESS),))
    return SpikeCounter(
        shape=shape,
        num_steps=processes.window.num_steps,
        period=processes.window.period,
        offset=processes.window.offset,
        counts_path=str(counts),
        progress_path=str(progress),
    )


def _recorder(processes: LayerProcesses, index: int, samples: int, folder: Path) -> StateRecorder:
    shape, path = lava_shape(processes.layer.output_shape), state_path(folder, index)
    _make_file(path, np.int32, (samples, *shape))
    return StateRecorder(
        shape=shape,
        last_step=processes.window.offset + processes.window.num_steps - 1,
        period=processes.window.period,
        record_path=str(path),
    )


def _make_file(path: Path, dtype: Any, shape: tuple[int, ...]) -> None:
    np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape).flush()
