"""A sink that keeps the states of a layer's neurons at the end of each sample's window."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyRefPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import RefPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class StateRecorder(AbstractProcess):
    """Reads currents or voltages once a period, after a step is over, as Lava has them.

    They go into a file that is mapped into memory, one row a sample: Lava's ``Read`` keeps them in
    a ``Var``, whose ``get`` sends every element as a message of its own.

    Args:
        shape: shape of the neurons, in Lava's axis order.
        last_step: the last step of the first window, counted from 1.
        period: steps from one window to the next.
        record_path: an existing .npy file, int32 [samples, *shape], in units of 1/64 weight unit.
    """

    def __init__(
        self, *, shape: tuple[int, ...], last_step: int, period: int, record_path: str
    ) -> None:
        super().__init__(last_step=last_step, period=period, record_path=record_path)
        #: To be connected to the neurons' u or v with ``connect_var``.
        self.state = RefPort(shape=shape)


@implements(proc=StateRecorder, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyStateRecorderModel(PyLoihiProcessModel):
    """Writes one row a sample."""

    state: PyRefPort = LavaPyType(PyRefPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.last_step: int = proc_params["last_step"]
        self.period: int = proc_params["period"]
        self.record = np.lib.format.open_memmap(proc_params["record_path"], mode="r+")

    def post_guard(self) -> bool:
        """Whether a window has ended in this step."""
        sample, phase = divmod(int(self.time_step) - self.last_step, self.period)
        return phase == 0 and 0 <= sample < len(self.record)

    def run_post_mgmt(self) -> None:
        """Read the states at the end of the step."""
        sample = (int(self.time_step) - self.last_step) // self.period
        self.record[sample] = self.state.read()
