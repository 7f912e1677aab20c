"""A sink on the host that keeps what it receives in every step, in a file."""

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


class StepRecorder(AbstractProcess):
    """Writes what comes in at step t to row t - 1 of a file.

    Args:
        shape: shape of what comes in.
        record_path: an existing .npy file [steps, *shape] of zeros.
        progress_path: an existing .npy file, int64 [1], that receives the last finished step.
    """

    def __init__(self, *, shape: tuple[int, ...], record_path: str, progress_path: str) -> None:
        super().__init__(record_path=record_path, progress_path=progress_path)
        self.a_in = InPort(shape=shape)
        #: Lava finds a graph by its connections; this one ties every recorder to the source.
        self.tick = InPort(shape=(1,))


@implements(proc=StepRecorder, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyStepRecorderModel(PyLoihiProcessModel):
    """Writes one row a step."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    tick: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.record = np.lib.format.open_memmap(proc_params["record_path"], mode="r+")
        self.progress = np.lib.format.open_memmap(proc_params["progress_path"], mode="r+")

    def run_spk(self) -> None:
        """Record one step."""
        self.tick.recv()
        values, step = self.a_in.recv(), int(self.time_step)
        # What is silent stays a hole in the file: most rows of most layers are.
        if step <= len(self.record) and values.any():
            self.record[step - 1] = values
        self.progress[0] = step
