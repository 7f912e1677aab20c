"""The paper's integrate-and-fire neuron, reset by subtraction, as a Lava Process."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from tandem_hw.fixed_point import STATE_BITS, STATE_FRACTION_BITS, VOLTAGE_LIMIT


class IF(AbstractProcess):
    """Integrate-and-fire neurons with reset by subtraction and a window of their own.

    In the steps of a window, in weight units:

        u[t] = u[t-1] + a_in[t] - threshold s[t-1];  v[t] = u[t] + bias;  s[t] = v[t] >= threshold

    u starts at 0 in the window's first step; between windows nothing fires.

    Args:
        shape: shape of the neurons, in Lava's axis order.
        threshold: firing threshold in weight units, m * 2^e.
        bias: integer bias of each neuron in weight units, of shape ``shape``.
        num_steps: length T of a window.
        period: steps from one window to the next, at least T + 1.
        offset: the step, counted from 1, in which the first window starts.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        threshold: int,
        bias: npt.NDArray[np.integer[Any]],
        num_steps: int,
        period: int,
        offset: int,
    ) -> None:
        super().__init__(shape=shape, num_steps=num_steps, period=period, offset=offset)
        if period <= num_steps:  # checked here: Lava's destructor needs what its __init__ sets
            raise ValueError(f"a period of {period} steps leaves none after {num_steps} steps")
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.u = Var(shape=shape, init=0)
        self.v = Var(shape=shape, init=0)
        self.bias = Var(shape=shape, init=bias)
        self.threshold = Var(shape=(1,), init=threshold)


@implements(proc=IF, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyIFModel(PyLoihiProcessModel):
    """Leaf model: one process, equal state for state to the stock parts of docs/arithmetic.md."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    u: npt.NDArray[np.integer[Any]] = LavaPyType(np.ndarray, np.int32, precision=24)
    v: npt.NDArray[np.integer[Any]] = LavaPyType(np.ndarray, np.int32, precision=24)
    bias: npt.NDArray[np.integer[Any]] = LavaPyType(np.ndarray, np.int32)
    threshold: npt.NDArray[np.integer[Any]] = LavaPyType(np.ndarray, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.num_steps: int = proc_params["num_steps"]
        self.period: int = proc_params["period"]
        self.offset: int = proc_params["offset"]
        self.fired = np.zeros(proc_params["shape"], dtype=np.int32)

    def run_spk(self) -> None:
        """Integrate one step and fire."""
        a_in = self.a_in.recv()
        phase = (self.time_step - self.offset) % self.period
        if phase == 0:
            self.u[:] = 0
            self.fired[:] = 0
        net_input = np.int32(a_in) - self.threshold * self.fired
        self.u[:] = wrap_current(self.u + (net_input << STATE_FRACTION_BITS))
        voltage = self.u + (self.bias << STATE_FRACTION_BITS)
        self.v[:] = np.clip(voltage, -VOLTAGE_LIMIT, VOLTAGE_LIMIT)
        above = self.v > ((self.threshold - 1) << STATE_FRACTION_BITS)
        self.fired[:] = above if phase < self.num_steps else 0
        self.s_out.send(self.fired)


def wrap_current(current: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Wrap a 32-bit current to 24 bits as ``AbstractPyLifModelFixed.subthr_dynamics`` does.

    It takes 2^24 off once above 2^23 and adds it once at or below -2^23, so 2^23 itself stays.
    """
    half, span = np.int32(1 << (STATE_BITS - 1)), np.int32(1 << STATE_BITS)
    wrapped = np.where(current > half, current - span, current)
    return np.where(current <= -half, current + span, wrapped)
