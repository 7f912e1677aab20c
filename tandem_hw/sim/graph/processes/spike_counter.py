"""A sink that counts the spikes of one layer, sample by sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from tandem_hw.sim.graph.window import Window
from tandem_hw.sim.graph.window_record import SpikeCounts


class SpikeCounter(AbstractProcess):
    """Counts the spikes of each neuron over each sample's window.

    Args:
        shape: shape of the neurons, in Lava's axis order.
        window, counts_path, progress_path: as in ``SpikeCounts``.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        window: Window,
        counts_path: str,
        progress_path: str,
    ) -> None:
        super().__init__(window=window, counts_path=counts_path, progress_path=progress_path)
        self.a_in = InPort(shape=shape)


@implements(proc=SpikeCounter, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PySpikeCounterModel(PyLoihiProcessModel):
    """Adds what it receives to the row of the current sample."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        names = ("window", "counts_path", "progress_path")
        self.spike_counts = SpikeCounts(**{name: proc_params[name] for name in names})

    def run_spk(self) -> None:
        """Count one step."""
        self.spike_counts.add(self.time_step, self.a_in.recv())
