"""Our drop-in model of Lava's ``Conv`` against Lava's own, on the same spikes."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from benchmarks.result import finish, json_option, median_seconds

#: 3x3, 64 -> 128 channels on 16x16, spikes at 15 %.
KERNEL, CHANNELS, OUT, SIZE, RATE = 3, 64, 128, 16, 0.15


@click.command("convolution")
@click.option("--repeats", default=5, show_default=True)
@json_option
def command(repeats: int, json_path: Path | None) -> None:
    """Compare one step of the convolution that both models compute, output for output."""
    from lava.proc.conv.utils import conv, signed_clamp

    from tandem_hw.sim.graph.processes.convolution import UnfoldedConvolution

    generator = np.random.default_rng(0)
    spikes = (generator.random((SIZE, SIZE, CHANNELS)) < RATE).astype(np.int32)
    weight = 2 * generator.integers(-127, 128, (OUT, KERNEL, KERNEL, CHANNELS)).astype(np.int32)
    geometry = ((1, 1), (1, 1), (1, 1), 1)
    drop_in = UnfoldedConvolution(weight, *geometry)

    def stock() -> npt.NDArray[np.int32]:
        stride, padding, dilation, groups = geometry
        kernel = (KERNEL, KERNEL)
        found: npt.NDArray[np.int32] = conv(
            spikes, weight, kernel, stride, padding, dilation, groups
        )
        return found

    expected = signed_clamp(stock(), bits=24)
    if not expected.any() or not np.array_equal(expected, signed_clamp(drop_in(spikes), bits=24)):
        raise click.ClickException("the two models differ; the times mean nothing")
    calls = {"Lava's Conv": stock, "drop-in": lambda: drop_in(spikes)}
    seconds = median_seconds(calls, repeats)
    rows = [
        {
            "model": name,
            "milliseconds a step": value * 1e3,
            "times faster": seconds["Lava's Conv"] / value,
        }
        for name, value in seconds.items()
    ]
    finish("convolution", rows, json_path, "the outputs are equal")


COMMANDS = [command]
