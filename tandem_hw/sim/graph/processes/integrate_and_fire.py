"""Integrate-and-fire neurons with windows of their own, as a Lava Process."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.model.sub.model import AbstractSubProcessModel
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from tandem_hw.chip.guard import Guard
from tandem_hw.network.fixed_point import STATE_BITS, STATE_FRACTION_BITS, VOLTAGE_LIMIT
from tandem_hw.sim.graph.stock_neurons import stock_neurons
from tandem_hw.sim.graph.window import Window


class IF(AbstractProcess):
    """Integrate-and-fire neurons that fire in windows and are silent between them.

    In the steps of a window, in weight units and from nothing in its first step:

        reset "subtract":  u[t] = u[t-1] + a_in[t] - threshold s[t-1];  v[t] = u[t] + bias
        reset "zero":      v[t] = v[t-1] (1 - s[t-1]) + a_in[t] + bias
        both:              s[t] = v[t] >= threshold

    With a firing delay of d they are silent in the first d of these steps, which are then T + d.

    It has a leaf model, ``PyIFModel``, and one of stock processes, ``StockIFModel``.

    Args:
        shape: shape of the neurons, in Lava's axis order.
        threshold: firing threshold in weight units, m * 2^e.
        bias: integer bias of each neuron in weight units, of shape ``shape``.
        window: when they work; its period is at least T with reset "zero", T + d + 1 with
            "subtract".
        reset: "subtract" or "zero".
        inhibition: mantissa and exponent of the threshold as a weight; for the stock model.
        guard: what silences the neurons between windows; for the stock model.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        threshold: int,
        bias: npt.NDArray[np.integer[Any]],
        window: Window,
        reset: str = "subtract",
        inhibition: tuple[int, int] | None = None,
        guard: Guard | None = None,
    ) -> None:
        super().__init__(
            shape=shape,
            threshold=threshold,
            bias=bias,
            window=window,
            reset=reset,
            inhibition=inhibition,
            guard=guard,
        )
        # Checked here and not before: Lava's destructor needs what its __init__ sets.
        steps = window.num_steps + window.firing_delay
        if window.period < steps + (reset == "subtract"):
            raise ValueError(f"a period of {window.period} steps leaves none after {steps} steps")
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.u = Var(shape=shape, init=0)
        self.v = Var(shape=shape, init=0)


@implements(proc=IF, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyIFModel(PyLoihiProcessModel):
    """Leaf model: one process, equal state for state to the stock parts of docs/arithmetic.md."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    u: npt.NDArray[np.integer[Any]] = LavaPyType(np.ndarray, np.int32, precision=24)
    v: npt.NDArray[np.integer[Any]] = LavaPyType(np.ndarray, np.int32, precision=24)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.window: Window = proc_params["window"]
        self.subtract: bool = proc_params["reset"] == "subtract"
        self.threshold = int(proc_params["threshold"])
        #: In units of a state, 1/64 weight unit.
        self.bias = np.asarray(proc_params["bias"], dtype=np.int32) << STATE_FRACTION_BITS
        self.fired = np.zeros(proc_params["shape"], dtype=np.int32)

    def run_spk(self) -> None:
        """Integrate one step and fire."""
        a_in: npt.NDArray[np.int32] = self.a_in.recv().astype(np.int32)
        if (self.time_step - self.window.offset) % self.window.period == 0:
            self.u[:], self.v[:], self.fired[:] = 0, 0, 0
        if self.subtract:
            net_input = a_in - self.threshold * self.fired
            self.u[:] = wrap_current(self.u + (net_input << STATE_FRACTION_BITS))
            voltage = self.u + self.bias
        else:
            self.u[:] = wrap_current(a_in << STATE_FRACTION_BITS)
            voltage = self.v + self.u + self.bias
        self.v[:] = np.minimum(np.maximum(voltage, -VOLTAGE_LIMIT), VOLTAGE_LIMIT)
        above = self.v > ((self.threshold - 1) << STATE_FRACTION_BITS)
        self.fired[:] = above if self.window.may_fire(self.time_step) else 0
        if not self.subtract:
            self.v[self.fired > 0] = 0  # at once, as Lava's neurons do
        self.s_out.send(self.fired)


@implements(proc=IF, protocol=LoihiProtocol)
@tag("fixed_pt", "stock")
class StockIFModel(AbstractSubProcessModel):
    """The same neurons out of stock processes, as they go to the chip."""

    def __init__(self, proc: AbstractProcess) -> None:
        parameters = proc.proc_params
        neurons = stock_neurons(
            parameters["shape"],
            parameters["threshold"],
            parameters["bias"],
            parameters["window"],
            parameters["reset"],
            parameters["inhibition"],
            parameters["guard"],
        )
        for number, part in enumerate(neurons.parts):
            setattr(self, f"part{number}", part)  # Lava finds sub-processes by attributes
        proc.in_ports.a_in.connect(neurons.lif.in_ports.a_in)
        neurons.lif.out_ports.s_out.connect(proc.out_ports.s_out)
        proc.vars.u.alias(neurons.lif.vars.u)
        proc.vars.v.alias(neurons.lif.vars.v)


def wrap_current(current: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Wrap a 32-bit current to 24 bits as ``AbstractPyLifModelFixed.subthr_dynamics`` does.

    It takes 2^24 off once above 2^23 and adds it once at or below -2^23, so 2^23 itself stays.
    """
    half, span = np.int32(1 << (STATE_BITS - 1)), np.int32(1 << STATE_BITS)
    if current.max(initial=0) <= half and current.min(initial=0) > -half:
        return current
    wrapped = np.where(current > half, current - span, current)
    return np.where(current <= -half, current + span, wrapped)
