"""Trials of algorithms for sums of integers: which are exact here, and which is the fastest.

Operands are as large as a network's and their sums as large as the accumulator's; the plain product
in float64 judges. See ``exact_sums`` for why.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Hashable, Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tandem_hw.arithmetic.chosen_ways import REMEMBERED, ChosenWay, remember_choice
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
#: Length of the random patterns that operands are filled with; primes, so that no size of a network
#: makes them fall into step.
_SIGNAL_PERIOD, _WEIGHT_PERIOD = 16381, 8191


class Problem(NamedTuple):
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


class ByteChoice(NamedTuple):
    """A way for signals in bytes that do not exceed some number."""

    way: ByteWay
    largest: int

    def takes(self, signal: Tensor) -> bool:
        """Return whether no value of a signal is too large."""
        return self.largest == _LARGEST or int(signal.amax()) <= self.largest


@lru_cache(maxsize=REMEMBERED)
def exact_way(problem: Problem) -> Way | None:
    """Return the first way that passes the trial, or None where only float64 is left."""
    refuse_while_recording(problem.device)
    signal, weight = _extreme_operands(problem)
    if len(signal) == 0:  # there is nothing to be wrong
        return problem.ways[0]
    samples = _looked_at(signal)
    expected = in_float64(problem.ways[-1], signal[samples], weight, problem.geometry)
    for way in problem.ways:
        try:
            found = way(signal, weight, problem.geometry)[samples]
        except RuntimeError:  # no such algorithm in this build, or too little memory for it
            if way is problem.ways[-1]:
                raise
            found = None
        if found is not None and torch.equal(found.double(), expected):
            _tell(problem, name_of(way))
            return way
        _log_unused(problem, name_of(way))
    _tell(problem, f"{name_of(problem.ways[-1])} in float64")
    return None


@lru_cache(maxsize=REMEMBERED)
def faster_byte_way(problem: Problem) -> ByteChoice | None:
    """Return the fastest byte way that passes the trial, or None where another way is faster."""
    for largest in (_LARGEST, _LARGEST_IN_PAIRS):
        exact = list(_exact_byte_ways(problem, largest))
        if exact:
            way = _fastest(problem, exact, largest)
            return None if way is None else ByteChoice(way, largest)
    for way in problem.byte_ways:
        _log_unused(problem, name_of(way))
    return None


def _exact_byte_ways(problem: Problem, largest: int) -> Iterator[ByteWay]:
    """Yield the byte ways that are exact for signals up to some number."""
    signal, weight = _byte_operands(problem, largest)
    if len(signal) == 0:
        return
    samples = _looked_at(signal)
    expected = in_float64(problem.ways[-1], signal[samples], weight, problem.geometry)
    for way in problem.byte_ways:
        try:
            found = way(signal, weight, problem.geometry)
        except RuntimeError:  # this PyTorch or this processor has no such operator
            found = None
        if found is not None and torch.equal(found[samples].double(), expected):
            yield way


def _fastest(problem: Problem, byte_ways: list[ByteWay], largest: int) -> ByteWay | None:
    signal, weight = _byte_operands(problem, largest)
    plain = problem._replace(byte_ways=())
    other = exact_way(plain) or partial(in_float64, problem.ways[-1])
    fastest = None
    least = _seconds(lambda: other(signal.to(weight.dtype), weight, problem.geometry))
    for way in byte_ways:
        seconds = _seconds(partial(way, signal, weight, problem.geometry))
        anew = _seconds(partial(_with_new_weights, way, signal, weight, problem.geometry))
        seconds += max(0.0, anew - seconds) / _USES
        if seconds < least:
            fastest, least = way, seconds
    if fastest is not None:
        _tell(plain, name_of(fastest))
    return fastest


def _byte_operands(problem: Problem, largest: int) -> tuple[Tensor, Tensor]:
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


def name_of(way: object) -> str:
    """Return what an algorithm is called in logs and by ``chosen_ways``."""
    return str(getattr(way, "__name__", way))


def _tell(problem: Problem, name: str) -> None:
    """Remember a choice for ``chosen_ways``."""
    shapes = tuple(problem.signal_shape), tuple(problem.weight_shape)
    remember_choice(problem, ChosenWay(name, str(problem.device), *shapes, problem.geometry))


def _log_unused(problem: Problem, name: str) -> None:
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


def in_float64(way: Way, signal: Tensor, weight: Tensor, geometry: Hashable) -> Tensor:
    """Return what a way gives for operands in float64; see ``exact_sums.exact_sum``."""
    return way(signal.double(), weight.double(), geometry)


def _extreme_operands(problem: Problem, largest: int = _LARGEST) -> tuple[Tensor, Tensor]:
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
