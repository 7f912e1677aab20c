"""A fast model for Lava's own ``Conv``: the same Process, the same numbers, another way to add.

Lava's model calls ``scipy.signal.convolve2d`` once for every pair of channels. This one unfolds the
input into patches and multiplies matrices once per group. It is chosen through the run
configuration's ``exception_proc_model_map``; the graph stays one of stock processes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.conv.process import Conv
from numpy.lib.stride_tricks import sliding_window_view

from tandem_hw.network.fixed_point import STATE_BITS
from tandem_hw.network.whole_numbers import whole_numbers

#: Below this magnitude every sum of integers is exact in float32, in whatever order it is added.
_FLOAT32_EXACT = 1 << 24


class UnfoldedConvolution:
    """A convolution in Lava's axis order (x, y, channel) as matrix products, exact for integers.

    Args:
        weight: integers [out, kernel_x, kernel_y, in / groups], flipped as Lava's ``Conv`` has it.
        stride, padding, dilation: pairs (x, y).
        groups: groups of channels.
    """

    def __init__(
        self,
        weight: npt.NDArray[np.integer[Any]],
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
        groups: int,
    ) -> None:
        self.kernel = weight.shape[1:3]
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.out = weight.shape[0]
        # Lava convolves, so the kernel is turned round once here and then correlated.
        kernel = weight[:, ::-1, ::-1, :].reshape(groups, self.out // groups, -1)
        self.row_sum = int(np.abs(weight.astype(np.int64)).reshape(self.out, -1).sum(1).max())
        self.matrices = {
            dtype: np.ascontiguousarray(kernel.transpose(0, 2, 1), dtype=dtype)
            for dtype in (np.float32, np.float64)
        }
        self._unfoldings: dict[tuple[type, tuple[int, ...]], _Unfolding] = {}

    def __call__(self, signal: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
        """Return the convolution of an integer signal [x, y, channel], int64 [x, y, out]."""
        largest = max(int(signal.max(initial=0)), -int(signal.min(initial=0)))
        exact = largest * self.row_sum < _FLOAT32_EXACT
        dtype = np.float32 if exact else np.float64
        key = (dtype, signal.shape)
        if key not in self._unfoldings:
            self._unfoldings[key] = _Unfolding(self, dtype, signal.shape)
        unfolding = self._unfoldings[key]
        product = unfolding(signal) @ self.matrices[dtype]
        merged = whole_numbers(product.transpose(1, 0, 2), np.int64, "sums of a convolution")
        return merged.reshape(*unfolding.places, self.out)


class _Unfolding:
    """Signals of one shape unfolded into patches, in memory that every step uses again.

    Args:
        convolution: says which patches.
        dtype: of the patches.
        shape: of a signal, [x, y, channel].
    """

    def __init__(
        self, convolution: UnfoldedConvolution, dtype: type, shape: tuple[int, ...]
    ) -> None:
        (px, py), (dx, dy), (kx, ky) = (
            convolution.padding,
            convolution.dilation,
            convolution.kernel,
        )
        (sx, sy), groups = convolution.stride, convolution.groups
        width, height, channels = shape
        padded: npt.NDArray[Any] = np.zeros((width + 2 * px, height + 2 * py, channels), dtype)
        windows = sliding_window_view(  # type: ignore[call-overload]
            padded, (dx * (kx - 1) + 1, dy * (ky - 1) + 1), axis=(0, 1)
        )[::sx, ::sy, :, ::dx, ::dy]
        self.places: tuple[int, int] = windows.shape[:2]
        # [x, y, channel, kx, ky] -> [group, x, y, kx, ky, channel in the group]
        split = (*self.places, groups, channels // groups, kx, ky)
        self.inside = padded[px : px + width, py : py + height]
        self.patches = windows.reshape(split).transpose(2, 0, 1, 4, 5, 3)
        self.unfolded: npt.NDArray[Any] = np.empty(self.patches.shape, dtype)
        self.columns = self.unfolded.reshape(groups, self.places[0] * self.places[1], -1)

    def __call__(self, signal: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the patches [group, place, kx * ky * channel]; the next call writes over them."""
        self.inside[:] = signal
        self.unfolded[:] = self.patches
        return self.columns


@implements(proc=Conv, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "unfolded")
class PyUnfoldedConvModel(PyLoihiProcessModel):
    """Drop-in for ``lava.proc.conv.models.PyConvModelFixed``."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    a_buf: npt.NDArray[np.integer[Any]] = LavaPyType(np.ndarray, np.int32, precision=24)
    weight: npt.NDArray[np.integer[Any]] = LavaPyType(np.ndarray, np.int32, precision=8)
    kernel_size: npt.NDArray[np.integer[Any]] = LavaPyType(np.ndarray, np.int8, precision=8)
    stride: npt.NDArray[np.integer[Any]] = LavaPyType(np.ndarray, np.int8, precision=8)
    padding: npt.NDArray[np.integer[Any]] = LavaPyType(np.ndarray, np.int8, precision=8)
    dilation: npt.NDArray[np.integer[Any]] = LavaPyType(np.ndarray, np.int8, precision=8)
    groups: npt.NDArray[np.integer[Any]] = LavaPyType(np.ndarray, np.int8, precision=8)
    num_message_bits: npt.NDArray[np.integer[Any]] = LavaPyType(np.ndarray, np.int8, precision=5)
    weight_exp: npt.NDArray[np.integer[Any]] = LavaPyType(np.ndarray, np.int32, precision=8)
    num_weight_bits: npt.NDArray[np.integer[Any]] = LavaPyType(np.ndarray, np.int8, precision=5)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self._convolution: UnfoldedConvolution | None = None

    def run_spk(self) -> None:
        """Send what the last step gave and convolve this step's input, as Lava's model does."""
        self.a_out.send(self.a_buf)
        s_in = self.s_in.recv()
        if self.num_message_bits.item() == 0:
            s_in = s_in.astype(bool)
        if self._convolution is None:
            # The variables are filled in after __init__.
            self._convolution = UnfoldedConvolution(
                self.weight,
                _pair(self.stride),
                _pair(self.padding),
                _pair(self.dilation),
                int(self.groups.item()),
            )
        if s_in.any():
            self.a_buf = wrapped_sums(self._convolution(s_in))
        else:
            self.a_buf = np.zeros_like(self.a_buf)


def wrapped_sums(sums: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Wrap sums to 24 bits as ``signed_clamp`` of ``lava.proc.conv.utils`` does by a remainder."""
    half = 1 << (STATE_BITS - 1)
    return (((sums + half) & (2 * half - 1)) - half).astype(np.int32)


def _pair(values: npt.NDArray[np.integer[Any]]) -> tuple[int, int]:
    return int(values[0]), int(values[1])
