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

from tandem_hw.sim.graph.window import Window
from tandem_hw.sim.graph.window_record import WindowStates


class StateRecorder(AbstractProcess):
    """Reads currents or voltages once a period, after a step is over, as Lava has them.

    Args:
        shape: shape of the neurons, in Lava's axis order.
        window, record_path: as in ``WindowStates``.
    """

    def __init__(self, *, shape: tuple[int, ...], window: Window, record_path: str) -> None:
        super().__init__(window=window, record_path=record_path)
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
        names = ("window", "record_path")
        self.window_states = WindowStates(**{name: proc_params[name] for name in names})

    def post_guard(self) -> bool:
        """Whether a window has ended in this step."""
        return self.window_states.due(self.time_step)

    def run_post_mgmt(self) -> None:
        """Read the states at the end of the step."""
        self.window_states.keep(self.time_step, self.state.read())
