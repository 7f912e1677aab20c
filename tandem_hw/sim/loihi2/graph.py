"""The process graph of a quantized network for a Loihi 2 board.

    host                     chip                                                 host
    StepSource -> adapter -> synapses -> stock neurons -> ... -> readout
                                            |-> adapter -> StepRecorder |-> Read -> StepRecorder
                             clock -> adapter -> StepRecorder

The layers are those that ``tandem_hw.sim.graph.layers`` lowers to stock processes; the adapters at
the boundary come from lava-loihi (``lava.proc.embedded_io``) and are imported when the graph is
built. What is assumed of them stands in ``tandem_hw.sim.loihi2.assumptions``. Nothing here was run
on a board.

This module imports Lava; import it only where Lava is.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lava.magma.core.model.sub.model import AbstractSubProcessModel
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_configs import Loihi2HwCfg
from lava.proc.io.encoder import Compression
from lava.proc.lif.process import LIF

from tandem_hw.counted import counted
from tandem_hw.errors import BackendError, BackendUnavailableError
from tandem_hw.network.fixed_point import STATE_FRACTION_BITS
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.synapses.kind import Synapses, row_of
from tandem_hw.sim.graph.layers import LayerProcesses, connect_layers
from tandem_hw.sim.graph.processes.step_recorder import StepRecorder
from tandem_hw.sim.graph.processes.step_source import StepSource
from tandem_hw.sim.graph.stock_neurons import NO_LEAK
from tandem_hw.sim.graph.window_record import make_mapped_file
from tandem_hw.sim.loihi2 import job as loihi2_job
from tandem_hw.sim.loihi2.assumptions import (
    CONV_MESSAGE_BITS,
    CONV_SPIKE_EXP,
    DENSE_MESSAGE_BITS,
    INPUT_ADAPTERS,
    NEUROCORE_MODEL,
    PINNED_MODELS,
)
from tandem_hw.sim.loihi2.calibration import Marker
from tandem_hw.sim.loihi2.schedule import CLOCK_PERIOD, SOURCE_STEP, Schedule


@dataclass(frozen=True)
class BoardGraph:
    """A built graph, not yet compiled.

    Attributes:
        entry: a process of the graph; running it runs all.
        chip: by a name for messages, every process that has to run on neurocores.
    """

    entry: AbstractProcess
    chip: dict[str, AbstractProcess]


def build_board_graph(
    network: QuantizedNetwork, marker: Marker, schedule: Schedule, folder: Path
) -> BoardGraph:
    """Build the graph that runs the calibration and then all samples.

    Args:
        network: what to run.
        marker: what is sent in the calibration.
        schedule: when which sample runs.
        folder: holds the frames, and receives the records (``tandem_hw.sim.loihi2.job``).

    Raises:
        BackendUnavailableError: lava-loihi's adapters cannot be imported.
        NetworkError: the network does not fit the chip's registers or the period.
    """
    adapters = _Adapters()
    built = connect_layers(network, schedule.period, lowered=True)
    ((taking, first),) = built.inputs  # ``check_input_path`` sees to it
    source = _source(taking, marker, schedule, folder)
    adapter = adapters.into_chip(taking, source.s_out.shape)
    source.s_out.connect(adapter.inp)
    adapter.out.connect(first.s_in)
    recorders = _Recorders(source, folder, schedule.total_steps)
    chip: dict[str, AbstractProcess] = {}
    for index, layer in enumerate(built.layers, start=1):
        chip |= _named(layer)
        if not layer.layer.fires:
            _record_voltage(adapters, layer.neuron, recorders, loihi2_job.VOLTAGE)
        else:
            _record_spikes(adapters, layer.neuron, recorders, loihi2_job.spikes(index))
    clock = _clock()
    chip["the clock"] = clock
    _record_spikes(adapters, clock, recorders, loihi2_job.CLOCK)
    if network.readout == "potential":
        _record_voltage(adapters, clock, recorders, loihi2_job.CLOCK_VOLTAGE)
    return BoardGraph(source, chip)


def _named(processes: LayerProcesses) -> dict[str, AbstractProcess]:
    """Return all processes of a layer by names for messages."""
    layer, named = processes.layer, {}
    for synapses, process in zip(layer.synapses, processes.synapses, strict=True):
        which = "" if synapses.name == layer.name else f" of skip {synapses.name}"
        named[f"layer {layer.name}, synapses{which}"] = process
    for what, parts in (("its neurons", processes.parts), ("its relays", processes.relays)):
        named |= {f"layer {layer.name}, part {i} of {what}": part for i, part in enumerate(parts)}
    return named


def _takes_images(synapses: Synapses) -> bool:
    return row_of(INPUT_ADAPTERS, synapses, "backend loihi2's input") == "image"


class _Adapters:
    """The processes of ``lava.proc.embedded_io``, imported late; call shapes as in public code."""

    def __init__(self) -> None:
        try:
            self.spike: Any = importlib.import_module("lava.proc.embedded_io.spike")
            self.state: Any = importlib.import_module("lava.proc.embedded_io.state")
        except ImportError as error:
            raise BackendUnavailableError(
                f"backend loihi2: lava-loihi's adapters cannot be imported ({error}); install "
                f"lava-loihi for lava-nc 0.10.0 again"
            ) from error

    def into_chip(self, synapses: Synapses, shape: tuple[int, ...]) -> Any:
        """Return the adapter for graded input; lava-dl chooses by what it feeds."""
        if _takes_images(synapses):
            return self.spike.PyToN3ConvAdapter(
                shape=shape,
                num_message_bits=CONV_MESSAGE_BITS,
                spike_exp=CONV_SPIKE_EXP,
                compression=Compression.DENSE,
            )
        return self.spike.PyToNxAdapter(shape=shape, num_message_bits=DENSE_MESSAGE_BITS)

    def out_of_chip(self, shape: tuple[int, ...]) -> Any:
        """Return the adapter for spikes."""
        return self.spike.NxToPyAdapter(shape=shape, num_message_bits=0)

    def read(self, shape: tuple[int, ...]) -> Any:
        """Return the reader of a state in every step."""
        return self.state.Read(shape=shape)


@dataclass(frozen=True)
class _Recorders:
    """Makes recorders and their files, and ties them to the source."""

    source: StepSource
    folder: Path
    steps: int

    def make(self, name: str, shape: tuple[int, ...], dtype: type) -> StepRecorder:
        record = loihi2_job.record_path(self.folder, name)
        progress = loihi2_job.progress_path(self.folder, name)
        np.lib.format.open_memmap(record, "w+", dtype, (self.steps, *shape)).flush()
        make_mapped_file(progress, np.int64, (1,))
        recorder = StepRecorder(shape=shape, record_path=str(record), progress_path=str(progress))
        self.source.tick.connect(recorder.tick)
        return recorder


def _source(synapses: Synapses, marker: Marker, schedule: Schedule, folder: Path) -> StepSource:
    return StepSource(
        marker=marker.frame,
        image=_takes_images(synapses),
        pattern=marker.pattern,
        marker_start=SOURCE_STEP,
        frames_path=str(folder / loihi2_job.FRAMES),
        order=schedule.order,
        period=schedule.period,
        start_path=str(folder / loihi2_job.START),
    )


def _record_spikes(
    adapters: _Adapters, neuron: AbstractProcess, recorders: _Recorders, name: str
) -> None:
    shape = neuron.s_out.shape
    adapter, recorder = adapters.out_of_chip(shape), recorders.make(name, shape, np.uint8)
    neuron.s_out.connect(adapter.inp)
    adapter.out.connect(recorder.a_in)


def _record_voltage(
    adapters: _Adapters, neuron: AbstractProcess, recorders: _Recorders, name: str
) -> None:
    shape = neuron.v.shape
    reader, recorder = adapters.read(shape), recorders.make(name, shape, np.int32)
    reader.connect_var(neuron.v)
    reader.out.connect(recorder.a_in)


def _clock() -> LIF:
    """Return a neuron that fires in the steps K, 2K, ... and whose voltage counts them."""
    return LIF(
        shape=(1,), vth=CLOCK_PERIOD - 1, bias_mant=1, bias_exp=STATE_FRACTION_BITS, **NO_LEAK
    )


def board_run_config(callbacks: Sequence[Any] = ()) -> Loihi2HwCfg:
    """Return the run configuration of a board, with the known models of neurocores pinned.

    Args:
        callbacks: profilers of lava-loihi.
    """
    pinned: dict[Any, Any] = {}
    for process, (module, name) in PINNED_MODELS.items():
        home, _, process_name = process.rpartition(".")
        try:
            model = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue  # another lava-loihi; what is chosen instead is checked all the same
        pinned[getattr(importlib.import_module(home), process_name)] = model
    return Loihi2HwCfg(
        select_tag=None, exception_proc_model_map=pinned, callback_fxs=list(callbacks)
    )


def compile_graph(graph: BoardGraph, run_config: Loihi2HwCfg) -> Any:
    """Compile a graph and make sure that the network would run on neurocores.

    Args:
        graph: as ``build_board_graph`` made it.
        run_config: as ``board_run_config`` made it.

    Returns:
        Lava's executable, for ``create_runtime``.

    Raises:
        BackendUnavailableError: lava-loihi has no class of models for neurocores.
        BackendError: names the processes that would run elsewhere.
    """
    try:
        executable = graph.entry.compile(run_config)
    except Exception:
        # Lava's compiler fails on a mixture ("Joining Mixed Processes not Supported") after it has
        # chosen the models: say which process is to blame, if one is.
        if all(process.model_class is not None for process in graph.chip.values()):
            require_neurocore_models(graph.chip)
        raise
    require_neurocore_models(graph.chip)
    return executable


def require_neurocore_models(chip: dict[str, AbstractProcess]) -> None:
    """Refuse a compiled graph in which a process of the network is not on the neurocores.

    ``Loihi2HwCfg`` takes a model of the embedded CPU or of the host where it finds none of a
    neurocore, and says nothing (lava/magma/core/run_configs.py, _order_according_to_resources).

    Args:
        chip: by a name for messages, the processes; the graph has been compiled.

    Raises:
        BackendUnavailableError: lava-loihi has no class of models for neurocores.
        BackendError: names the processes and the models that were chosen for them.
    """
    module, name = NEUROCORE_MODEL
    try:
        neurocore = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BackendUnavailableError(
            f"backend loihi2: {module}.{name} cannot be imported ({error}); install lava-loihi for "
            f"lava-nc 0.10.0 again"
        ) from error
    wrong = [
        f"{place} ({type(leaf).__name__}: {_name(leaf.model_class)})"
        for place, process in chip.items()
        for leaf in _leaves(process)
        if leaf.model_class is None or not issubclass(leaf.model_class, neurocore)
    ]
    if wrong:
        raise BackendError(
            f"{counted(len(wrong), 'process', 'processes')} of the network would not run on "
            f"neurocores: "
            f"{'; '.join(wrong[:4])}{'; ...' if len(wrong) > 4 else ''}. See PINNED_MODELS in "
            f"tandem_hw/sim/loihi2/assumptions.py"
        )


def _leaves(process: AbstractProcess) -> Iterator[AbstractProcess]:
    """Yield what a process was resolved to: itself, or the processes of its hierarchical model."""
    chosen = process.model_class
    if chosen is not None and issubclass(chosen, AbstractSubProcessModel):
        for part in process.procs:
            yield from _leaves(part)
    else:
        yield process


def _name(model: Any) -> str:
    return "no model" if model is None else f"{model.__module__}.{model.__qualname__}"
