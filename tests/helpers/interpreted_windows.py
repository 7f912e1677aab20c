"""Runs the kernel of a window in Triton's interpreter, on a CPU, and says what differed.

A program of its own: Triton reads whether it shall interpret when it is imported.

    TRITON_INTERPRET=1 python -m tests.helpers.interpreted_windows
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import islice, product
from typing import Any

import numpy as np
import torch
import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
import triton.runtime.interpreter  # type: ignore[import-not-found, import-untyped, unused-ignore]
from torch import Tensor

from tandem_hw.arithmetic.chosen_ways import chosen_ways
from tandem_hw.arithmetic.gpu import fused_window
from tandem_hw.arithmetic.gpu.fused_window import count_window, run_window, step_by_step
from tandem_hw.arithmetic.neuron_parameters import NeuronParameters
from tandem_hw.arithmetic.spikes.packed_spikes import SpikePacker
from tandem_hw.arithmetic.states.fast_states import FastState

BATCH = 3
THRESHOLD = 300
STEPS = (*range(1, 10), 17)
FORMS = ("once", "constant", "by step", "summed", "mixed")


def complete_interpreter() -> None:
    """Give Triton's interpreter what it lacks.

    That of Triton 2: loops that are unrolled, casts, and extremes. That of Triton 3.8 compiles the
    kernel with its own postponed annotations, in which a text is one within a text.
    """
    if not triton.__version__.startswith("2."):
        keep_annotations()
        return
    builder = triton.runtime.interpreter.Builder
    for bits in (8, 16, 32):
        dtype = getattr(triton.language, f"int{bits}")
        setattr(builder, f"get_int{bits}_ty", lambda self, dtype=dtype: dtype)
    executor = triton.runtime.interpreter.GridExecutor
    patch = executor._patch_lang

    def patched(self: Any, builder: Any) -> None:
        patch(self, builder)
        language = triton.language
        language.static_range = range
        for name, function in (("min", np.min), ("max", np.max)):
            setattr(language, name, extreme(function))

    executor._patch_lang = patched


def keep_annotations() -> None:
    """Have the function that is interpreted annotated as the one that was written."""
    rewriter = getattr(triton.runtime.interpreter, "FunctionRewriter", None)
    if rewriter is None:
        return
    rewrite = rewriter.rewrite_ast

    def rewritten(self: Any) -> Any:
        found = rewrite(self)
        found.__annotations__ = dict(self.fn.__annotations__)
        return found

    rewriter.rewrite_ast = rewritten


def extreme(function: Any) -> Any:
    def reduced(values: Any, axis: int) -> Any:
        found = np.array([function(values.handle.data, axis=axis)])
        handle = triton.runtime.interpreter.TensorHandle(found, values.dtype)
        return triton.language.core.tensor(handle, values.dtype)

    return reduced


def draw_inputs(
    form: str, steps: int, neurons: int, largest: int, random: torch.Generator
) -> list[Tensor | None]:
    """Return synaptic inputs as layers make them: views, sums, or one image for all steps."""
    shape = (BATCH, steps, neurons)
    values = torch.randint(-largest, 2 * largest, shape, generator=random).float()
    values[-1] = (values[-1] / largest).round() * THRESHOLD  # meets the threshold
    if form == "once":
        return [values[:, 0], *[None] * (steps - 1)]
    if form == "constant":
        return [values[:, 0]] * steps
    if form == "summed":
        return [one.clone() for one in values.unbind(1)]
    views = list(values.unbind(1))
    return [views[0] + 1, *views[1:]] if form == "mixed" else [*views]


def expected(
    inputs: Sequence[Tensor | None], bias: Tensor, reset: str, num_steps: int, delay: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int, int]:
    """Return membranes and spikes [num_steps, ...] by the equations, in integers."""
    first = inputs[0]
    assert first is not None
    membrane = np.zeros(first.shape, np.int64)
    charge = bias.numpy().astype(np.int64)
    low, high = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    spikes = []
    for index, step in enumerate([*inputs, *[None] * delay]):
        if step is not None:
            membrane = membrane + step.numpy().astype(np.int64)
        if index == 0 or reset == "zero":
            membrane = membrane + charge
        low, high = min(low, membrane.min()), max(high, membrane.max())
        if reset == "readout" or index < delay:
            continue
        fired = membrane >= THRESHOLD
        spikes.append(fired)
        if reset == "zero":
            membrane = np.where(fired, 0, membrane)
        elif index + 1 < num_steps + delay:
            membrane = membrane - THRESHOLD * fired
    return membrane, np.array(spikes), low, high


def unpacked(bits: Tensor, num_steps: int) -> np.ndarray[Any, Any]:
    steps = [bits[:, step // 8] >> step % 8 & 1 for step in range(num_steps)]
    found: np.ndarray[Any, Any] = torch.stack(steps).numpy().astype(bool)
    return found


def peak(extremes: tuple[Tensor, Tensor]) -> Tensor:
    return torch.maximum(-extremes[0], extremes[1])


def cases() -> Iterator[tuple[Any, ...]]:
    for number, (steps, reset, form) in enumerate(
        product(STEPS, ("subtract", "zero", "readout"), FORMS)
    ):
        delays = sorted({0, number % steps, steps - 1}) if reset != "readout" else [0]
        for delay in delays:
            variant = number + delay
            neurons = (5, 12, 130)[variant % 3]
            largest = (THRESHOLD, 60_000, (1 << 23) - 1)[variant // 2 % 3]
            yield steps, reset, form, delay, neurons, largest, variant


def run(
    steps: int, reset: str, form: str, delay: int, neurons: int, largest: int, variant: int
) -> tuple[list[str], int]:
    """Run one window in the kernel; return what differed, and how many spikes there were."""
    random = torch.Generator().manual_seed(variant)
    inputs = draw_inputs(form, steps, neurons, largest, random)
    bias = torch.randint(-50, 50, (neurons,), generator=random).float()
    bias = bias[0] if variant % 4 == 0 else bias
    threshold: int | Tensor | None = THRESHOLD
    if variant % 2:
        threshold = torch.tensor(float(THRESHOLD), dtype=torch.float64)
    parameters = NeuronParameters(
        bias,
        None if reset == "readout" else threshold,
        reset.replace("readout", "zero"),
        proven=False,
        firing_delay=delay,
    )
    fires, follows = reset != "readout", variant % 5 != 0
    groups = SpikePacker.bytes_for(steps)
    shape = (BATCH, groups, neurons)
    results = []
    for window in (run_window, step_by_step):
        state = FastState(parameters, bias, follows)
        bits = torch.full(shape, 255, dtype=torch.uint8) if fires and variant % 7 else None
        results.append((state, window(state, inputs, steps, bits), bits))
    (state, counts, bits), (other, other_counts, other_bits) = results
    found: dict[str, bool] = {"extremes followed": (state.extremes is not None) == follows}
    if largest < 1 << 20:  # beyond, float32 rounds
        membrane, spikes, low, high = expected(inputs, bias, reset, steps, delay)
        found["membrane"] = np.array_equal(state.membrane.numpy(), membrane)
        if state.extremes is not None:
            found["peak"] = int(peak(state.extremes)) == max(-low, high)
        if counts is not None:
            found["counts"] = np.array_equal(counts.numpy(), spikes.sum(0))
        if bits is not None:
            found["bits"] = np.array_equal(unpacked(bits, steps), spikes)
    pairs = [(state.membrane, other.membrane), (counts, other_counts), (bits, other_bits)]
    if state.extremes is not None and other.extremes is not None:
        pairs.append((peak(state.extremes), peak(other.extremes)))
    for place, (one, another) in enumerate(pairs):
        same = one is another
        if isinstance(one, Tensor) and isinstance(another, Tensor):
            same = torch.equal(one, another) and one.dtype == another.dtype
        found[f"result {place} of FastState"] = same
    if reset == "subtract" and delay == steps - 1 and largest < 1 << 16:
        counted = FastState(parameters, bias, follows)
        assert other_counts is not None
        found["counted"] = torch.equal(count_window(counted, inputs), other_counts)
    wrong = [name for name, same in found.items() if not same]
    return wrong, int(0 if counts is None else counts.sum())


def main() -> None:
    complete_interpreter()
    fused_window._may_have_kernel = lambda device: True  # type: ignore[assignment]
    different, spikes, number = [], 0, 0
    # Every n-th of them, if a number is given.
    for case in islice(cases(), None, None, int(sys.argv[1]) if sys.argv[1:] else 1):
        wrong, fired = run(*case)
        different += [f"{case}: {name}" for name in wrong]
        spikes, number = spikes + fired, number + 1
    nothing = torch.full((2, 5), torch.nan)
    state = FastState(NeuronParameters(torch.zeros(5), 5, "subtract", False), torch.zeros(5), True)
    run_window(state, [nothing], 1, None)
    assert state.extremes is not None
    print(
        json.dumps(
            {
                "windows": number,
                "different": different,
                "spikes": spikes,
                "ways": sorted({choice.way for choice in chosen_ways()}),
                "lowest of no number": float(state.extremes[0]),
            }
        )
    )


if __name__ == "__main__":
    main()
