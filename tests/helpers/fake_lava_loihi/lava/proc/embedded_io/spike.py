"""Stands for lava-loihi's adapters of spikes: they pass values on, later by FAKE_*_DELAY steps."""

import os
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class _Adapter(AbstractProcess):
    delay = "FAKE_NO_DELAY"

    def __init__(self, *, shape: tuple[int, ...], num_message_bits: int = 0, **options: Any):
        super().__init__(shape=shape, delay=int(os.environ.get(self.delay, "0")))
        self.inp = InPort(shape=shape)
        self.out = OutPort(shape=shape)


class PyToNxAdapter(_Adapter):
    delay = "FAKE_INPUT_DELAY"


class PyToN3ConvAdapter(_Adapter):
    delay = "FAKE_INPUT_DELAY"


class NxToPyAdapter(_Adapter):
    delay = "FAKE_OUTPUT_DELAY"


class _PyAdapterModel(PyLoihiProcessModel):
    inp: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        shape, delay = proc_params["shape"], proc_params["delay"]
        self.line = [np.zeros(shape, dtype=np.int32) for _ in range(delay)]

    def run_spk(self) -> None:
        self.line.append(np.array(self.inp.recv(), dtype=np.int32))
        self.out.send(self.line.pop(0))


@implements(proc=PyToNxAdapter, protocol=LoihiProtocol)
@requires(CPU)
class PyPyToNxModel(_PyAdapterModel):
    pass


@implements(proc=PyToN3ConvAdapter, protocol=LoihiProtocol)
@requires(CPU)
class PyPyToN3ConvModel(_PyAdapterModel):
    pass


@implements(proc=NxToPyAdapter, protocol=LoihiProtocol)
@requires(CPU)
class PyNxToPyModel(_PyAdapterModel):
    pass
