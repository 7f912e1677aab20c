"""All steps of a window in one kernel of a GPU, where that was seen to be what step by step gives.

``FastState`` launches half a dozen small kernels a step, each of which passes over memory; the one
kernel of ``window_kernel`` reads the synaptic inputs once and writes membranes, counts, spikes in
bits and the extremes. It is used on CUDA where Triton is there, and tried first, once for each
device, window, reset and size: on states in range, at the threshold, and so large that they round.
Where it cannot be compiled, or gives another number, the window runs step by step as everywhere
else; nobody is told but the logger, at level DEBUG, and ``chosen_ways.chosen_ways``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tandem_hw.arithmetic.chosen_ways import ChosenWay, remember_choice
from tandem_hw.arithmetic.gpu.launches import refuse_while_recording
from tandem_hw.arithmetic.gpu.window_kernel import compiled
from tandem_hw.arithmetic.neuron_parameters import NeuronParameters
from tandem_hw.arithmetic.spikes.packed_spikes import SpikePacker
from tandem_hw.arithmetic.states.fast_states import FastState

_LOG = logging.getLogger(__name__)

#: Steps of a window up to which it is unrolled; a longer one would take long to compile.
_LONGEST: Final = 64
#: Neurons of a program: four in each thread of four warps or more, one load of 16 bytes.
_BLOCKS: Final = (128, 1024)
#: Samples of a trial, each with inputs of another size.
_TRIED: Final = 4
#: Cases whose answer is remembered.
_REMEMBERED: Final = 4096
_THRESHOLD: Final = 300


class _Inputs(NamedTuple):
    """The synaptic inputs of a window, as the kernel takes them.

    Attributes:
        first: float32 [batch, neurons], those of the first step.
        rest: float32 [batch, steps, neurons], those of the steps behind it, of which the last ones
            of a window may be without; the same memory for all steps where they are alike.
    """

    first: Tensor
    rest: Tensor

    @classmethod
    def of(cls, steps: Sequence[Tensor | None]) -> _Inputs | None:
        """Put the inputs of every step together, without a copy where they lie regularly.

        Returns:
            None where they are silent now and then, or no float32.
        """
        first = steps[0]
        given = [one for one in steps if one is not None]
        if first is None or any(one is None for one in steps[: len(given)]):
            return None
        if any(one.dtype != torch.float32 for one in given):
            return None
        return cls(_dense(first), _one_behind_the_other(given[1:], first))

    @property
    def steps(self) -> list[Tensor]:
        """The inputs step by step."""
        return [self.first, *self.rest.unbind(1)]


def _dense(inputs: Tensor) -> Tensor:
    """Return the same values with the neurons side by side."""
    return inputs if inputs.stride(-1) == 1 else inputs.contiguous()


def _one_behind_the_other(steps: Sequence[Tensor], first: Tensor) -> Tensor:
    """Return [batch, steps, neurons], a view of what lies at equal distances in memory."""
    if not steps:
        return first.new_empty((len(first), 0, first.shape[1]))
    one = steps[0]
    storage, start = one.untyped_storage().data_ptr(), one.storage_offset()
    stride = steps[1].storage_offset() - start if len(steps) > 1 else 0
    regular = one.stride(-1) == 1 and stride >= 0
    for index, step in enumerate(steps):
        regular &= step.untyped_storage().data_ptr() == storage and step.stride() == one.stride()
        regular &= step.storage_offset() == start + index * stride
    if not regular:
        return torch.stack(list(steps), dim=1)
    shape = (len(one), len(steps), one.shape[1])
    return one.as_strided(shape, (one.stride(0), stride, 1))


class _Case(NamedTuple):
    """What the kernel is compiled for, or may depend on."""

    device: torch.device
    neurons: int
    resting: int
    strides: tuple[int, int, int]
    offsets: tuple[int, int]
    bias_stride: int
    num_steps: int
    firing_delay: int
    fires: bool
    zero: bool
    keeps: bool
    follows: bool
    threshold_on_device: bool


def run_window(
    state: FastState,
    inputs: Sequence[Tensor | None],
    num_steps: int,
    bits: Tensor | None,
) -> Tensor | None:
    """Run a window of neurons that do not leave 24 bits, in one kernel where it is at hand.

    Args:
        state: the membranes, before the window; afterwards as ``FastState.run`` leaves them.
        inputs: synaptic input of each of the ``num_steps`` steps, float32 [batch, neurons], None
            for silence; the first one is not None.
        num_steps: length T of the window; as many steps, those behind the firing delay, may have
            spikes.
        bits: uint8 [batch, ceil(num_steps / 8), neurons], receives the spikes; or None.

    Returns:
        Spike counts, int16 [batch, neurons], or None for a readout.
    """
    together = _together(state, inputs, bits)
    if together is not None:
        case = _case(state, together, num_steps, bits is not None)
        if _is_exact(case):
            return _fused(state, together, case, bits)
    return step_by_step(state, inputs, num_steps, bits)


def count_window(state: FastState, inputs: Sequence[Tensor | None]) -> Tensor:
    """Run a window that is taken in before the first spike, in one kernel where it is at hand.

    Args:
        state: as for ``run_window``; afterwards as ``FastState.count`` leaves it.
        inputs: as for ``run_window``.

    Returns:
        Spike counts, int16 [batch, neurons].
    """
    together = _together(state, inputs, None)
    if together is not None:
        # Till then they are neurons that do not fire.
        case = _case(state, together, len(inputs), keeps=False)._replace(
            fires=False, firing_delay=0
        )
        if _is_exact(case):
            _fused(state, together, case, None)
            return state.counted(len(inputs))
    return state.count(inputs)


def step_by_step(
    state: FastState,
    inputs: Sequence[Tensor | None],
    num_steps: int,
    bits: Tensor | None,
) -> Tensor | None:
    """Run a window by ``FastState``, which is what the kernel is held against.

    Args:
        state: as for ``run_window``.
        inputs: as for ``run_window``.
        num_steps: as for ``run_window``.
        bits: as for ``run_window``.
    """
    packer = None if state.threshold is None else SpikePacker(num_steps, bits)
    state.run(inputs, packer)
    return None if packer is None else packer.counts


def _together(
    state: FastState, inputs: Sequence[Tensor | None], bits: Tensor | None
) -> _Inputs | None:
    """Return the inputs as the kernel takes them, or None where it is not for them."""
    first = inputs[0]
    if first is None or not first.numel() or len(inputs) + state.firing_delay > _LONGEST:
        return None
    if not _may_have_kernel(first.device) or state.bias.dtype != torch.float32:
        return None
    if bits is not None and not bits.is_contiguous():
        return None
    return _Inputs.of(inputs)


def _may_have_kernel(device: torch.device) -> bool:
    """Return whether a device is one that Triton compiles for."""
    return device.type == "cuda"


@lru_cache(maxsize=1)
def _kernel() -> Any:
    """Return the kernel, or None where there is no Triton."""
    try:
        return compiled()
    except Exception as error:  # a library that is there and broken may fail in any way
        _LOG.debug("no fused window, for Triton cannot be used: %s", error)
        return None


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """Make a GPU the one that kernels are launched on."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _case(state: FastState, inputs: _Inputs, num_steps: int, keeps: bool) -> _Case:
    first, rest = inputs
    return _Case(
        device=first.device,
        neurons=first.shape[1],
        resting=rest.shape[1],
        strides=(first.stride(0), rest.stride(0), rest.stride(1)),
        offsets=(_behind_aligned(first), _behind_aligned(rest)),
        bias_stride=0 if state.bias.dim() == 0 else state.bias.stride(0),
        num_steps=num_steps,
        firing_delay=state.firing_delay,
        fires=state.threshold is not None,
        zero=state.zero,
        keeps=keeps,
        follows=state.follow_peak,
        threshold_on_device=isinstance(state.threshold, Tensor),
    )


def _behind_aligned(values: Tensor) -> int:
    """Return how many float32 values lie between an address of 16 bytes and the first value."""
    return values.data_ptr() % 16 // 4


def _fused(state: FastState, inputs: _Inputs, case: _Case, bits: Tensor | None) -> Tensor | None:
    """Launch the kernel, and leave in the state what ``FastState.run`` would."""
    with _on(case.device):
        return _launched(state, inputs, case, bits)


def _launched(state: FastState, inputs: _Inputs, case: _Case, bits: Tensor | None) -> Tensor | None:
    first, rest = inputs
    batch, neurons = first.shape
    smallest, largest = _BLOCKS
    block = min(max(1 << (neurons - 1).bit_length(), smallest), largest)
    blocks = -(-neurons // block)
    membranes = torch.empty((batch, neurons), dtype=torch.float32, device=first.device)
    # Where something is not wanted, nothing is written, and any pointer will do.
    counts = membranes.new_empty((batch, neurons) if case.fires else 1, dtype=torch.int16)
    extremes = membranes.new_empty((2, batch * blocks if case.follows else 1))
    threshold = state.threshold if isinstance(state.threshold, Tensor) else None
    if threshold is None:
        threshold = _on_device(float(state.threshold or 0), first.device)
    _kernel()[(batch * blocks,)](
        first,
        rest if case.resting else first,
        state.bias,
        threshold,
        membranes,
        counts,
        counts if bits is None else bits,
        extremes[0],
        extremes[1],
        neurons,
        blocks,
        *case.strides,
        case.bias_stride,
        resting=case.resting,
        num_steps=case.num_steps,
        firing_delay=case.firing_delay,
        fires=case.fires,
        zero=case.zero,
        keeps=case.keeps and case.fires,
        follows=case.follows,
        block=block,
        num_warps=min(max(block // 128, 1), 8),
    )
    state.membrane = membranes
    if case.follows:
        state.extremes = extremes[0].min(), extremes[1].max()
    return counts if case.fires else None


@cache  # all of them are kept: work that is recorded (``launches``) reads them again
def _on_device(value: float, device: torch.device) -> Tensor:
    return torch.full((), value, dtype=torch.float32, device=device)


@lru_cache(maxsize=_REMEMBERED)
def _is_exact(case: _Case) -> bool:
    """Return whether the kernel can be compiled and gives what step by step gives."""
    refuse_while_recording(case.device)
    if _kernel() is None:
        return False
    try:
        exact = _passes_trial(case)
        found = "gives another number"
    except Exception as error:  # no C compiler, an unknown GPU, too few registers, ...
        exact, found = False, f"cannot be run ({type(error).__name__}: {error})"
    if not exact:
        _LOG.debug("the fused window %s for %s; not used", found, case)
    way = "fused window" if exact else "window step by step"
    shape = (case.num_steps, case.neurons)
    remember_choice(case, ChosenWay(way, str(case.device), shape, (), None))
    return exact


def _passes_trial(case: _Case) -> bool:
    inputs, bias = _extreme_operands(case)
    threshold: int | Tensor | None = None
    if case.fires:
        threshold = _on_device(float(_THRESHOLD), case.device)
        threshold = threshold if case.threshold_on_device else _THRESHOLD
    reset = "zero" if case.zero else "subtract"
    neurons = NeuronParameters(bias, threshold, reset, proven=False, firing_delay=case.firing_delay)
    results: list[list[Tensor]] = []
    silent = [None] * (case.num_steps - 1 - case.resting)
    for fused in (True, False):
        state = FastState(neurons, bias, case.follows)
        bits = None
        if case.keeps:
            shape = (_TRIED, SpikePacker.bytes_for(case.num_steps), case.neurons)
            bits = torch.full(shape, 255, dtype=torch.uint8, device=case.device)
        if fused:
            counts = _fused(state, inputs, case, bits)
        else:
            steps = [*inputs.steps, *silent]
            counts = step_by_step(state, steps, case.num_steps, bits)
        found = [state.membrane, counts, bits, _peak(state)]
        results.append([one for one in found if one is not None])
    ours, expected = results
    return len(ours) == len(expected) and all(map(torch.equal, ours, expected))


def _peak(state: FastState) -> Tensor | None:
    """Return the largest magnitude of a state, which is what the extremes are followed for."""
    return None if state.extremes is None else torch.maximum(-state.extremes[0], state.extremes[1])


def _extreme_operands(case: _Case) -> tuple[_Inputs, Tensor]:
    """Return synaptic inputs and biases: a sample each of ordinary, large and too large states.

    The last one meets the threshold. The same values each time, and no random number of the
    program's own is used up. They lie in memory as those of the case do.
    """
    random = np.random.default_rng(0)
    steps = 1 + case.resting
    values = np.empty((_TRIED, steps, case.neurons), np.float32)
    for sample, largest in enumerate((_THRESHOLD, 1 << 16, (1 << 23) - 1)):
        values[sample] = random.integers(-largest, 2 * largest, values.shape[1:])
    values[-1] = random.integers(-1, 3, values.shape[1:]) * _THRESHOLD
    one_bias = random.integers(-9, 10, case.neurons).astype(np.float32)
    one_bias[::2] = 0
    first, rest = torch.from_numpy(values[:, 0]), torch.from_numpy(values[:, 1:])
    bias = torch.from_numpy(one_bias).to(case.device)
    first_stride, rest_stride, step_stride = case.strides
    if step_stride == 0:  # every step is the same memory
        rest = rest[:, :1]
    inputs = _Inputs(
        _as_in_case(first, (first_stride, 1), case.offsets[0], case.device),
        _as_in_case(rest, (rest_stride, step_stride, 1), case.offsets[1], case.device).expand(
            -1, case.resting, -1
        ),
    )
    return inputs, bias if case.bias_stride else bias[-1]


def _as_in_case(
    values: Tensor, strides: tuple[int, ...], offset: int, device: torch.device
) -> Tensor:
    """Return a copy with other strides that begins so many values behind an address of 16 bytes."""
    reach = 1 + sum(
        (length - 1) * stride for length, stride in zip(values.shape, strides, strict=True)
    )
    memory = torch.empty(offset + max(reach, 0), device=device)
    return memory.as_strided(values.shape, strides, offset).copy_(values)
