"""Models under which the processes of a graph run on without waiting for each other.

Under Lava's ``LoihiProtocol`` a runtime service tells every process to take a step and waits until
all have said that they are done: of a step of a small network that is most of the time. None of it
is needed to get the numbers right. A process takes exactly one message from every in port in a step
and puts exactly one into every out port, so what it computes depends on what it receives and not on
when. Under Lava's ``AsyncProtocol`` each process is told once how many steps to take, and runs
ahead of the next one by as many messages as Lava's channels hold: 64, by ``pypy_channel_size``.

The steps themselves are those of the models named here: Lava's own, ``PyUnfoldedConvModel`` and
``PyIFModel``. The neurons keep counts and states themselves, where the ``LoihiProtocol`` needs a
``SpikeCounter`` and a ``StateRecorder`` beside them.

This module imports Lava; import it only where Lava is. It is no file of ``processes``, where Lava
would find these models by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from lava.magma.core.decorator import implements
from lava.magma.core.model.py.model import PyAsyncProcessModel
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.sync.protocols.async_protocol import AsyncProtocol
from lava.proc.conv.process import Conv
from lava.proc.dense.models import PyDenseModelBitAcc
from lava.proc.dense.process import Dense
from lava.proc.io.dataloader import PySpikeModelFixed, SpikeDataloader
from lava.proc.lif.models import PyLifModelBitAcc, PyLifResetModelBitAcc
from lava.proc.lif.process import LIF, LIFReset
from lava.proc.sparse.models import PySparseModelBitAcc
from lava.proc.sparse.process import Sparse

from tandem_hw.sim.graph.processes.convolution import PyUnfoldedConvModel
from tandem_hw.sim.graph.processes.integrate_and_fire import IF, PyIFModel
from tandem_hw.sim.graph.window import Window
from tandem_hw.sim.graph.window_record import SpikeCounts, WindowStates

#: Name of the process parameter that holds a ``LayerRecord``.
_RECORD: Final = "layer_record"


@dataclass(frozen=True)
class LayerRecord:
    """What is kept of a layer's neurons; the files are as ``window_record`` says.

    Attributes:
        window: when the layer works.
        counts_path: receives the spike counts.
        progress_path: receives the last finished step and the spikes between windows.
        state: the variable whose values are kept at each window's end, "u" or "v", and the file
            that receives them.
    """

    window: Window
    counts_path: str
    progress_path: str
    state: tuple[str, str] | None = None


def keep_record(neuron: AbstractProcess, record: LayerRecord) -> None:
    """Make an ``IF`` or a ``LIFReset`` that is not compiled yet keep a record of its own."""
    neuron.proc_params[_RECORD] = record


@implements(protocol=AsyncProtocol)
class FreeRunning(PyAsyncProcessModel):
    """Takes all steps of a run one after the other; comes first of a model's base classes.

    Of the phases of the ``LoihiProtocol`` it has the spiking phase and what follows it; a model
    that learns, or whose variables others read, needs the protocol itself.
    """

    def run_async(self) -> None:
        """Take as many steps as the run has."""
        for _ in range(self.num_steps):
            self.time_step += 1
            self.run_spk()
            if self.post_guard():
                self.run_post_mgmt()


class FreeSource(FreeRunning, PySpikeModelFixed):
    """Lava's source of samples."""


class FreeConvolution(FreeRunning, PyUnfoldedConvModel):
    """Our drop-in for Lava's ``Conv``."""


class FreeDense(FreeRunning, PyDenseModelBitAcc):
    """Lava's ``Dense``."""


class FreeSparse(FreeRunning, PySparseModelBitAcc):
    """Lava's ``Sparse``."""


class FreeRelay(FreeRunning, PyLifModelBitAcc):
    """Lava's ``LIF``."""


class _RecordedNeurons(FreeRunning):
    """Neurons that keep what their process parameters ask for; ``fired`` are a step's spikes.

    Those of a relay layer are asked for nothing.
    """

    fired: npt.NDArray[Any]

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.spike_counts: SpikeCounts | None = None
        self.window_states: WindowStates | None = None
        record = proc_params.get(_RECORD)
        if record is not None:
            self._keep(record)

    def _keep(self, record: LayerRecord) -> None:
        self.spike_counts = SpikeCounts(
            window=record.window,
            counts_path=record.counts_path,
            progress_path=record.progress_path,
        )
        if record.state is not None:
            self.state, path = record.state
            self.window_states = WindowStates(window=record.window, record_path=path)

    def run_spk(self) -> None:
        """Take a step and keep what it gave."""
        super().run_spk()
        if self.window_states is not None and self.window_states.due(self.time_step):
            self.window_states.keep(self.time_step, getattr(self, self.state))
        if self.spike_counts is not None:
            self.spike_counts.add(self.time_step, self.fired)


class FreeIF(_RecordedNeurons, PyIFModel):
    """Our neurons with windows of their own."""


class FreeLIFReset(_RecordedNeurons, PyLifResetModelBitAcc):
    """Lava's neurons with a reset."""

    def spiking_activation(self) -> npt.NDArray[np.bool_]:
        """Return which neurons fire, as Lava's model says, and remember it."""
        fired: npt.NDArray[np.bool_] = super().spiking_activation()
        self.fired = fired
        return fired


#: The model of every process of a graph that runs freely.
FREE_MODELS: Final[dict[type[AbstractProcess], type[FreeRunning]]] = {
    SpikeDataloader: FreeSource,
    Conv: FreeConvolution,
    Dense: FreeDense,
    Sparse: FreeSparse,
    LIF: FreeRelay,
    IF: FreeIF,
    LIFReset: FreeLIFReset,
}
