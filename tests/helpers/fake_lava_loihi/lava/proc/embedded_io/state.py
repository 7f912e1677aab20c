"""Stands for lava-loihi's reader of a state: what a step left is sent in the next one, unsigned."""

import os
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyOutPort, PyRefPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import OutPort, RefPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class Read(AbstractProcess):
    def __init__(self, *, shape: tuple[int, ...], interval: int = 1, offset: int = 0) -> None:
        assert (interval, offset) == (1, 0)
        super().__init__(shape=shape, delay=int(os.environ.get("FAKE_READ_DELAY", "0")))
        self.state = RefPort(shape)
        self.out = OutPort(shape=shape)

    def connect_var(self, var: Var) -> None:
        self.state.connect_var(var)


@implements(proc=Read, protocol=LoihiProtocol)
@requires(CPU)
class PyReadModel(PyLoihiProcessModel):
    state: PyRefPort = LavaPyType(PyRefPort.VEC_DENSE, np.int32)
    out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        steps = proc_params["delay"] + 1
        self.line = [np.zeros(proc_params["shape"], dtype=np.int32) for _ in range(steps)]

    def run_spk(self) -> None:
        self.out.send(self.line.pop(0))

    def post_guard(self) -> bool:
        return True

    def run_post_mgmt(self) -> None:
        self.line.append(np.array(self.state.read(), dtype=np.int32) & 0xFFFFFF)
