"""A Lava process graph of a quantized network, for Lava's CPU simulator.

    source -> synapses -> neurons -> ... -> synapses -> readout
                             |-> SpikeCounter              |-> StateRecorder

The layers come from ``tandem_hw.sim.graph.layers``; when which sample is in which layer is said in
``tandem_hw.chip.timing``. A graph in which all processes go step by step has the counters and
recorders; in one whose processes run freely (``tandem_hw.sim.graph.free_running``) the neurons keep
counts and states themselves.

This module imports Lava; import it only where Lava is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.conv.models import PyConvModelFixed
from lava.proc.conv.process import Conv as LavaConv
from lava.proc.io.dataloader import SpikeDataloader

from tandem_hw.chip.axis_order import lava_shape, to_lava
from tandem_hw.chip.timing import total_steps
from tandem_hw.network.quantized import Layer, QuantizedNetwork
from tandem_hw.sim.graph.free_running import (
    FREE_MODELS,
    LayerRecord,
    keep_record,
)
from tandem_hw.sim.graph.layers import LayerProcesses, connect_layers
from tandem_hw.sim.graph.processes.convolution import PyUnfoldedConvModel
from tandem_hw.sim.graph.processes.spike_counter import SpikeCounter
from tandem_hw.sim.graph.processes.state_recorder import StateRecorder
from tandem_hw.sim.graph.window_record import make_mapped_file
from tandem_hw.sim.lava_cpu import job as lava_job
from tandem_hw.sim.lava_cpu.job import counts_path, progress_path, state_path


@dataclass(frozen=True)
class LavaGraph:
    """A built graph; its results appear in the files of ``tandem_hw.sim.lava_cpu.job``.

    Attributes:
        entry: a process of the graph; running it runs all.
        num_steps: steps that all samples need.
        layers: the processes of every layer.
        config: says which models its processes have.
    """

    entry: AbstractProcess
    num_steps: int
    layers: tuple[LayerProcesses, ...]
    config: Loihi2SimCfg

    def run(self) -> None:
        """Run all samples; ``entry.stop`` ends the processes afterwards."""
        self.entry.run(RunSteps(num_steps=self.num_steps), self.config)


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
    stock_conv: bool = False,
    keep_final_state: bool = False,
) -> LavaGraph:
    """Build the graph that runs all samples back to back.

    Args:
        network: what to run.
        inputs: uint8 [samples, *network.sample_shape].
        folder: receives the files of ``counts_path``, ``progress_path`` and ``state_path``.
        period: steps from one sample to the next.
        lowered: build the neurons of stock processes only, and go step by step.
        stock_conv: use Lava's own slow model of ``Conv``, and go step by step.
        keep_final_state: record the states of firing layers at the window's end as well.

    Returns:
        The graph, not yet compiled.

    Raises:
        NetworkError: the period does not suit the network, or a lowered neuron does not fit the
            chip's registers.
    """
    samples = len(inputs)
    built = connect_layers(network, period, lowered=lowered)
    source = SpikeDataloader(
        dataset=SampleFrames(inputs, network, period), interval=period, offset=0
    )
    built.feed(source.s_out)
    free = not (lowered or stock_conv)
    for index, processes in enumerate(built.layers, start=1):
        # A readout never fires: its state is the result, and its progress says how far the run is.
        kept = keep_final_state or not processes.layer.fires
        state = _whole_state(network, processes.layer) if kept else None
        record = _record(processes, index, samples, folder, state)
        if free:
            keep_record(processes.neuron, record)
        else:
            _connect_sinks(processes, record)
    config = free_run_config() if free else run_config(stock_conv)
    return LavaGraph(source, total_steps(network, samples, period), built.layers, config)


def run_config(stock_conv: bool = False) -> Loihi2SimCfg:
    """Return the run configuration of Lava's bit-accurate CPU models, which go step by step.

    Args:
        stock_conv: use Lava's own slow model of ``Conv``.
    """
    model = PyConvModelFixed if stock_conv else PyUnfoldedConvModel
    return Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map={LavaConv: model})


def free_run_config() -> Loihi2SimCfg:
    """Return the run configuration of the same models, which run freely."""
    return Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=dict(FREE_MODELS))


def _whole_state(network: QuantizedNetwork, layer: Layer) -> str:
    """Return the variable of a layer's neurons that holds their state at the window's end."""
    # The current of a neuron that resets by subtraction is whole, its voltage cleared.
    return "u" if network.reset == "subtract" and layer.fires else "v"


def _record(
    processes: LayerProcesses, index: int, samples: int, folder: Path, state: str | None
) -> LayerRecord:
    """Return what is to be kept of a layer, and make the files for it."""
    shape = (samples, *lava_shape(processes.layer.output_shape))
    counts, progress = counts_path(folder, index), progress_path(folder, index)
    make_mapped_file(counts, np.int32, shape)
    make_mapped_file(progress, np.int64, (len(lava_job.PROGRESS),))
    states = state_path(folder, index)
    if state is not None:
        make_mapped_file(states, np.int32, shape)
    kept = None if state is None else (state, str(states))
    return LayerRecord(processes.window, str(counts), str(progress), kept)


def _connect_sinks(processes: LayerProcesses, record: LayerRecord) -> None:
    """Connect the processes that keep a record of neurons that do not do so themselves."""
    shape = lava_shape(processes.layer.output_shape)
    counter = SpikeCounter(
        shape=shape,
        window=record.window,
        counts_path=record.counts_path,
        progress_path=record.progress_path,
    )
    processes.neuron.s_out.connect(counter.a_in)
    if record.state is not None:
        variable, path = record.state
        recorder = StateRecorder(shape=shape, window=record.window, record_path=path)
        recorder.state.connect_var(getattr(processes.neuron, variable))
