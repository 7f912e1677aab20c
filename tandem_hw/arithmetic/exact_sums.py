"""Sums of integers in floating point, by an algorithm that was seen to be exact.

Products and sums of a layer are integers below 2^24 (``bounds.check_accumulator``), which float32
holds. A direct sum is therefore exact in whatever order it is added; a convolution by Winograd's or
Fourier's transform is not, nor is a product in a format with too few bits. What a library chooses
depends on the machine, its settings and the sizes, and no library says. So nothing is taken on
trust: for each device, library setting and geometry the algorithm is tried once, on operands as
large as a network's and on sums as large as the accumulator's, and compared with the plain product
in float64. What fails is never used there; another algorithm takes its place, in the end that
product itself.

A setting that makes a library choose anew for equal sizes (``torch.backends.cudnn.benchmark``) is
part of what is remembered, but a choice that changes between two calls would escape, and cuDNN
changes it where memory is short. So away from a CPU what a library's convolution gives is looked at
each time: sums have to be whole, which those of a transform are not. In a forward pass whose
conditions are read together (``tandem_hw.arithmetic.deferred_checks``) that is one of them;
elsewhere every sum is looked at before it is used, and where one is not whole, the plain product is
computed, whose algorithm the sizes decide.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from tandem_hw.arithmetic.deferred_checks import DeferredChecks
from tandem_hw.arithmetic.library_settings import library_settings
from tandem_hw.arithmetic.sum_trials import (
    ByteWay,
    Problem,
    Way,
    exact_way,
    faster_byte_way,
    in_float64,
    name_of,
)

_LOG = logging.getLogger(__name__)

#: Bytes are not tried for a sum of fewer products, which takes no time in any way.
_LEAST_PRODUCTS = 1 << 16


def exact_sum(
    ways: tuple[Way, ...],
    signal: Tensor,
    weight: Tensor,
    geometry: Hashable,
    byte_ways: tuple[ByteWay, ...] = (),
) -> Tensor:
    """Return weighted sums of integers by the first way that is exact here.

    Args:
        ways: algorithms for the same sums, the preferred one first; the last one is the plain
            product, which in float64 judges the others and stands in for them.
        signal: [batch, ...], integers from 0 to 255, uint8 or of the weights' dtype.
        weight: [out, ...], integers in floating point up to 256 in magnitude; the positive and the
            negative products of an output add up to less than 2^23 each.
        geometry: passed on to the way.
        byte_ways: algorithms for a signal in bytes. One of them is used where it is exact and
            faster than the first exact one of ``ways``.

    Returns:
        [batch, out, ...], integers of the weights' dtype, float32 where ``byte_ways`` are given.
    """
    signal, signal_last = _dense_in_memory(signal)
    weight, weight_last = _dense_in_memory(weight)
    device = signal.device.type
    settings = _SCOPE.settings.get(device)
    if settings is None:
        with exact_arithmetic(device, _SCOPE.checks):
            return exact_sum(ways, signal, weight, geometry, byte_ways)
    problem = Problem(
        ways,
        geometry,
        signal.shape,
        weight.shape,
        (signal_last, weight_last),
        weight.dtype,
        signal.device,
        settings,
    )
    if signal.dtype == torch.uint8:
        large = signal.numel() * weight.shape[0] >= _LEAST_PRODUCTS
        if byte_ways and large and weight.dtype == torch.float32:
            chosen = faster_byte_way(problem._replace(byte_ways=byte_ways))
            if chosen is not None and chosen.takes(signal):
                found = chosen.way(signal, weight, geometry)
                if found is not None:
                    return found
        signal = signal.to(weight.dtype)
    way = exact_way(problem)
    if way is None:
        return in_float64(ways[-1], signal, weight, geometry).to(signal.dtype)
    found = way(signal, weight, geometry)
    if way is ways[-1]:
        return found
    if _SCOPE.checks is not None:
        some = _of_every_sample(found)
        _SCOPE.checks.fail_if((some != some.round()).any())
    elif _may_choose_anew(device) and not torch.equal(found, found.round()):
        _LOG.debug(
            "%s gave sums that are not whole for %s; computed anew",
            name_of(way),
            problem,
        )
        return exact_sum(ways[ways.index(way) + 1 :], signal, weight, geometry)
    return found


def _may_choose_anew(device: str) -> bool:
    """Return whether a library may take another algorithm there than in the trial."""
    return device != "cpu"


def _of_every_sample(sums: Tensor) -> Tensor:
    """Return the sums in the middle of every image.

    They are enough, since each comes out of the same algorithm; those of one sample are not, which
    may be silent and have none to be wrong.
    """
    for axis in range(2, sums.dim()):
        middle = sums.shape[axis] // 2
        sums = sums.narrow(axis, middle, min(1, sums.shape[axis]))
    return sums


def _dense_in_memory(tensor: Tensor) -> tuple[Tensor, bool]:
    """Return a tensor in one of the two orders that are tried, and whether its channels are last.

    Algorithms depend on the order in memory too.
    """
    if tensor.is_contiguous():
        return tensor, False
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return tensor, True
    return tensor.contiguous(), False


class _NNPackOff:
    """Switches NNPACK off while any thread is inside, and back to what it was behind the last one.

    PyTorch's own ``torch.backends.nnpack.flags`` would switch it on for one thread while another
    still computes, since the switch is the process's.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = False

    def __enter__(self) -> None:
        with self._lock:
            before = self._switch(False)
            if self._inside == 0:
                self._before = before
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._switch(self._before)

    @staticmethod
    def _switch(on: bool) -> bool:
        """Switch NNPACK on or off and return whether it was on."""
        before: tuple[bool] = torch.backends.nnpack.set_flags(on)
        return before[0]


_NNPACK = _NNPackOff()


class _Scope(threading.local):
    """What this thread's ``exact_arithmetic`` found the settings to be, by device type."""

    def __init__(self) -> None:
        self.settings: dict[str, tuple[object, ...]] = {}
        self.checks: DeferredChecks | None = None


_SCOPE = _Scope()


@contextmanager
def exact_arithmetic(device: str, checks: DeferredChecks | None = None) -> Iterator[None]:
    """Keep away what would round: the short formats of autocast, and NNPACK's transforms.

    ``exact_sum`` enters it by itself. Around many sums it reads the libraries' settings once; they
    are not to be changed inside.

    Args:
        device: type of the device, such as "cpu".
        checks: takes up whether sums were whole.
    """
    outside = _SCOPE.settings, _SCOPE.checks
    with torch.autocast(device, enabled=False), _NNPACK if device == "cpu" else nullcontext():
        _SCOPE.settings = {**_SCOPE.settings, device: library_settings(device)}
        _SCOPE.checks = checks
        try:
            yield
        finally:
            _SCOPE.settings, _SCOPE.checks = outside
