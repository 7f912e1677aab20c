"""A source that sends a marker and then samples, and learns between two runs when to begin."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from tandem_hw.chip.axis_order import lava_shape, to_lava


class StepSource(AbstractProcess):
    """Sends frames on the host: first a marker's, then, from a step told later, the samples'.

    Args:
        marker: uint8, one frame of the network's input shape.
        image: True if the chip takes images in Lava's axis order, False if it takes vectors.
        pattern: bool [steps], when the marker is sent, from ``marker_start`` on.
        marker_start: step, counted from 1.
        frames_path: an existing .npy file, uint8 [samples, sends, *input shape].
        order: index of the sample in every slot.
        period: steps from one slot to the next.
        start_path: an existing .npy file, int64 [1]: the step in which the first slot begins; 0
            until it is known.
    """

    def __init__(
        self,
        *,
        marker: npt.NDArray[np.uint8],
        image: bool,
        pattern: npt.NDArray[np.bool_],
        marker_start: int,
        frames_path: str,
        order: npt.NDArray[np.integer[Any]],
        period: int,
        start_path: str,
    ) -> None:
        super().__init__(
            marker=marker,
            image=image,
            pattern=pattern,
            marker_start=marker_start,
            frames_path=frames_path,
            order=order,
            period=period,
            start_path=start_path,
        )
        self.s_out = OutPort(shape=lava_shape(marker.shape) if image else (marker.size,))
        self.tick = OutPort(shape=(1,))


@implements(proc=StepSource, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyStepSourceModel(PyLoihiProcessModel):
    """Looks up what belongs to the step."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    tick: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.image: bool = proc_params["image"]
        self.marker: npt.NDArray[np.uint8] = proc_params["marker"]
        self.pattern: npt.NDArray[np.bool_] = proc_params["pattern"]
        self.marker_start: int = proc_params["marker_start"]
        self.frames = np.load(proc_params["frames_path"], mmap_mode="r")
        self.order: npt.NDArray[np.integer[Any]] = proc_params["order"]
        self.period: int = proc_params["period"]
        self.beginning = np.lib.format.open_memmap(proc_params["start_path"], mode="r")
        self.silence: npt.NDArray[np.uint8] = np.zeros_like(self.marker)

    def run_spk(self) -> None:
        """Send one frame."""
        self.tick.send(np.zeros(1, dtype=np.int32))
        frame = self._frame(int(self.time_step)).astype(np.int32)
        self.s_out.send(to_lava(frame, frame.shape) if self.image else frame.reshape(-1))

    def _frame(self, step: int) -> npt.NDArray[np.uint8]:
        index, start = step - self.marker_start, int(self.beginning[0])
        if 0 <= index < len(self.pattern):
            return self.marker if self.pattern[index] else self.silence
        slot, phase = divmod(step - start, self.period)
        if start and 0 <= slot < len(self.order) and phase < self.frames.shape[1]:
            return np.asarray(self.frames[self.order[slot], phase], dtype=np.uint8)
        return self.silence
