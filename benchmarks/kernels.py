"""The ways that a device's windows and sums take: which ones, whether exact, and how fast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import torch
from torch import Tensor

from benchmarks.result import device_option, finish, json_option, timings
from tandem_hw.arithmetic import synapses
from tandem_hw.arithmetic.chosen_ways import chosen_ways
from tandem_hw.arithmetic.gpu.fused_window import run_window, step_by_step
from tandem_hw.arithmetic.neuron_parameters import NeuronParameters
from tandem_hw.arithmetic.spikes.packed_spikes import SpikePacker
from tandem_hw.arithmetic.states.fast_states import FastState
from tandem_hw.network.synapses.geometry import Geometry

#: Reset, T, firing delay and neurons of a sample.
_WINDOWS: Final = (
    ("subtract", 4, 0, 1 << 16),
    ("subtract", 4, 1, 1 << 14),
    ("zero", 8, 0, 1 << 16),
    ("subtract", 8, 0, 1000),
    ("subtract", 17, 3, 1 << 12),
)
#: Channels in and out, and the side of an image; 0 is a dense layer.
_SUMS: Final = ((64, 64, 32), (128, 128, 16), (512, 512, 4), (1024, 1024, 0), (512, 10, 0))
_SAME: Final = Geometry((1, 1), (1, 1))
#: Steps whose signals pass a sum together with the batch, and the share of them that are spikes.
_SENT, _RATE = 4, 0.15
#: Samples whose sums are computed in float64 as well.
_JUDGED: Final = 4
_THRESHOLD: Final = 300


@click.command("kernels")
@device_option
@click.option("--batch", type=click.IntRange(1), default=128, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=10, show_default=True)
@click.option("--small", is_flag=True, help="A sixteenth of the neurons and channels.")
@json_option
def command(
    device: torch.device, batch: int, repeats: int, small: bool, json_path: Path | None
) -> None:
    """Run windows and sums of usual sizes in the way that is chosen here, and in the plain one.

    The plain ones are passes step by step, and products of unfolded patches in float32. A window
    that differs from its plain one fails, and so does a sum that differs from float64.
    """
    share = 16 if small else 1
    tasks = [*_windows(device, batch, share), *_sums(device, batch, share)]
    rows = [_row(task, repeats, device) for task in tasks]
    finish("kernels", rows, json_path, device=device)
    if any(row["different"] for row in rows):
        raise click.ClickException("the results differ")
    if not all(row["values"] for row in rows):
        raise click.ClickException("a result is all zeros, so that its equality proves nothing")


@dataclass(frozen=True)
class _Task:
    """A computation in both ways.

    Attributes:
        what: what it is.
        shapes: by which ``chosen_ways`` tells it.
        chosen: the way that is chosen.
        plain: the plain one.
        expected: what the first results of ``chosen`` are held against.
    """

    what: str
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    chosen: Callable[[], list[Tensor]]
    plain: Callable[[], list[Tensor]]
    expected: Callable[[], list[Tensor]]


def _row(task: _Task, repeats: int, device: torch.device) -> dict[str, Any]:
    found, expected = task.chosen(), task.expected()
    ways = [one.way for one in chosen_ways() if (one.signal_shape, one.weight_shape) == task.shapes]
    times = timings({"chosen": task.chosen, "plain": task.plain}, repeats, device=device)
    return {
        "what": task.what,
        "way": ways[-1] if ways else "plain",
        "ms": times["chosen"].median * 1e3,
        "plain, ms": times["plain"].median * 1e3,
        "times faster": times["plain"].median / times["chosen"].median,
        "values": sum(int((one != 0).sum()) for one in found),
        "different": sum(
            int((one[: len(other)].double() != other.double()).sum())
            for one, other in zip(found, expected, strict=True)
        ),
    }


def _windows(device: torch.device, batch: int, share: int) -> Iterator[_Task]:
    random = torch.Generator().manual_seed(0)
    for reset, steps, delay, neurons in _WINDOWS:
        number = neurons // share
        values = torch.randint(-200, 400, (batch, steps, number), generator=random).float()
        bias = torch.randint(-50, 50, (number,), generator=random).float().to(device)
        threshold = torch.tensor(float(_THRESHOLD), device=device)
        run = partial(
            _run,
            NeuronParameters(bias, threshold, reset, proven=False, firing_delay=delay),
            list(values.to(device).unbind(1)),
        )
        yield _Task(
            f"{reset}, T={steps}, delay {delay}, {batch}x{number}",
            ((steps, number), ()),
            partial(run, run_window),
            partial(run, step_by_step),
            partial(run, step_by_step),
        )


def _run(
    neurons: NeuronParameters, inputs: list[Tensor], window: Callable[..., Tensor | None]
) -> list[Tensor]:
    """Return membranes, counts, packed spikes and the peak of a window."""
    state = FastState(neurons, neurons.bias, follow_peak=True)
    batch, number = inputs[0].shape
    shape = (batch, SpikePacker.bytes_for(len(inputs)), number)
    bits = torch.empty(shape, dtype=torch.uint8, device=inputs[0].device)
    counts = window(state, inputs, len(inputs), bits)
    assert counts is not None  # they fire
    assert state.extremes is not None  # they were followed
    low, high = state.extremes
    return [state.membrane, counts, bits, torch.maximum(-low, high).reshape(1)]


def _sums(device: torch.device, batch: int, share: int) -> Iterator[_Task]:
    random = torch.Generator().manual_seed(0)
    for inputs, outputs, side in _SUMS:
        channels, out = max(inputs // share, 2), max(outputs // share, 2)
        shape = (batch * _SENT, channels, side, side) if side else (batch * _SENT, channels)
        kernel = (3, 3) if side else ()
        signal = (torch.rand(shape, generator=random) < _RATE).to(torch.uint8).to(device)
        weight = 2.0 * torch.randint(-127, 128, (out, channels, *kernel), generator=random)
        weight = weight.to(device)
        chosen, plain = (
            (
                partial(synapses.convolve, geometry=_SAME),
                partial(synapses._convolve_unfolded, geometry=_SAME),
            )
            if side
            else (synapses.dense, _product)
        )
        yield _Task(
            f"{'convolution' if side else 'dense'} to {out} of {'x'.join(map(str, shape))}",
            (tuple(signal.shape), tuple(weight.shape)),
            partial(_listed, chosen, signal, weight),
            partial(_listed, plain, signal.float(), weight),
            partial(_listed, plain, signal[:_JUDGED].double(), weight.double()),
        )


def _listed(function: Callable[..., Tensor], *operands: Tensor) -> list[Tensor]:
    return [function(*operands)]


def _product(signal: Tensor, weight: Tensor) -> Tensor:
    return signal @ weight.T


COMMANDS = [command]
