"""``tandem-hw trace``: a sample step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tandem_hw.cli.completion.values import names_with_commas
from tandem_hw.cli.options import (
    OutputPath,
    backend_from_options,
    backend_options,
    check_outputs,
    data_option,
    device_option,
    load_network,
    network_argument,
)
from tandem_hw.cli.output.written_files import overwrite_option
from tandem_hw.cli.process.exit_status import EXIT_MISMATCH
from tandem_hw.errors import ComparisonRefusedError, TandemError
from tandem_hw.sim.registry import BACKENDS, check_name


class Neurons(click.ParamType):  # type: ignore[type-arg]
    """The type of neurons of a layer: flat indices in C order."""

    name = "neurons"

    def get_metavar(self, *_: Any, **__: Any) -> str:
        """Return what help shows for a value."""
        return "I,J,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return the indices."""
        if isinstance(value, tuple):
            return value
        texts = str(value).split(",")
        if not all(text.strip().isdecimal() for text in texts):
            self.fail(
                f"{value!r} names no neurons: give whole numbers from 0 with commas between them",
                param,
                ctx,
            )
        return tuple(map(int, texts))


@click.command("trace")
@network_argument
@data_option
@click.option(
    "--sample",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Which sample of the data, from 0.",
)
@click.option("--layer", help="Show this layer alone (default: all).")
@click.option(
    "--neurons",
    type=Neurons(),
    help="Show the potentials of these neurons of --layer, counted in C order (default: the one of "
    "the first difference, or that fired most).",
)
@click.option(
    "--backends",
    shell_complete=names_with_commas(BACKENDS),
    default="reference",
    show_default=True,
    help="Backends to run on, with commas between them; the first one is the measure.",
)
@click.option(
    "--plot",
    "plot_path",
    type=OutputPath(),
    help="Draw rasters and potentials as .svg or .png; this needs matplotlib.",
)
@overwrite_option
@device_option
@backend_options
def command(
    network_path: Path,
    data: str,
    sample: int,
    layer: str | None,
    neurons: tuple[int, ...] | None,
    backends: str,
    plot_path: Path | None,
    device: str,
    **options: Any,
) -> None:
    """Show who fired when in NET on one sample, and potentials step by step.

    On the reference, a sample is computed step by step. Any other backend runs windows that are cut
    short after 1, 2, ... steps, each in a run of its own, which takes as many times as long.

    The exit status is 0 if all backends are equal, 1 if they differ in a step, 2 on an error.
    """
    check_outputs(plot_path, inputs=[network_path], data=data)
    if plot_path is not None:
        from tandem_hw.report.page.require import require_picture

        require_picture(plot_path)
    names = [name.strip() for name in backends.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise ComparisonRefusedError(
            f'--backends "{backends}" has an empty name or one twice; give different names with '
            f"one comma between two"
        )
    for name in names:
        check_name(name)
    if neurons is not None and layer is None:
        raise TandemError("--neurons are of a layer; give --layer too")
    network = load_network(network_path)
    # PyTorch, which is in there, takes seconds; what can be refused without it was refused.
    from tandem_hw.cli.work.look.trace import Wanted, trace

    options["device"] = device
    runners = [backend_from_options(name, options) for name in names]
    if not trace(network, runners, data, Wanted(sample, layer, neurons, plot_path)):
        raise click.exceptions.Exit(EXIT_MISMATCH)
