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
import math
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tandem_hw.arithmetic.deferred_checks import DeferredChecks
from tandem_hw.arithmetic.gpu.launches import refuse_while_recording
from tandem_hw.network.fixed_point import ACCUMULATOR_LIMIT

_LOG = logging.getLogger(__name__)

#: From a signal, weights with their output channels first, and a geometry to weighted sums
#: [batch, out, ...]. A function of a module: what is remembered is looked up by it.
Way = Callable[[Tensor, Tensor, Any], Tensor]
#: The same from a signal in bytes, or None where the weights do not suit it.
ByteWay = Callable[[Tensor, Tensor, Any], Tensor | None]

#: Largest magnitude of a spike, an input or a weight; all of them have 8 bits.
_LARGEST = 255
#: Problems whose answer is remembered; one is some hundred bytes.
_REMEMBERED = 4096
#: The same for spikes and small inputs. Processors without VNNI add two products of bytes in 16
#: bits, where larger ones saturate: 2 * 127 * 128 < 2^15.
_LARGEST_IN_PAIRS = 127
#: Least of the odd weights that make the largest sums, and the mean of those up to 255.
_STRONG, _MEAN = 225, 240
#: Least of the strong signals, as a part of the largest.
_STRONG_PART = 0.88
#: How often a way is timed; the fastest time counts, since other work only slows.
_TIMINGS = 3
#: How often weights are used before they change, at least about: a window is run in several parts.
#: So much of the time that their packing takes counts.
_USES = 4
#: Bytes are not tried for a sum of fewer products, which takes no time in any way.
_LEAST_PRODUCTS = 1 << 16
#: Length of the random patterns that operands are filled with; primes, so that no size of a network
#: makes them fall into step.
_SIGNAL_PERIOD, _WEIGHT_PERIOD = 16381, 8191


class _Problem(NamedTuple):
    """What an algorithm depends on, and all that is needed to try it."""

    ways: tuple[Way, ...]
    geometry: Hashable
    signal_shape: torch.Size
    weight_shape: torch.Size
    channels_last: tuple[bool, bool]
    dtype: torch.dtype
    device: torch.device
    settings: tuple[object, ...]
    byte_ways: tuple[ByteWay, ...] = ()


class ChosenWay(NamedTuple):
    """How sums of some sizes are computed here.

    Attributes:
        way: name of the algorithm, for instance "convolve_bytes".
        device: where.
        signal_shape: what comes in; of a window (``gpu.fused_window``) its steps and neurons.
        weight_shape: what it is multiplied by; of a window nothing.
        geometry: of a convolution, otherwise None.
    """

    way: str
    device: str
    signal_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    geometry: Hashable


class _ByteChoice(NamedTuple):
    """A way for signals in bytes that do not exceed some number."""

    way: ByteWay
    largest: int

    def takes(self, signal: Tensor) -> bool:
        return self.largest == _LARGEST or int(signal.amax()) <= self.largest


#: By problem, what was chosen for it; the oldest go first.
_CHOSEN: dict[Hashable, ChosenWay] = {}


def chosen_ways() -> list[ChosenWay]:
    """Return which algorithm was chosen for each sum of this process so far, the latest ones last.

    A choice is exact on the operands of the trial, the others of the same sum are listed in the
    log (``logging``, level DEBUG) where they were not.
    """
    return list(_CHOSEN.values())


def remember_choice(problem: Hashable, choice: ChosenWay) -> None:
    """Let ``chosen_ways`` tell a choice.

    Args:
        problem: what the choice is for; a later one for the same takes its place.
        choice: what was chosen.
    """
    _CHOSEN.pop(problem, None)
    _CHOSEN[problem] = choice
    if len(_CHOSEN) > _REMEMBERED:
        _CHOSEN.pop(next(iter(_CHOSEN)), None)


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
    problem = _Problem(
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
            chosen = _faster_byte_way(problem._replace(byte_ways=byte_ways))
            if chosen is not None and chosen.takes(signal):
                found = chosen.way(signal, weight, geometry)
                if found is not None:
                    return found
        signal = signal.to(weight.dtype)
    way = _exact_way(problem)
    if way is None:
        return _in_float64(ways[-1], signal, weight, geometry).to(signal.dtype)
    found = way(signal, weight, geometry)
    if way is ways[-1]:
        return found
    if _SCOPE.checks is not None:
        some = _of_every_sample(found)
        _SCOPE.checks.fail_if((some != some.round()).any())
    elif _may_choose_anew(device) and not torch.equal(found, found.round()):
        _LOG.debug("%s gave sums that are not whole for %s; computed anew", _name(way), problem)
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


@lru_cache(maxsize=_REMEMBERED)
def _exact_way(problem: _Problem) -> Way | None:
    """Return the first way that passes the trial, or None where only float64 is left."""
    refuse_while_recording(problem.device)
    signal, weight = _extreme_operands(problem)
    if len(signal) == 0:  # there is nothing to be wrong
        return problem.ways[0]
    samples = _looked_at(signal)
    expected = _in_float64(problem.ways[-1], signal[samples], weight, problem.geometry)
    for way in problem.ways:
        try:
            found = way(signal, weight, problem.geometry)[samples]
        except RuntimeError:  # no such algorithm in this build, or too little memory for it
            if way is problem.ways[-1]:
                raise
            found = None
        if found is not None and torch.equal(found.double(), expected):
            _tell(problem, _name(way))
            return way
        _log_unused(problem, _name(way))
    _tell(problem, f"{_name(problem.ways[-1])} in float64")
    return None


@lru_cache(maxsize=_REMEMBERED)
def _faster_byte_way(problem: _Problem) -> _ByteChoice | None:
    """Return the fastest byte way that passes the trial, or None where another way is faster."""
    for largest in (_LARGEST, _LARGEST_IN_PAIRS):
        exact = list(_exact_byte_ways(problem, largest))
        if exact:
            way = _fastest(problem, exact, largest)
            return None if way is None else _ByteChoice(way, largest)
    for way in problem.byte_ways:
        _log_unused(problem, _name(way))
    return None


def _exact_byte_ways(problem: _Problem, largest: int) -> Iterator[ByteWay]:
    """Yield the byte ways that are exact for signals up to some number."""
    signal, weight = _byte_operands(problem, largest)
    if len(signal) == 0:
        return
    samples = _looked_at(signal)
    expected = _in_float64(problem.ways[-1], signal[samples], weight, problem.geometry)
    for way in problem.byte_ways:
        try:
            found = way(signal, weight, problem.geometry)
        except RuntimeError:  # this PyTorch or this processor has no such operator
            found = None
        if found is not None and torch.equal(found[samples].double(), expected):
            yield way


def _fastest(problem: _Problem, byte_ways: list[ByteWay], largest: int) -> ByteWay | None:
    signal, weight = _byte_operands(problem, largest)
    plain = problem._replace(byte_ways=())
    other = _exact_way(plain) or partial(_in_float64, problem.ways[-1])
    fastest = None
    least = _seconds(lambda: other(signal.to(weight.dtype), weight, problem.geometry))
    for way in byte_ways:
        seconds = _seconds(partial(way, signal, weight, problem.geometry))
        anew = _seconds(partial(_with_new_weights, way, signal, weight, problem.geometry))
        seconds += max(0.0, anew - seconds) / _USES
        if seconds < least:
            fastest, least = way, seconds
    if fastest is not None:
        _tell(plain, _name(fastest))
    return fastest


def _byte_operands(problem: _Problem, largest: int) -> tuple[Tensor, Tensor]:
    signal, weight = _extreme_operands(problem, largest)
    return signal.to(torch.uint8), _even(weight)


def _with_new_weights(way: ByteWay, signal: Tensor, weight: Tensor, geometry: Hashable) -> None:
    way(signal, weight.clone(), geometry)


def _seconds(call: Callable[[], object]) -> float:
    """Return the shortest time of a few calls on a CPU."""
    times = []
    for _ in range(_TIMINGS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


def _even(weight: Tensor) -> Tensor:
    """Turn odd weights of a trial into even ones of the same signs, whose halves are odd as well.

    Ones become 2 in magnitude, and the lowest become -256, whose half is the lowest signed byte.
    """
    halves = (weight / 4).trunc() * 2 + weight.sign()
    return torch.where(weight == -_LARGEST, -_LARGEST - 1, 2 * halves)


def _looked_at(signal: Tensor) -> list[int]:
    """Return the samples that a trial looks at."""
    batch = len(signal)
    return sorted({0, batch // 2, batch - 1})


def _name(way: object) -> str:
    return str(getattr(way, "__name__", way))


def _tell(problem: _Problem, name: str) -> None:
    """Remember a choice for ``chosen_ways``."""
    shapes = tuple(problem.signal_shape), tuple(problem.weight_shape)
    remember_choice(problem, ChosenWay(name, str(problem.device), *shapes, problem.geometry))


def _log_unused(problem: _Problem, name: str) -> None:
    _LOG.debug(
        "%s is not exact for signals %s and weights %s, %s, on %s in %s with %s; not used",
        name,
        tuple(problem.signal_shape),
        tuple(problem.weight_shape),
        problem.geometry,
        problem.device,
        problem.dtype,
        problem.settings,
    )


def _in_float64(way: Way, signal: Tensor, weight: Tensor, geometry: Hashable) -> Tensor:
    return way(signal.double(), weight.double(), geometry)


def _dense_in_memory(tensor: Tensor) -> tuple[Tensor, bool]:
    """Return a tensor in one of the two orders that are tried, and whether its channels are last.

    Algorithms depend on the order in memory too.
    """
    if tensor.is_contiguous():
        return tensor, False
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return tensor, True
    return tensor.contiguous(), False


def _extreme_operands(problem: _Problem, largest: int = _LARGEST) -> tuple[Tensor, Tensor]:
    """Return odd integers of up to 8 bits whose sums come near the accumulator's limit.

    Args:
        problem: what their sizes are for.
        largest: of the signal, an odd number.

    Odd ones, since a lost bit shows in them; where there are so many inputs that the sums would go
    beyond, some of the signal is zero. The same values each time, and no random number of the
    program's own is used up.
    """
    random = np.random.default_rng(0)
    fan_in = math.prod(problem.weight_shape[1:])
    signal = np.empty(problem.signal_shape, np.float32)
    # Samples in turn: as large as they can be, and of all magnitudes.
    strong = int(_STRONG_PART * largest) | 1  # 225 of 255
    for start, least in ((0, strong), (1, 1)):
        pattern = _odd(random, least, largest, _SIGNAL_PERIOD)
        share = ACCUMULATOR_LIMIT / (fan_in * (least + largest) / 2 * _MEAN)
        pattern[random.random(len(pattern)) > share] = 0
        signal[start::2] = np.resize(pattern, signal[start::2].shape)
    magnitude = np.resize(_odd(random, _STRONG, _LARGEST, _WEIGHT_PERIOD), problem.weight_shape)
    # Channels in turn: both signs; ones, whose small sums show small errors; positive; negative.
    signs = random.choice(np.array([-1, 1], np.float32), _SIGNAL_PERIOD)
    weight = magnitude * np.resize(signs, magnitude.shape)
    weight[1::4] = np.sign(weight[1::4])
    weight[2::4] = magnitude[2::4]
    weight[3::4] = -magnitude[3::4]
    placed = [
        torch.from_numpy(values).to(
            problem.device,
            problem.dtype,
            memory_format=torch.channels_last if last else torch.contiguous_format,
        )
        for values, last in zip((signal, weight), problem.channels_last, strict=True)
    ]
    return placed[0], placed[1]


def _odd(
    random: np.random.Generator, least: int, largest: int, size: int
) -> npt.NDArray[np.float32]:
    """Return random odd numbers from one odd number to another."""
    return (random.integers(least // 2, largest // 2 + 1, size) * 2 + 1).astype(np.float32)


#: Settings of ``torch.backends`` that may decide an algorithm, by device type; PyTorch has an old
#: and a new interface to the precision of float32, and older ones lack the new.
_SETTINGS = {
    "cpu": (
        "fp32_precision",
        "mkldnn.enabled",
        "mkldnn.deterministic",
        "mkldnn.fp32_precision",
        "mkldnn.matmul.fp32_precision",
        "mkldnn.conv.fp32_precision",
    ),
    "cuda": (
        "fp32_precision",
        "cudnn.enabled",
        "cudnn.benchmark",
        "cudnn.deterministic",
        "cudnn.allow_tf32",
        "cudnn.conv.fp32_precision",
        "cuda.matmul.allow_tf32",
        "cuda.matmul.fp32_precision",
    ),
}


def _exists(setting: str) -> bool:
    try:
        attrgetter(setting)(torch.backends)
    except AttributeError:
        return False
    except RuntimeError:
        pass  # it exists, see ``_read``
    return True


def _read(setting: Callable[[], object]) -> object:
    try:
        return setting()
    except RuntimeError:
        # It was set by the old and by the new interface, which PyTorch refuses to sum up; what was
        # set by the new one is among the others.
        return "mixed"


_READERS: dict[str, tuple[Callable[[], object], ...]] = {
    device: (
        torch.get_num_threads,
        torch.are_deterministic_algorithms_enabled,
        torch.get_float32_matmul_precision,
        *(partial(attrgetter(name), torch.backends) for name in names if _exists(name)),
    )
    for device, names in _SETTINGS.items()
}


def library_settings(device: str) -> tuple[object, ...]:
    """Return the settings of ``torch.backends`` and others that may decide an algorithm.

    Args:
        device: type of the device, such as "cpu".
    """
    return tuple(_read(setting) for setting in _READERS.get(device, _READERS["cuda"]))


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
