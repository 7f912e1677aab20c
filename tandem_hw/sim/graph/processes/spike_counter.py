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


class SpikeCounter(AbstractProcess):
    """Counts the spikes of each neuron over each sample's window.

    The counts go into a file that is mapped into memory, one row a sample: ``Var.get`` of Lava
    sends every element as a message of its own, which is far too slow for a layer's counts.

    Args:
        shape: shape of the neurons, in Lava's axis order.
        num_steps: length T of a window.
        period: steps from one window to the next.
        offset: the step, counted from 1, in which the first window starts.
        counts_path: an existing .npy file, int32 [samples, *shape].
        progress_path: an existing .npy file, int64 [2], that receives the last finished step and
            the number of spikes between windows.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        num_steps: int,
        period: int,
        offset: int,
        counts_path: str,
        progress_path: str,
    ) -> None:
        super().__init__(
            num_steps=num_steps,
            period=period,
            offset=offset,
            counts_path=counts_path,
            progress_path=progress_path,
        )
        self.a_in = InPort(shape=shape)


@implements(proc=SpikeCounter, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PySpikeCounterModel(PyLoihiProcessModel):
    """Adds what it receives to the row of the current sample."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.num_steps: int = proc_params["num_steps"]
        self.period: int = proc_params["period"]
        self.offset: int = proc_params["offset"]
        self.counts = np.lib.format.open_memmap(proc_params["counts_path"], mode="r+")
        self.progress = np.lib.format.open_memmap(proc_params["progress_path"], mode="r+")

    def run_spk(self) -> None:
        """Count one step."""
        spikes = self.a_in.recv()
        sample, phase = divmod(int(self.time_step) - self.offset, self.period)
        if 0 <= sample < len(self.counts):
            if phase < self.num_steps:
                self.counts[sample] += spikes
            else:
                self.progress[1] += int(np.count_nonzero(spikes))
        self.progress[0] = self.time_step
